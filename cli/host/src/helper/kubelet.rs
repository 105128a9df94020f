//! The kubelet's protocol of credential providers,
//! `credentialprovider.kubelet.k8s.io/v1`: a request as JSON on stdin, a
//! response as JSON on stdout.
//!
//! containerd sends the kubelet's login to the mirrors of an image's registry
//! and to the registry itself. So the provider returns the login only for
//! images whose name starts with MetaHub's own host, never for a mirrored
//! registry.

use std::io::{Read, Write};

use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{HelperError, registry, request};
use crate::credential::{CredentialError, HostCredential};

/// The protocol's versions. Their requests and responses are the same.
const VERSIONS: [&str; 2] = [
    "credentialprovider.kubelet.k8s.io/v1",
    "credentialprovider.kubelet.k8s.io/v1beta1",
];

/// The kubelet's cache time for a response, short so that a rotated secret
/// takes effect soon.
const CACHE_DURATION: &str = "5m0s";

const EXPECTED: &str =
    "a CredentialProviderRequest of credentialprovider.kubelet.k8s.io/v1 as JSON";

/// A request, reduced to the fields that matter for the response.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    api_version: String,
    kind: String,
    image: String,
}

/// Answers a request for an image's login. The response for an image of another
/// registry holds no login.
pub(super) fn answer(
    credential: impl FnOnce() -> Result<HostCredential, CredentialError>,
    input: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<(), HelperError> {
    let request: Request =
        serde_json::from_str(&request(input)?).map_err(|source| HelperError::Request {
            expected: EXPECTED,
            source: Some(source),
        })?;
    let is_known = VERSIONS.contains(&request.api_version.as_str());
    if !is_known || request.kind != "CredentialProviderRequest" {
        return Err(HelperError::Request {
            expected: EXPECTED,
            source: None,
        });
    }
    let credential = credential()?;
    let mut auth = Map::new();
    if let Some(host) = registry::host_of_image(&request.image, &credential.registry) {
        let account = json!({
            "username": credential.login,
            "password": credential.secret.expose_secret(),
        });
        auth.insert(host.to_owned(), account);
    }
    let response = json!({
        "apiVersion": request.api_version,
        "kind": "CredentialProviderResponse",
        "cacheKeyType": "Registry",
        "cacheDuration": CACHE_DURATION,
        "auth": Value::Object(auth),
    });
    Ok(writeln!(out, "{response}")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::testing;

    fn ask(text: &str) -> Result<Value, String> {
        let mut out = Vec::new();
        let read = || Ok(testing::credential("https://metahub.example"));
        answer(read, &mut text.as_bytes(), &mut out).map_err(|error| error.to_string())?;
        Ok(serde_json::from_slice(&out).unwrap())
    }

    fn request(image: &str) -> String {
        json!({
            "kind": "CredentialProviderRequest",
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
            "image": image,
            "serviceAccountToken": "unused",
        })
        .to_string()
    }

    #[test]
    fn an_image_of_the_registry_gets_the_hosts_login() {
        assert_eq!(
            ask(&request("metahub.example/qnib/bench:latest")).unwrap(),
            json!({
                "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
                "kind": "CredentialProviderResponse",
                "cacheKeyType": "Registry",
                "cacheDuration": "5m0s",
                "auth": {
                    "metahub.example": {"username": "qnib-type1~node17", "password": "hunter2"}
                },
            })
        );
    }

    #[test]
    fn an_image_of_another_registry_gets_no_login() {
        for image in [
            "docker.io/library/alpine",
            "alpine",
            "ghcr.io/metahub.example/app",
            "metahub.example.evil.example/app",
            "metahub.example@evil.example/app",
        ] {
            let said = ask(&request(image)).unwrap();

            assert_eq!(said["auth"], json!({}), "{image}");
            assert!(!said.to_string().contains("hunter2"), "{image}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_with_what_is_expected() {
        let other = request("a").replace("k8s.io/v1", "k8s.io/v9");
        for text in ["", "[]", "{}", "\u{0}", &other] {
            let refused = ask(text).unwrap_err();

            assert!(refused.contains("k8s.io/v1"), "{text}: {refused}");
        }
    }
}
