//! What a request's path asks for. Parsed once, from the right: a repository
//! name may hold the word `manifests`.
//!
//! Endpoints: OCI distribution-spec, "Endpoints".

use std::{borrow::Cow, fmt};

use super::names::Name;
use crate::reference::{Digest, Reference};

/// The longest path that is looked at, in bytes.
const MAX_PATH: usize = 1024;

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// The API's base: answers if the client is authenticated.
    Base,
    /// All repositories.
    Catalog,
    /// The client's machine type: an extension of MetaHub, under the spec's
    /// path for extensions, `/v2/_<extension>/<component>`.
    Caller,
    /// A manifest or index.
    Manifest(Name, Reference),
    /// A layer or config.
    Blob(Name, Digest),
    /// The tags of a repository.
    Tags(Name),
    /// The manifests that refer to another one.
    Referrers(Name, Digest),
}

/// A path that asks for nothing there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidPath {
    /// No endpoint of the API.
    NoEndpoint,
    /// The repository's name is not of the grammar.
    Name,
    /// The tag is not of the grammar.
    Tag,
    /// The digest is not of the grammar, or of an unknown algorithm.
    Digest,
}

impl Route {
    /// Parses a path as it was sent, still percent-encoded.
    pub(crate) fn parse(path: &str) -> Result<Self, InvalidPath> {
        if matches!(path, "/v2" | "/v2/") {
            return Ok(Self::Base);
        }
        let path = path.strip_prefix("/v2/").ok_or(InvalidPath::NoEndpoint)?;
        if path.len() > MAX_PATH {
            return Err(InvalidPath::Name);
        }
        let path = &*decode(path);
        if path == "_catalog" {
            return Ok(Self::Catalog);
        }
        if path == "_metahub/caller" {
            return Ok(Self::Caller);
        }
        if let Some(repository) = path.strip_suffix("/tags/list") {
            return Ok(Self::Tags(name(repository)?));
        }
        let (left, last) = path.rsplit_once('/').ok_or(InvalidPath::NoEndpoint)?;
        let (repository, kind) = left.rsplit_once('/').ok_or(InvalidPath::NoEndpoint)?;
        match kind {
            "manifests" => Ok(Self::Manifest(name(repository)?, reference(last)?)),
            "blobs" => Ok(Self::Blob(name(repository)?, digest(last)?)),
            "referrers" => Ok(Self::Referrers(name(repository)?, digest(last)?)),
            _ => Err(InvalidPath::NoEndpoint),
        }
    }
}

impl Route {
    /// The repository that it is about.
    pub(crate) fn name(&self) -> Option<&Name> {
        match self {
            Self::Base | Self::Catalog | Self::Caller => None,
            Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Tags(name)
            | Self::Referrers(name, _) => Some(name),
        }
    }
}

fn name(name: &str) -> Result<Name, InvalidPath> {
    Name::parse(name).ok_or(InvalidPath::Name)
}

fn digest(digest: &str) -> Result<Digest, InvalidPath> {
    Digest::parse(digest).ok_or(InvalidPath::Digest)
}

fn reference(reference: &str) -> Result<Reference, InvalidPath> {
    Reference::parse(reference).ok_or(if reference.contains(':') {
        InvalidPath::Digest
    } else {
        InvalidPath::Tag
    })
}

/// Decodes what needed no encoding: unreserved characters (RFC 3986), the colon
/// of a digest, and the brackets of an IPv6 address. The rest stays encoded, and no grammar takes a `%`.
fn decode(path: &str) -> Cow<'_, str> {
    let Some((plain, encoded)) = path.split_once('%') else {
        return Cow::Borrowed(path);
    };
    let mut decoded = plain.to_owned();
    for part in encoded.split('%') {
        let byte = part.get(..2).and_then(hex).map(char::from);
        match byte {
            Some(c) if c.is_ascii_alphanumeric() || "-._~:[]".contains(c) => {
                decoded.push(c);
                decoded.push_str(&part[2..]);
            }
            _ => {
                decoded.push('%');
                decoded.push_str(part);
            }
        }
    }
    Cow::Owned(decoded)
}

fn hex(digits: &str) -> Option<u8> {
    let good = digits.bytes().all(|b| b.is_ascii_hexdigit());
    u8::from_str_radix(good.then_some(digits)?, 16).ok()
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("/v2/"),
            Self::Catalog => f.write_str("/v2/_catalog"),
            Self::Caller => f.write_str("/v2/_metahub/caller"),
            Self::Manifest(name, reference) => write!(f, "/v2/{name}/manifests/{reference}"),
            Self::Blob(name, digest) => write!(f, "/v2/{name}/blobs/{digest}"),
            Self::Tags(name) => write!(f, "/v2/{name}/tags/list"),
            Self::Referrers(name, digest) => write!(f, "/v2/{name}/referrers/{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(path: &str) -> InvalidPath {
        Route::parse(path).expect_err(path)
    }

    fn taken(path: &str) -> String {
        Route::parse(path).expect(path).to_string()
    }

    const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

    #[test]
    fn a_name_may_hold_the_words_of_the_api() {
        for path in [
            "/v2/manifests/manifests/manifests/latest",
            "/v2/a/tags/list/manifests/1",
            "/v2/blobs/referrers/tags/list",
            "/v2/a/manifests/tags/list",
        ] {
            assert_eq!(taken(path), path);
        }
    }

    #[test]
    fn a_colon_of_a_digest_may_be_encoded() {
        let encoded = DIGEST.replace(':', "%3A");

        let path = taken(&format!("/v2/a/%62/blobs/{encoded}"));

        assert_eq!(path, format!("/v2/a/b/blobs/{DIGEST}"));
    }

    #[test]
    fn a_host_may_be_an_ipv6_address_with_its_brackets_encoded() {
        let path = taken("/v2/%5B2001:db8::1%5d:5000/a/manifests/latest");

        assert_eq!(path, "/v2/[2001:db8::1]:5000/a/manifests/latest");
    }

    #[test]
    fn each_part_outside_the_grammar_has_its_own_error() {
        let long = "a".repeat(2000);
        for (path, error) in [
            ("/", InvalidPath::NoEndpoint),
            ("/v1/a/manifests/b", InvalidPath::NoEndpoint),
            ("/v2/a", InvalidPath::NoEndpoint),
            ("/v2/a/blobs/uploads/", InvalidPath::NoEndpoint),
            ("/v2//manifests/latest", InvalidPath::Name),
            ("/v2/a//b/manifests/latest", InvalidPath::Name),
            ("/v2/../manifests/latest", InvalidPath::Name),
            ("/v2/a/../b/manifests/latest", InvalidPath::Name),
            ("/v2/a/%2e%2e/b/manifests/latest", InvalidPath::Name),
            ("/v2/a%2fb/manifests/latest", InvalidPath::Name),
            ("/v2/a%/manifests/latest", InvalidPath::Name),
            ("/v2/a%0/manifests/latest", InvalidPath::Name),
            ("/v2/a%é/manifests/latest", InvalidPath::Name),
            ("/v2/a%00/manifests/latest", InvalidPath::Name),
            ("/v2/a%ff/manifests/latest", InvalidPath::Name),
            ("/v2/ä/manifests/latest", InvalidPath::Name),
            ("/v2/A/tags/list", InvalidPath::Name),
            ("/v2/a/manifests/", InvalidPath::Tag),
            ("/v2/a/manifests/.a", InvalidPath::Tag),
            ("/v2/a/manifests/a%2fb", InvalidPath::Tag),
            ("/v2/a/manifests/sha256:0", InvalidPath::Digest),
            ("/v2/a/manifests/md5:0", InvalidPath::Digest),
            ("/v2/a/blobs/latest", InvalidPath::Digest),
            ("/v2/a/referrers/latest", InvalidPath::Digest),
        ] {
            assert_eq!(refused(path), error, "{path}");
        }
        let path = format!("/v2/{long}/manifests/latest");
        assert_eq!(refused(&path), InvalidPath::Name);
    }

    fn name() -> impl Strategy<Value = Name> {
        "([a-z0-9]{1,5}(\\.[a-z]{2})?(:[1-9][0-9]{0,3})?/)?(manifests|blobs|tags|[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2})(/(list|tags|[a-z]{1,3})){0,3}"
            .prop_map(|text| Name::parse(&text).expect("the pattern is the grammar"))
    }

    fn digest() -> impl Strategy<Value = Digest> {
        "sha256:[0-9a-f]{64}".prop_map(|text| Digest::parse(&text).expect("a digest"))
    }

    fn reference() -> impl Strategy<Value = Reference> {
        "list|[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}|sha512:[0-9a-f]{128}"
            .prop_map(|text| Reference::parse(&text).expect("a reference"))
    }

    fn route() -> impl Strategy<Value = Route> {
        prop_oneof![
            Just(Route::Base),
            Just(Route::Catalog),
            Just(Route::Caller),
            (name(), reference()).prop_map(|(n, r)| Route::Manifest(n, r)),
            (name(), digest()).prop_map(|(n, d)| Route::Blob(n, d)),
            name().prop_map(Route::Tags),
            (name(), digest()).prop_map(|(n, d)| Route::Referrers(n, d)),
        ]
    }

    proptest! {
        #[test]
        fn a_route_reads_back_as_it_was_written(route in route()) {
            prop_assert_eq!(Route::parse(&route.to_string()), Ok(route));
        }

        #[test]
        fn no_path_makes_it_panic(path in "\\PC*") {
            let _ = Route::parse(&path);
        }

        #[test]
        fn what_is_taken_reads_back(path in "/v2/([a.%/:_-]|%[0-9a-f]{2}|manifests|tags/list){0,12}") {
            if let Ok(route) = Route::parse(&path) {
                prop_assert_eq!(Route::parse(&route.to_string()), Ok(route));
            }
        }
    }
}
