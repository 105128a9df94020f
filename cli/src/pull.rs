//! Fetches what images are, through a worker and under the caller's own
//! permission.
//!
//! A tag means something else for each host. The worker says what it chose
//! from in `MetaHub-Source-Digest`, and serves that by its digest to everyone
//! who may pull it.

mod account;
mod request;

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};
use metahub_policy::{MAX_NESTING, is_index_media_type};
use reqwest::{Method, StatusCode};

use self::request::{Origin, header};
pub(crate) use self::{
    account::LoginArguments,
    request::{host, url},
};
use crate::{
    client::Client,
    config::Settings,
    demo::digest::sha256,
    explain::{
        content::{Content, Source},
        name::ImageName,
    },
    failure::Failure,
};

/// Names the index that the answer for a tag was chosen from.
const SOURCE_DIGEST: &str = "metahub-source-digest";
const CONTENT_DIGEST: &str = "docker-content-digest";
const CONTENT_TYPE: &str = "content-type";

/// Most indexes that one index may nest, as workers have it.
const MOST_CHILDREN: usize = 32;

/// A MetaHub's registry, with a login.
pub(crate) struct Registry {
    origin: Origin,
}

/// A manifest, its digest verified.
struct Manifest {
    media_type: String,
    bytes: Vec<u8>,
}

impl Registry {
    /// The registry that the settings name, or else that of the first
    /// connected worker.
    pub(crate) async fn open(
        settings: &Settings,
        client: Option<&Client>,
        login: &LoginArguments,
    ) -> anyhow::Result<Self> {
        let address = match (&settings.registry, client) {
            (Some(registry), _) => registry.clone(),
            (None, Some(client)) => client.worker_address().await?,
            (None, None) => return Err(Failure::NoRegistry.into()),
        };
        let url = request::url(&address)?;
        if url.scheme() == "http" && !settings.insecure && !crate::client::is_local(&url) {
            return Err(Failure::PlainRegistry { url }.into());
        }
        let host = request::host(&url);
        let account = login.account(&host, settings.docker_config.as_deref())?;
        Ok(Self {
            origin: Origin::new(url, host, account)?,
        })
    }

    /// What the image `name` is.
    pub(crate) async fn content(&self, name: &ImageName) -> anyhow::Result<Content> {
        let found = self.find(name).await;
        found.with_context(|| format!("cannot fetch {name}"))
    }

    /// The image `name` as hosts write it, without this registry in front.
    pub(crate) fn name(&self, name: ImageName) -> ImageName {
        name.at(&self.origin.host)
    }

    async fn find(&self, name: &ImageName) -> anyhow::Result<Content> {
        let digest = match &name.digest {
            Some(digest) => digest.clone(),
            None => self.source_digest(name).await?,
        };
        let manifest = self.manifest(&name.name, &digest).await?;
        let manifest = manifest.with_context(|| format!("{digest} is not there"))?;
        if !is_index_media_type(&manifest.media_type) {
            return Ok(Content::Whole { digest });
        }
        let source = Source::parse(manifest.bytes)?;
        Ok(Content::Index(self.flat(&name.name, source).await?))
    }

    /// The digest of what a tag was chosen from.
    async fn source_digest(&self, name: &ImageName) -> anyhow::Result<String> {
        let path = format!("{}/manifests/{}", name.name, name.reference());
        let head = self.origin.ask(Method::HEAD, &path).await?;
        if let Some(digest) = header(&head, SOURCE_DIGEST) {
            return Ok(digest);
        }
        if head.status() != StatusCode::OK {
            // A HEAD has no body, and the body says why.
            let answer = self.origin.ask(Method::GET, &path).await?;
            bail!("{}", self.origin.refusal(answer).await);
        }
        header(&head, CONTENT_DIGEST).context("the worker names no digest")
    }

    /// The index with the indexes in it looked into, as deep as workers do. One
    /// that is not there stays as it is.
    async fn flat(&self, repository: &str, mut source: Source) -> anyhow::Result<Source> {
        let mut fetched = 0;
        for _ in 1..MAX_NESTING {
            let nested = source.index.nested().map(|entry| entry.digest.clone());
            let nested: BTreeSet<_> = nested.collect();
            if nested.is_empty() {
                break;
            }
            fetched += nested.len();
            ensure!(
                fetched <= MOST_CHILDREN,
                "it nests more than {MOST_CHILDREN} indexes"
            );
            let mut children = Vec::with_capacity(nested.len());
            for digest in nested {
                if let Some(child) = self.manifest(repository, &digest).await? {
                    children.push((digest, child.bytes));
                }
            }
            source = source.with(&children)?;
        }
        Ok(source)
    }

    /// What a digest names. `None`: there is no such thing.
    async fn manifest(&self, repository: &str, digest: &str) -> anyhow::Result<Option<Manifest>> {
        let path = format!("{repository}/manifests/{digest}");
        let answer = self.origin.ask(Method::GET, &path).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => bail!("{}", self.origin.refusal(answer).await),
        }
        let media_type = header(&answer, CONTENT_TYPE).unwrap_or_default();
        let bytes = request::body(answer).await?;
        ensure!(
            digest.starts_with("sha256:"),
            "the digest {digest} cannot be verified: only sha256 can"
        );
        let found = sha256(&bytes);
        ensure!(found == digest, "asked for {digest} and got {found}");
        Ok(Some(Manifest { media_type, bytes }))
    }
}

#[cfg(test)]
mod tests;
