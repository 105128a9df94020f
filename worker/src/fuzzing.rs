//! What must hold of the parsers whatever bytes they are given.
//!
//! Run by the fuzzer in `tests/fuzz`, and by the tests with the inputs that are
//! kept there.

use http::{
    HeaderMap, HeaderName, HeaderValue, Request,
    header::{ACCEPT, CONTENT_RANGE, HOST, LINK, WWW_AUTHENTICATE},
};
use url::Url;

use crate::{
    auth::{self, Refused},
    peer::Proxies,
    reference::Repository,
    registry::{Route, accepts},
    upstream::{ContentRange, Offers, Scope, Span, next_query, safe_query},
};

mod manifest;

type Check = fn(&[u8]);

/// What the first byte of an input chooses from, `0` being the first.
const CHECKS: [Check; 6] = [
    path,
    accept,
    challenge,
    range,
    list,
    manifest::read_and_trim,
];

/// Panics if a parser breaks a promise when it reads `input`. The first byte
/// says which parser the rest is for.
pub fn check(input: &[u8]) {
    if let Some((which, rest)) = input.split_first() {
        CHECKS[usize::from(*which) % CHECKS.len()](rest);
    }
}

/// A path that is taken reads back as it is written, and is safe to put into an
/// upstream's URL.
fn path(input: &[u8]) {
    let text = std::str::from_utf8(input);
    let Ok(Ok(route)) = text.map(Route::parse) else {
        return;
    };
    let written = route.to_string();
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:".contains(&byte);
    let climbs = |part: &str| part.is_empty() || part.starts_with('.');

    assert!(written.bytes().all(is_safe), "{written}");
    assert!(route == Route::Base || !written.split('/').skip(1).any(climbs));
    assert_eq!(Route::parse(&written), Ok(route));
}

/// A type is taken only if it is named or covered; the order of lines does not
/// matter, and a type that is named without a weight is taken in any case.
fn accept(input: &[u8]) {
    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
    let lines = values(input);
    let headers = headers(&ACCEPT, lines.iter());
    let reversed = self::headers(&ACCEPT, lines.iter().rev());
    let mut named = headers.clone();
    named.append(ACCEPT, HeaderValue::from_static(IMAGE));
    let text = String::from_utf8_lossy(input).to_ascii_lowercase();

    let taken = accepts(&headers, IMAGE);

    let is_there = lines.is_empty() || text.contains('*') || text.contains(IMAGE);
    assert!(!taken || is_there, "{text}");
    assert_eq!(accepts(&reversed, IMAGE), taken);
    assert!(accepts(&named, IMAGE));
}

/// The worker's own challenge reads as it was meant, whatever `Host` and path
/// the client has sent; one of an upstream reads the same when it is written
/// again.
fn challenge(input: &[u8]) {
    let lines = values(input);
    if let [host, path, ..] = &lines[..] {
        own_challenge(host, path);
    }
    let Some(repository) = Repository::parse("library/app") else {
        return;
    };
    let offers = Offers::read(&headers(&WWW_AUTHENTICATE, lines.iter()), &repository);
    let Some(bearer) = &offers.bearer else { return };
    // Others are never asked, and some URLs of files read as another one when
    // they are written.
    if !matches!(bearer.realm.scheme(), "http" | "https") {
        return;
    }
    let mut text = format!("Bearer realm={}", quoted(bearer.realm.as_str()));
    if let Some(service) = &bearer.service {
        text += &format!(",service={}", quoted(service));
    }
    if let Scope::Spelled(scope) = &bearer.scope {
        text += &format!(",scope={}", quoted(scope));
    }
    let again = HeaderValue::try_from(&text).expect("it was read from a header");
    let again = Offers::read(&headers(&WWW_AUTHENTICATE, [again].iter()), &repository);
    assert_eq!(again.bearer, offers.bearer, "{text}");
}

fn own_challenge(host: &HeaderValue, path: &HeaderValue) {
    let mut request = Request::new(()).into_parts().0;
    request.headers.append(HOST, host.clone());
    let Some(origin) = Proxies::default().origin(&request) else {
        return;
    };
    let route = path.to_str().ok().and_then(|path| Route::parse(path).ok());
    let name = route.as_ref().and_then(Route::name);
    let scope = name.map(|name| format!("repository:{name}:pull"));
    let realm = Url::parse(&format!("{origin}/token"));
    let repository = Repository::parse("another").expect("it is of the grammar");

    let value = auth::bearer(&origin, scope.as_deref(), &Refused::Token);

    let offers = Offers::read(&headers(&WWW_AUTHENTICATE, [value].iter()), &repository);
    assert!(!offers.basic, "{origin}");
    assert_eq!(offers.bearer.is_some(), realm.is_ok(), "{origin}");
    if let (Some(bearer), Ok(realm)) = (offers.bearer, realm) {
        assert_eq!((&bearer.realm, realm.path()), (&realm, "/token"));
        let usual = Scope::Pull.for_repository(&repository);
        let spelled = scope.filter(|scope| *scope != usual);
        let expected = spelled.map_or(Scope::Pull, |scope| Scope::Spelled(scope.into()));
        assert_eq!(bearer.scope, expected);
    }
}

/// The first line is a `Range`, the second a `Content-Range`: what is taken lies
/// within its size.
fn range(input: &[u8]) {
    let lines = values(input);
    if let Some(range) = lines.first()
        && Span::read(range).is_some()
    {
        let bounds = range.to_str().ok().and_then(|it| it.split_once('='));
        let bounds = bounds.and_then(|(_, bounds)| bounds.split_once('-'));
        let (first, last) = bounds.expect("it is a range");
        let numbers = first.parse::<u64>().ok().zip(last.parse::<u64>().ok());
        assert!(numbers.is_none_or(|(first, last)| first <= last));
        assert!(first.len() + last.len() > 0 && !last.contains(','));
    }
    let headers = headers(&CONTENT_RANGE, lines.get(1).into_iter());
    let Some(range) = ContentRange::read(&headers) else {
        return;
    };
    if let ContentRange::Part { first, last, total } = range {
        assert!(first <= last && total.is_none_or(|total| last < total));
        let length = range.length().unwrap_or(0);
        assert!(length > 0 && total.is_none_or(|total| length <= total - first));
    }
    let again = HeaderValue::try_from(range.to_string()).expect("it is ASCII");
    let again = self::headers(&CONTENT_RANGE, [again].iter());
    assert_eq!(ContentRange::read(&again), Some(range));
}

/// The first line is a client's query, the others an upstream's `Link`s: pages
/// have a sane size, and nothing that is meant for the worker is passed on.
fn list(input: &[u8]) {
    let (query, links) = input.split_at(input.iter().position(|b| *b == b'\n').unwrap_or(0));
    let query = std::str::from_utf8(query).ok().and_then(safe_query);
    let next = next_query(&headers(&LINK, values(links).iter()));
    for query in [query, next].into_iter().flatten() {
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            assert!(key != "ns", "{query}");
            assert!(
                key != "n" || value.parse::<u64>().is_ok_and(|n| n <= 1000),
                "{query}"
            );
        }
        assert!(HeaderValue::from_str(&query).is_ok(), "{query}");
    }
}

/// The lines of an input that can be header values.
fn values(input: &[u8]) -> Vec<HeaderValue> {
    let lines = input.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .collect()
}

fn headers<'a>(name: &HeaderName, lines: impl Iterator<Item = &'a HeaderValue>) -> HeaderMap {
    lines.map(|line| (name.clone(), line.clone())).collect()
}

/// A quoted-string (RFC 9110, 5.6.4).
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('"', r#"\""#);
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_inputs_that_are_kept_break_no_promise() {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/seeds");
        let seeds = std::fs::read_dir(seeds).unwrap();
        let (mut parsers, mut broken) = (BTreeSet::new(), BTreeSet::new());

        for seed in seeds {
            let path = seed.unwrap().path();
            let seed = std::fs::read(&path).unwrap();
            parsers.insert(usize::from(seed[0]) % CHECKS.len());
            if std::panic::catch_unwind(|| check(&seed)).is_err() {
                broken.insert(path);
            }
        }

        assert_eq!(broken, BTreeSet::new());
        assert_eq!(parsers.len(), CHECKS.len(), "each parser has an input");
    }
}
