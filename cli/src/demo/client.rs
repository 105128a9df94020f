//! A small pull client: asks as docker does, and verifies every digest.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;

use super::digest::sha256;

/// What clients take when they ask for a tag.
pub(crate) const MANIFEST_TYPES: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json";
/// How long one request may take, its body included.
const TIMEOUT: Duration = Duration::from_secs(60);
const DIGEST_HEADER: &str = "docker-content-digest";

/// A host that is logged in at a registry.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    login: String,
    secret: String,
}

/// An image as it was pulled, every digest verified.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The digest that the tag meant.
    pub digest: String,
    /// The manifest's bytes.
    pub manifest: Bytes,
    /// The configuration's bytes.
    pub config: Bytes,
    /// The layers' bytes, in order.
    pub layers: Vec<Bytes>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    size: usize,
}

impl Client {
    /// A client of the registry at `url`, which no proxy is between.
    ///
    /// # Errors
    ///
    /// Fails when TLS cannot be set up.
    pub fn new(url: impl Into<String>, login: &str, secret: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
        Ok(Self {
            http: http.build().context("cannot make an HTTP client")?,
            url: url.into(),
            login: login.into(),
            secret: secret.into(),
        })
    }

    /// Pulls an image: HEAD of the tag, then GET of its digest, its
    /// configuration and its layers.
    ///
    /// # Errors
    ///
    /// Fails when the registry refuses, with its own words, when a digest does
    /// not match, and when the tag means an index.
    pub async fn pull(&self, repository: &str, tag: &str) -> anyhow::Result<Pulled> {
        let digest = self.resolve(repository, tag).await?;
        let manifest = self.content(repository, "manifests", &digest).await?;
        let parsed: Manifest = serde_json::from_slice(&manifest)
            .with_context(|| format!("{repository}:{tag} is no single image"))?;
        let config = self.blob(repository, &parsed.config).await?;
        let mut layers = Vec::with_capacity(parsed.layers.len());
        for layer in &parsed.layers {
            layers.push(self.blob(repository, layer).await?);
        }
        Ok(Pulled {
            digest,
            manifest,
            config,
            layers,
        })
    }

    /// The digest that a tag means for this host.
    ///
    /// # Errors
    ///
    /// As [`Client::pull`].
    pub async fn resolve(&self, repository: &str, tag: &str) -> anyhow::Result<String> {
        let path = format!("{repository}/manifests/{tag}");
        let head = self.request(Method::HEAD, &path).await?;
        if !head.status().is_success() {
            // A HEAD has no body, and the body says why.
            let answer = self.request(Method::GET, &path).await?;
            bail!("{}", refusal(answer).await);
        }
        let digest = head.headers().get(DIGEST_HEADER);
        let digest = digest.context("the answer to HEAD names no digest")?;
        Ok(digest.to_str().context("the digest is no text")?.to_owned())
    }

    async fn blob(&self, repository: &str, descriptor: &Descriptor) -> anyhow::Result<Bytes> {
        let bytes = self
            .content(repository, "blobs", &descriptor.digest)
            .await?;
        ensure!(
            bytes.len() == descriptor.size,
            "{} has {} bytes, and {} were announced",
            descriptor.digest,
            bytes.len(),
            descriptor.size
        );
        Ok(bytes)
    }

    async fn content(&self, repository: &str, kind: &str, digest: &str) -> anyhow::Result<Bytes> {
        let path = format!("{repository}/{kind}/{digest}");
        let answer = self.request(Method::GET, &path).await?;
        if answer.status() != StatusCode::OK {
            bail!("{}", refusal(answer).await);
        }
        let bytes = answer.bytes().await.context("the content broke off")?;
        let found = sha256(&bytes);
        ensure!(found == digest, "asked for {digest} and got {found}");
        Ok(bytes)
    }

    async fn request(&self, method: Method, path: &str) -> anyhow::Result<Response> {
        self.http
            .request(method, format!("{}/v2/{path}", self.url))
            .basic_auth(&self.login, Some(&self.secret))
            .header("accept", MANIFEST_TYPES)
            .send()
            .await
            .with_context(|| format!("cannot reach the registry at {}", self.url))
    }
}

/// What the registry says, in its own words.
pub(crate) async fn refusal(answer: Response) -> String {
    let (status, url) = (answer.status(), answer.url().path().to_owned());
    let body: serde_json::Value = answer.json().await.unwrap_or_default();
    let message = body["errors"][0]["message"].as_str().unwrap_or("no reason");
    format!("{url}: {status}: {message}")
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::demo::{
        image::{Form, Image, ImageSet},
        registry::Registry,
    };

    async fn upstream(form: Form) -> (Registry, Image) {
        let set = ImageSet::bench(form).unwrap();
        let registry = Registry::start().await.unwrap();
        registry.put_images("qnib/bench", "latest", &set);
        let image = set.images[2].clone();
        registry.tag("qnib/bench", "one", Some(&image.manifest.digest));
        (registry, image)
    }

    #[tokio::test]
    async fn an_image_is_pulled_whole_in_either_form() {
        for form in [Form::Docker, Form::Oci] {
            let (registry, image) = upstream(form).await;

            let client = Client::new(registry.url(), "qnib-type1", "secret").unwrap();
            let pulled = client.pull("qnib/bench", "one").await.unwrap();

            assert_eq!(pulled.digest, image.manifest.digest);
            assert_eq!(pulled.config, image.config.bytes);
            assert_eq!(pulled.layers, [image.layer.bytes]);
            assert_eq!(registry.count(&Method::HEAD, "/manifests/one"), 1);
        }
    }

    #[tokio::test]
    async fn an_index_is_not_taken_for_an_image() {
        let (registry, _) = upstream(Form::Oci).await;

        let client = Client::new(registry.url(), "qnib-type1", "secret").unwrap();
        let error = client.pull("qnib/bench", "latest").await.unwrap_err();

        assert!(error.to_string().contains("no single image"), "{error}");
    }

    #[tokio::test]
    async fn a_wrong_account_is_told_the_reason() {
        let (registry, _) = upstream(Form::Oci).await;
        registry.require_account("qnib-type1", "secret");

        let client = Client::new(registry.url(), "qnib-type1", "wrong").unwrap();
        let error = client.pull("qnib/bench", "one").await.unwrap_err();

        assert!(error.to_string().contains("401"), "{error}");
        assert_eq!(registry.requests()[0].status, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn a_failing_registry_fails_the_pull() {
        let (registry, _) = upstream(Form::Oci).await;
        registry.fail_with(Some(StatusCode::SERVICE_UNAVAILABLE));

        let client = Client::new(registry.url(), "qnib-type1", "secret").unwrap();
        let error = client.pull("qnib/bench", "one").await.unwrap_err();

        assert!(error.to_string().contains("503"), "{error}");
    }
}
