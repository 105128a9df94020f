//! What the registry holds, by repository.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

#[derive(Debug, Default)]
pub(super) struct Contents {
    repositories: HashMap<String, Repository>,
}

#[derive(Debug, Default)]
pub(super) struct Repository {
    tags: BTreeMap<String, String>,
    manifests: HashMap<String, Manifest>,
    blobs: HashMap<String, Bytes>,
}

#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) digest: String,
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
}

impl Contents {
    pub(super) fn put_blob(&mut self, repository: &str, digest: &str, bytes: Bytes) {
        self.entry(repository).blobs.insert(digest.into(), bytes);
    }

    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        digest: &str,
        media_type: &str,
        bytes: Bytes,
    ) {
        let manifest = Manifest {
            digest: digest.into(),
            media_type: media_type.into(),
            bytes,
        };
        self.entry(repository)
            .manifests
            .insert(digest.into(), manifest);
    }

    pub(super) fn tag(&mut self, repository: &str, tag: &str, digest: Option<&str>) {
        let tags = &mut self.entry(repository).tags;
        match digest {
            Some(digest) => tags.insert(tag.into(), digest.into()),
            None => tags.remove(tag),
        };
    }

    pub(super) fn repository(&self, name: &str) -> Option<&Repository> {
        self.repositories.get(name)
    }

    fn entry(&mut self, repository: &str) -> &mut Repository {
        self.repositories.entry(repository.into()).or_default()
    }
}

impl Repository {
    /// The manifest that a tag or a digest names.
    pub(super) fn manifest(&self, reference: &str) -> Option<&Manifest> {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        self.manifests.get(digest)
    }

    pub(super) fn blob(&self, digest: &str) -> Option<&Bytes> {
        self.blobs.get(digest)
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.keys().map(String::as_str)
    }
}
