//! The names of the distribution spec, checked once and carried as types.
//!
//! Grammar: OCI distribution-spec, "Pulling manifests"; OCI image-spec,
//! descriptor.md, "Digests".

use std::fmt;

/// The longest repository name that is taken, in bytes.
const MAX_REPOSITORY: usize = 255;
/// The longest tag, in bytes.
const MAX_TAG: usize = 128;

/// A repository's name at its upstream, for example `library/nginx`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Repository(Box<str>);

/// A tag, for example `latest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tag(Box<str>);

/// A digest that MetaHub can verify: `sha256:…` or `sha512:…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Digest(Box<str>);

/// What names a manifest within a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reference {
    /// A tag: what it means may change.
    Tag(Tag),
    /// A digest: what it means never changes.
    Digest(Digest),
}

impl Repository {
    /// Takes a name of the grammar, 255 bytes at most.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let good = name.len() <= MAX_REPOSITORY && name.split('/').all(is_component);
        good.then(|| Self(name.into()))
    }

    /// The repository of this name below `prefix`, which is of the grammar.
    pub(crate) fn below(&self, prefix: &str) -> Self {
        Self(format!("{prefix}/{}", self.0).into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tag {
    /// Takes a tag of the grammar `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    pub(crate) fn parse(tag: &str) -> Option<Self> {
        let starts = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let rest = tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        (starts && rest && tag.len() <= MAX_TAG).then(|| Self(tag.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Digest {
    /// Takes a digest of an algorithm that MetaHub can verify, in lower case.
    pub(crate) fn parse(digest: &str) -> Option<Self> {
        let (algorithm, hex) = digest.split_once(':')?;
        let length = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return None,
        };
        let good = hex.len() == length
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        good.then(|| Self(digest.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reference {
    /// Takes a tag or a digest.
    pub(crate) fn parse(reference: &str) -> Option<Self> {
        if reference.contains(':') {
            Digest::parse(reference).map(Self::Digest)
        } else {
            Tag::parse(reference).map(Self::Tag)
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Tag(tag) => tag.as_str(),
            Self::Digest(digest) => digest.as_str(),
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let word = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    word(first)
        && word(last)
        && bytes
            .split(|&b| word(b))
            .all(|gap| matches!(gap, b"" | b"." | b"_" | b"__") || gap.iter().all(|&b| b == b'-'))
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_names_that_the_grammar_allows() {
        for name in [
            "a",
            "library/nginx",
            "a/b/c",
            "a.b_c__d-e---f/0",
            "manifests/blobs",
        ] {
            assert!(Repository::parse(name).is_some(), "{name} was refused");
        }
    }

    #[test]
    fn refuses_the_names_that_the_grammar_forbids() {
        let long = "a".repeat(256);
        for name in [
            "", "/", "a/", "/a", "a//b", "A", "a/../b", "..", ".a", "a.", "a..b", "a___b", "a_-b",
            "a%2fb", "a b", "ä", &long,
        ] {
            assert!(Repository::parse(name).is_none(), "{name} was taken");
        }
    }

    #[test]
    fn a_reference_with_a_colon_is_a_digest_or_nothing() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert!(matches!(
            Reference::parse(&digest),
            Some(Reference::Digest(_))
        ));
        for bad in [
            "sha256:0a",
            "md5:00",
            "sha256:",
            ":",
            &digest.to_uppercase(),
        ] {
            assert!(Reference::parse(bad).is_none(), "{bad} was taken");
        }
    }

    #[test]
    fn a_tag_has_128_bytes_at_most() {
        assert!(Tag::parse(&"a".repeat(128)).is_some());
        for bad in ["", ".a", "-a", "a/b", "a b", &"a".repeat(129)] {
            assert!(Tag::parse(bad).is_none(), "{bad} was taken");
        }
    }
}
