//! `Range` and `Content-Range` (RFC 9110, section 14).

use std::fmt;

use http::{HeaderMap, HeaderValue, header};

/// Which part of a blob an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentRange {
    /// `bytes first-last/total`, with `*` for a total that is not known.
    Part {
        first: u64,
        last: u64,
        total: Option<u64>,
    },
    /// `bytes */total`: none of it.
    None { total: u64 },
}

/// Whether `range` asks for one range of bytes: `a-`, `a-b` or `-n`.
pub(crate) fn is_single_range(range: &HeaderValue) -> bool {
    let parts = range
        .to_str()
        .ok()
        .and_then(|range| range.strip_prefix("bytes="))
        .and_then(|range| range.split_once('-'));
    match parts {
        Some(("", last)) => number(last).is_some(),
        Some((first, "")) => number(first).is_some(),
        Some((first, last)) => number(first)
            .zip(number(last))
            .is_some_and(|(first, last)| first <= last),
        None => false,
    }
}

impl ContentRange {
    /// Reads the header. None if there is none that makes sense.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
        let (part, total) = value.strip_prefix("bytes ")?.split_once('/')?;
        if part == "*" {
            let total = number(total)?;
            return Some(Self::None { total });
        }
        let total = match total {
            "*" => None,
            total => Some(number(total)?),
        };
        let (first, last) = part.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let makes_sense = first <= last && last < total.unwrap_or(u64::MAX);
        makes_sense.then_some(Self::Part { first, last, total })
    }

    /// How many bytes the part has. None: there is no part.
    pub(crate) fn length(self) -> Option<u64> {
        match self {
            Self::Part { first, last, .. } => Some((last - first).saturating_add(1)),
            Self::None { .. } => None,
        }
    }
}

/// Digits only: no sign, no spaces.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part {
                first,
                last,
                total: Some(total),
            } => write!(f, "bytes {first}-{last}/{total}"),
            Self::Part { first, last, .. } => write!(f, "bytes {first}-{last}/*"),
            Self::None { total } => write!(f, "bytes */{total}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_range_of_bytes_is_honoured_and_nothing_else() {
        for (range, honoured) in [
            ("bytes=0-", true),
            ("bytes=5-9", true),
            ("bytes=-100", true),
            ("bytes=9-5", false),
            ("bytes=0-1,3-4", false),
            ("bytes=-", false),
            ("bytes=+1-2", false),
            ("bytes= 1-2", false),
            ("items=1-2", false),
            ("bytes=99999999999999999999-", false),
        ] {
            let value = HeaderValue::from_static(range);
            assert_eq!(is_single_range(&value), honoured, "{range}");
        }
    }

    #[test]
    fn a_content_range_is_read_and_written_alike() {
        for range in ["bytes 5-9/10", "bytes 0-0/*", "bytes */10"] {
            let headers = HeaderMap::from_iter([(header::CONTENT_RANGE, range.parse().unwrap())]);

            let read = ContentRange::read(&headers).map(|range| range.to_string());

            assert_eq!(read.as_deref(), Some(range));
        }
    }

    #[test]
    fn a_content_range_that_makes_no_sense_is_not_read() {
        for range in ["bytes 9-5/10", "bytes 5-10/10", "bytes */*", "5-9/10", ""] {
            let headers = HeaderMap::from_iter([(header::CONTENT_RANGE, range.parse().unwrap())]);

            assert_eq!(ContentRange::read(&headers), None, "{range}");
        }
    }

    proptest! {
        #[test]
        fn any_range_is_read_without_harm(text in "[ -~]{0,60}|(bytes=)?[-0-9,*]{0,44}") {
            let is_single = is_single_range(&HeaderValue::from_str(&text).unwrap());

            prop_assert!(!is_single || !text.contains(','));
        }

        #[test]
        fn any_content_range_is_read_without_harm(text in "[ -~]{0,60}|bytes [-0-9/*]{0,66}") {
            let headers = HeaderMap::from_iter([(header::CONTENT_RANGE, text.parse().unwrap())]);

            if let Some(range) = ContentRange::read(&headers) {
                prop_assert_ne!(range.length(), Some(0));
                let again = range.to_string().parse().unwrap();
                let headers = HeaderMap::from_iter([(header::CONTENT_RANGE, again)]);
                prop_assert_eq!(ContentRange::read(&headers), Some(range));
            }
        }
    }
}
