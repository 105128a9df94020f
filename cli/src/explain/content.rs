//! What an image is: an index, or one image for every host.

use metahub_policy::{Index, InvalidIndex, flatten};

use crate::demo::digest::sha256;

/// What an image is.
#[derive(Debug)]
pub(crate) enum Content {
    /// Several variants to choose from.
    Index(Source),
    /// One manifest, which every host is given as it is.
    Whole {
        /// Its digest.
        digest: String,
    },
}

/// A source index, with the indexes in it looked into.
#[derive(Debug)]
pub(crate) struct Source {
    /// The digest that the upstream knows.
    pub(crate) digest: String,
    /// What is chosen from and trimmed: the upstream's bytes, if no index is
    /// in them.
    pub(crate) bytes: Vec<u8>,
    pub(crate) index: Index,
}

impl Source {
    /// Reads an index.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self, InvalidIndex> {
        Ok(Self {
            digest: sha256(&bytes),
            index: Index::parse(&bytes)?,
            bytes,
        })
    }

    /// The same source with these indexes, by digest, in the place of the
    /// entries that name them.
    pub(crate) fn with(self, children: &[(String, Vec<u8>)]) -> Result<Self, InvalidIndex> {
        let children: Vec<_> = children
            .iter()
            .map(|(digest, bytes)| (digest.as_str(), bytes.as_slice()))
            .collect();
        let bytes = flatten(&self.bytes, &children)?;
        Ok(Self {
            digest: self.digest,
            index: Index::parse(&bytes)?,
            bytes,
        })
    }
}

impl Content {
    /// The digest that the upstream knows.
    pub(crate) fn digest(&self) -> &str {
        match self {
            Self::Index(source) => &source.digest,
            Self::Whole { digest } => digest,
        }
    }
}
