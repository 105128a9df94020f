//! Indexes with the nested ones in them spread out: what is selected from.

use metahub_policy::{Index, MAX_NESTING, flatten};

use super::{
    Notes, Registry,
    error::{Error, Wanted},
    names::Target,
};
use crate::{
    reference::{Digest, Reference},
    upstream::{self, Source},
};

/// The most nested indexes that one index may have, at all levels together.
const MAX_NESTED: usize = 32;

/// An index and all its entries, those of nested indexes included.
pub(super) enum Flat<'a> {
    /// Nothing is nested in it.
    Plain(&'a Source, &'a Index),
    /// The entries of nested indexes are in the place of the indexes.
    Spread {
        source: &'a Source,
        bytes: Vec<u8>,
        index: Index,
    },
}

impl<'a> Flat<'a> {
    /// The index as its upstream serves it.
    pub(super) fn source(&self) -> &'a Source {
        match self {
            Self::Plain(source, _) | Self::Spread { source, .. } => source,
        }
    }

    /// What trimmed indexes are cut out of.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(source, _) => &source.bytes,
            Self::Spread { bytes, .. } => bytes,
        }
    }

    pub(super) fn index(&self) -> &Index {
        match self {
            Self::Plain(_, index) => index,
            Self::Spread { index, .. } => index,
        }
    }
}

impl Registry {
    /// Spreads `index`, which is in `source`. Its nested indexes come by
    /// digest; one that the upstream does not have stays as it is.
    pub(super) async fn flat<'a>(
        &self,
        target: &Target<'_>,
        (source, index): (&'a Source, &'a Index),
        notes: &mut Notes,
    ) -> Result<Flat<'a>, Error> {
        if index.nested().next().is_none() {
            return Ok(Flat::Plain(source, index));
        }
        let mut spread = (source.bytes.to_vec(), index.clone());
        let mut left = MAX_NESTED;
        for _ in 1..MAX_NESTING {
            let (bytes, index) = &spread;
            let nested = nested(index, left)?;
            if nested.is_empty() {
                break;
            }
            left -= nested.len();
            let children = self.children(target, nested, notes).await?;
            let children: Vec<_> = children
                .iter()
                .map(|child| (child.digest.as_str(), &child.bytes[..]))
                .collect();
            let bytes = flatten(bytes, &children).map_err(|invalid| Error::from(&invalid))?;
            let index = Index::parse(&bytes).map_err(|invalid| Error::from(&invalid))?;
            spread = (bytes, index);
        }
        let (bytes, index) = spread;
        Ok(Flat::Spread {
            source,
            bytes,
            index,
        })
    }

    async fn children(
        &self,
        target: &Target<'_>,
        nested: Vec<Digest>,
        notes: &mut Notes,
    ) -> Result<Vec<std::sync::Arc<Source>>, Error> {
        let mut children = Vec::with_capacity(nested.len());
        for digest in nested {
            let child = Reference::Digest(digest);
            match self.source(target, &child, notes).await {
                Ok(child) => children.push(child),
                Err(Error::Upstream(upstream::Error::NotFound { .. }, Wanted::Manifest)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(children)
    }
}

/// The nested indexes, each once. One with a digest that cannot be verified is
/// none.
fn nested(index: &Index, limit: usize) -> Result<Vec<Digest>, Error> {
    let digests = index.nested().map(|entry| entry.digest.as_str());
    let digests: std::collections::BTreeSet<&str> = digests.collect();
    if digests.len() > limit {
        let reason = format!("it nests more than {MAX_NESTED} indexes");
        return Err(Error::Index(reason));
    }
    Ok(digests.into_iter().filter_map(Digest::parse).collect())
}
