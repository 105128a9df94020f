//! Tags that are about a digest: `sha256-<hex>` lists its referrers where there
//! is no API for that (distribution-spec, "Referrers tag schema"), and cosign
//! puts `.sig`, `.att` or `.sbom` behind it.
//!
//! What they mean is served as it is: there is nothing in it to choose for a
//! host. To a trimmed index belongs what belongs to its source.

use std::sync::Arc;

use super::{
    Notes, Registry,
    error::{Error, Wanted},
    names::Target,
    trimmed,
};
use crate::{
    reference::{Digest, Reference, Tag},
    upstream::{self, Source},
};

/// What cosign puts behind a digest.
const SUFFIXES: [&str; 4] = ["", ".sig", ".att", ".sbom"];

/// A tag that is about a digest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attached<'a> {
    tag: &'a Tag,
    digest: Digest,
    suffix: &'static str,
}

impl<'a> Attached<'a> {
    /// Reads a tag. None if it is about no digest.
    pub(super) fn read(tag: &'a Tag) -> Option<Self> {
        let text = tag.as_str();
        let mut suffixes = SUFFIXES.iter().rev();
        let suffix = *suffixes.find(|suffix| text.ends_with(**suffix))?;
        let (algorithm, hex) = text.strip_suffix(suffix)?.split_once('-')?;
        let digest = Digest::parse(&format!("{algorithm}:{hex}"))?;
        Some(Self {
            tag,
            digest,
            suffix,
        })
    }

    /// The tag that is about another digest in the same way.
    fn of(&self, digest: &Digest) -> Option<Reference> {
        let tag = format!("{}{}", digest.as_str().replace(':', "-"), self.suffix);
        Tag::parse(&tag).map(Reference::Tag)
    }
}

impl Registry {
    /// What `attached` means at the upstream. Where that does not know it, the
    /// digest may be of an index that another worker has trimmed just now.
    pub(super) async fn attached(
        &self,
        target: &Target<'_>,
        attached: &Attached<'_>,
        notes: &mut Notes,
    ) -> Result<Arc<Source>, Error> {
        let name = trimmed::name(target, &attached.digest);
        let known = self.recipes.known(&name);
        if let Some(of_source) = known.and_then(|it| attached.of(&it.source_digest)) {
            return self.source(target, &of_source, notes).await;
        }
        let tag = Reference::Tag(attached.tag.clone());
        let missing = match self.source(target, &tag, notes).await {
            Err(missing @ Error::Upstream(upstream::Error::NotFound { .. }, Wanted::Manifest)) => {
                missing
            }
            other => return other,
        };
        let found = self.recipes.find(&name).await.ok().flatten();
        match found.and_then(|it| attached.of(&it.source_digest)) {
            Some(of_source) => self.source(target, &of_source, notes).await,
            None => Err(missing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_about_a_digest_if_it_names_one() {
        let hex = "0".repeat(64);
        for suffix in SUFFIXES {
            let tag = Tag::parse(&format!("sha256-{hex}{suffix}")).unwrap();

            let attached = Attached::read(&tag).unwrap();

            assert_eq!(attached.digest.as_str(), format!("sha256:{hex}"));
            assert_eq!(attached.suffix, suffix);
            let again = attached.of(&attached.digest).unwrap();
            assert_eq!(again.as_str(), tag.as_str());
        }
        for text in [
            "latest",
            "sha256-0",
            &format!("sha256-{hex}.other"),
            &format!("sha256-{hex}0"),
            &format!("md5-{hex}"),
            &format!("v1-{hex}"),
            ".sig".trim_start_matches('.'),
        ] {
            let tag = Tag::parse(text).unwrap();
            assert_eq!(Attached::read(&tag), None, "{text}");
        }
    }
}
