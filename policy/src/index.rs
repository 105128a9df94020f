//! Image indexes (OCI) and manifest lists (docker), read for selection.
//!
//! Reading never changes them: what is served is cut out of the source bytes,
//! see [`crate::trim()`]. Unknown fields are passed over. What two readers could
//! understand differently is refused: an index that is a manifest too, and keys
//! that come twice or differ from a known one by case only. Entries of one digest
//! that contradict each other are refused to hosts that are given that digest.

use std::collections::{BTreeMap, HashMap};

mod document;
mod entry;
mod flatten;
mod json;

pub(crate) use self::{
    document::Document,
    entry::is_digest,
    json::{Object, array, offset},
};
pub use self::{document::MAX_ENTRIES, document::MAX_INDEX_BYTES, flatten::flatten};

/// How deep indexes may be nested: an index, one in it, and one in that.
pub const MAX_NESTING: usize = 3;

/// What selection needs of an image index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The entries, in source order.
    pub entries: Vec<Entry>,
}

/// One entry of an index: a descriptor (OCI image-spec, descriptor.md).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The entry's digest, checked against the grammar.
    pub digest: String,
    /// Its media type. Empty when the index does not say.
    pub media_type: String,
    /// Its size in bytes. 0 when the index does not say.
    pub size: u64,
    /// Its artifact type.
    pub artifact_type: Option<String>,
    /// Its platform. `None` too for one that names neither os nor architecture.
    pub platform: Option<Platform>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The digest of its `subject`.
    pub subject: Option<String>,
}

/// The platform of an entry (OCI image-spec, image-index.md).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// For example `linux`.
    pub os: String,
    /// For example `amd64`.
    pub architecture: String,
    /// For example `v3`. Empty when the index does not say.
    pub variant: String,
    /// For example `10.0.20348.1`. Empty when the index does not say.
    pub os_version: String,
    /// For example `win32k`.
    pub os_features: Vec<String>,
    /// For example `cpu:skylake`.
    pub features: Vec<String>,
}

/// An index that is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidIndex {
    /// It is not JSON of the right shape.
    #[error("the image index cannot be read")]
    Json(#[source] serde_json::Error),
    /// It is not UTF-8.
    #[error("the image index is not UTF-8 text")]
    Text(#[source] std::str::Utf8Error),
    /// It is too large.
    #[error("the image index has {size} bytes: more than {MAX_INDEX_BYTES}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// Its JSON is nested too deep.
    #[error("the image index nests JSON more than {limit} deep")]
    TooDeep {
        /// How deep it may be nested.
        limit: usize,
    },
    /// A part of it has too many members.
    #[error("the image index has more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// It is no index, or not only one.
    #[error("this is no image index: {reason}")]
    NotAnIndex {
        /// What is missing or too much.
        reason: String,
    },
    /// A key comes twice, or is a known one but for its case.
    #[error("the image index is ambiguous: key `{key}` comes twice or in the wrong case")]
    AmbiguousKey {
        /// The key.
        key: String,
    },
    /// A field of an entry is wrong.
    #[error("entry {place} of the image index: {reason}")]
    Entry {
        /// The entry's place, from 1.
        place: usize,
        /// What is wrong.
        reason: String,
    },
    /// Two entries have one digest and cannot both be right.
    #[error("entries {first} and {second} of the image index both list {digest}{reason}")]
    DuplicateDigest {
        /// The first entry's place, from 1.
        first: usize,
        /// The second entry's place, from 1.
        second: usize,
        /// Their digest.
        digest: String,
        /// Why that is refused.
        reason: &'static str,
    },
    /// Nothing would be left of it.
    #[error("a trimmed image index without entries is not made")]
    Empty,
    /// There is no such entry.
    #[error("the image index has no entry {place}")]
    NoSuchEntry {
        /// The entry's place, from 0.
        place: usize,
    },
}

impl Index {
    /// Reads an index.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidIndex> {
        entry::read_all(&Document::read(bytes)?)
    }

    /// Fails when an entry that is kept, at `places`, has the digest of another
    /// one of another size or media type: one of them is wrong.
    pub fn check_kept(&self, places: &[usize]) -> Result<(), InvalidIndex> {
        let kept = places.iter().filter_map(|place| self.entries.get(*place));
        let first: HashMap<&str, &Entry> =
            kept.map(|entry| (entry.digest.as_str(), entry)).collect();
        for (second, entry) in self.entries.iter().enumerate() {
            let other = first.get(entry.digest.as_str());
            let Some(reason) = other.and_then(|first| entry::contradiction(first, entry)) else {
                continue;
            };
            let first = self
                .entries
                .iter()
                .position(|own| own.digest == entry.digest);
            return Err(InvalidIndex::DuplicateDigest {
                first: first.unwrap_or_default() + 1,
                second: second + 1,
                digest: entry.digest.clone(),
                reason,
            });
        }
        Ok(())
    }

    /// The entries that are indexes themselves. They are not candidates: fetch
    /// them, [`flatten()`] them into the source, and parse the result, until
    /// there are none or [`MAX_NESTING`] is reached.
    pub fn nested(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.iter();
        entries.filter(|entry| is_index_media_type(&entry.media_type))
    }

    /// The places of the entries with these digests, ascending, as [`trim`]
    /// takes them. `None` when a digest is not in the index. An image that is
    /// listed for several platforms has several places: one for each that
    /// clients can tell from the others.
    ///
    /// [`trim`]: crate::trim()
    pub fn places_of<S: AsRef<str>>(&self, digests: &[S]) -> Option<Vec<usize>> {
        let wanted: std::collections::HashSet<&str> = digests.iter().map(AsRef::as_ref).collect();
        let entries = self.entries.iter().enumerate();
        let places: Vec<_> = entries
            .filter(|(_, entry)| wanted.contains(entry.digest.as_str()))
            .map(|(place, _)| place)
            .collect();
        let found = places
            .iter()
            .map(|place| self.entries[*place].digest.as_str());
        let found: std::collections::HashSet<&str> = found.collect();
        (found == wanted).then(|| self.distinct(places))
    }

    /// The first of those `places` that are one entry to clients, which see
    /// neither requirements nor the variants of most architectures.
    pub(crate) fn distinct(&self, mut places: Vec<usize>) -> Vec<usize> {
        let mut seen = std::collections::HashSet::with_capacity(places.len());
        places.retain(|place| seen.insert(entry::seen_by_clients(&self.entries[*place])));
        places
    }
}

impl Entry {
    /// An annotation's text without blanks around it. `None` when it is empty.
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        let text = self.annotations.get(key)?.trim();
        (!text.is_empty()).then_some(text)
    }
}

/// Whether a media type is that of an OCI index or a docker manifest list.
pub fn is_index_media_type(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// The media type of an OCI index.
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The media type of a docker manifest list.
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

#[cfg(test)]
mod tests;
