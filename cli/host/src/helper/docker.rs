//! The protocol of docker's credential helpers, also used by podman, skopeo,
//! crane and oras.
//!
//! The input is an action and, on stdin, a server; the output is JSON or a
//! sentence on stdout. See
//! <https://github.com/docker/docker-credential-helpers>.

use std::io::{Read, Write};

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{HelperError, registry, request};
use crate::credential::{CredentialError, HostCredential};

/// The login for a server, with the protocol's field names.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Account {
    #[serde(rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
}

/// Answers `action`. A client sends one action per run.
pub(super) fn answer(
    action: Option<&str>,
    credential: impl FnOnce() -> Result<HostCredential, CredentialError>,
    input: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<(), HelperError> {
    match action {
        Some("get") => {
            let server = server(input)?;
            let answer = get(&server, &credential()?)?;
            json_line(&answer, out)
        }
        Some("list") => {
            let credential = credential()?;
            let registry = registry::host(&credential.registry);
            json_line(&json!({ registry: credential.login }), out)
        }
        Some("store") => store(&request(input)?, &credential()?),
        Some("erase") => {
            let server = server(input)?;
            let credential = credential()?;
            Err(match registry::is_server(&server, &credential.registry) {
                true => fixed(&credential),
                false => HelperError::NotFound,
            })
        }
        Some("version") => {
            let version = env!("CARGO_PKG_VERSION");
            Ok(writeln!(out, "docker-credential-metahub {version}")?)
        }
        _ => Err(HelperError::Usage),
    }
}

fn server(input: &mut dyn Read) -> Result<String, HelperError> {
    let text = request(input)?;
    match text.trim() {
        "" => Err(HelperError::NoServer),
        server => Ok(server.to_owned()),
    }
}

fn get(server: &str, credential: &HostCredential) -> Result<Account, HelperError> {
    if !registry::is_server(server, &credential.registry) {
        return Err(HelperError::NotFound);
    }
    Ok(Account {
        server_url: server.to_owned(),
        username: credential.login.clone(),
        secret: credential.secret.expose_secret().to_owned(),
    })
}

/// `docker login` stores the login from `get` again: this is accepted without a
/// change. Any other login is refused.
fn store(text: &str, credential: &HostCredential) -> Result<(), HelperError> {
    let account: Account = serde_json::from_str(text).map_err(|source| HelperError::Request {
        expected: "an account as JSON, with ServerURL, Username and Secret",
        source: Some(source),
    })?;
    let own = get(&account.server_url, credential);
    let is_own =
        own.is_ok_and(|own| own.username == account.username && own.secret == account.secret);
    match is_own {
        true => Ok(()),
        false => Err(fixed(credential)),
    }
}

fn fixed(credential: &HostCredential) -> HelperError {
    HelperError::Fixed {
        registry: registry::host(&credential.registry),
    }
}

fn json_line(value: &impl Serialize, out: &mut dyn Write) -> Result<(), HelperError> {
    let text = serde_json::to_string(value).expect("texts can be written as JSON");
    Ok(writeln!(out, "{text}")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::testing::credential;

    /// The printed text, or the error.
    fn ask(action: &str, input: &str) -> Result<String, String> {
        let mut out = Vec::new();
        let read = || Ok(credential("https://metahub.example"));
        answer(Some(action), read, &mut input.as_bytes(), &mut out)
            .map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn get_gives_the_hosts_login_for_its_registry_alone() {
        assert_eq!(
            ask("get", "metahub.example\n").unwrap(),
            "{\"ServerURL\":\"metahub.example\",\"Username\":\"qnib-type1~node17\",\"Secret\":\"hunter2\"}\n"
        );
        let other = ask("get", "https://index.docker.io/v1/").unwrap_err();
        assert_eq!(other, "credentials not found in native keychain");
        assert_eq!(ask("get", " ").unwrap_err(), "no credentials server URL");
    }

    #[test]
    fn list_names_the_registry_and_no_secret() {
        assert_eq!(
            ask("list", "unused").unwrap(),
            "{\"metahub.example\":\"qnib-type1~node17\"}\n"
        );
    }

    #[test]
    fn an_engine_can_store_what_it_was_given_and_no_other_login() {
        let account = |server: &str, secret: &str| {
            format!(
                r#"{{"ServerURL":"{server}","Username":"qnib-type1~node17","Secret":"{secret}"}}"#
            )
        };

        assert!(ask("store", &account("metahub.example", "hunter2")).is_ok());
        for other in [
            account("metahub.example", "other"),
            account("docker.io", "hunter2"),
        ] {
            let refused = ask("store", &other).unwrap_err();
            assert!(refused.contains("metahubctl host login"), "{refused}");
        }
        assert!(ask("store", "{").unwrap_err().contains("ServerURL"));
    }

    #[test]
    fn erase_keeps_the_login_and_says_how_to_take_it_away() {
        let refused = ask("erase", "https://metahub.example/").unwrap_err();

        assert!(refused.contains("metahubctl host remove"), "{refused}");
        assert!(ask("erase", "docker.io").unwrap_err().contains("not found"));
    }

    #[test]
    fn a_request_that_never_ends_is_refused() {
        let mut endless = std::io::repeat(b'a');
        let read = || Ok(credential("https://metahub.example"));

        let refused = answer(Some("get"), read, &mut endless, &mut Vec::new()).unwrap_err();

        assert!(refused.to_string().contains("256 KiB"), "{refused}");
    }
}
