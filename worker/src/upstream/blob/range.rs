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

/// One range of bytes, as a client asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// `a-`: from there on.
    From(u64),
    /// `a-b`, as far as there is as much.
    Between(u64, u64),
    /// `-n`: the last bytes.
    Last(u64),
}

impl Span {
    /// Reads the header. None: it does not ask for one range of bytes.
    pub(crate) fn read(range: &HeaderValue) -> Option<Self> {
        Self::read_one(range.to_str().ok()?.strip_prefix("bytes=")?)
    }

    fn read_one(range: &str) -> Option<Self> {
        let (first, last) = range.split_once('-')?;
        match (first, last) {
            // A part of nothing is no part: the whole is sent.
            ("", last) => number(last).filter(|it| *it > 0).map(Self::Last),
            (first, "") => number(first).map(Self::From),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    /// Reads a header that asks for several ranges. None: it does not.
    pub(crate) fn read_several(range: &HeaderValue) -> Option<Vec<Self>> {
        let ranges = range.to_str().ok()?.strip_prefix("bytes=")?;
        let ranges = ranges.split(',').map(str::trim);
        // Empty ones do not count (RFC 9110, section 5.6.1.2).
        let spans = ranges.filter(|it| !it.is_empty()).map(Self::read_one);
        let spans: Vec<_> = spans.collect::<Option<_>>()?;
        (spans.len() > 1).then_some(spans)
    }

    /// Whether `range` is what an answer to this has.
    pub(crate) fn is_answered_by(self, range: ContentRange) -> bool {
        match (range, self) {
            (ContentRange::None { total }, _)
            | (
                ContentRange::Part {
                    total: Some(total), ..
                },
                _,
            ) => self.within(total) == range,
            (ContentRange::Part { first, .. }, Self::From(from)) => first == from,
            (ContentRange::Part { first, last, .. }, Self::Between(from, to)) => {
                first == from && last <= to
            }
            (range @ ContentRange::Part { .. }, Self::Last(length)) => {
                range.length().is_some_and(|it| it <= length)
            }
        }
    }

    /// Whether it begins with the first byte.
    pub(crate) fn is_from_start(self) -> bool {
        matches!(self, Self::From(0) | Self::Between(0, _))
    }

    /// What a blob of `total` bytes has of it.
    pub(crate) fn within(self, total: u64) -> ContentRange {
        let last = total.saturating_sub(1);
        let (first, last) = match self {
            Self::From(first) => (first, last),
            Self::Between(first, to) => (first, last.min(to)),
            Self::Last(length) => (total.saturating_sub(length), last),
        };
        if first >= total {
            return ContentRange::None { total };
        }
        let total = Some(total);
        ContentRange::Part { first, last, total }
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
            ("bytes=-0", false),
            ("bytes=9-5", false),
            ("bytes=0-1,3-4", false),
            ("bytes=-", false),
            ("bytes=+1-2", false),
            ("bytes= 1-2", false),
            ("items=1-2", false),
            ("bytes=99999999999999999999-", false),
        ] {
            let value = HeaderValue::from_static(range);
            assert_eq!(Span::read(&value).is_some(), honoured, "{range}");
        }
    }

    #[test]
    fn a_part_ends_where_the_blob_does() {
        for (range, expected) in [
            ("bytes=0-", "bytes 0-9/10"),
            ("bytes=3-5", "bytes 3-5/10"),
            ("bytes=3-99", "bytes 3-9/10"),
            ("bytes=-4", "bytes 6-9/10"),
            ("bytes=-99", "bytes 0-9/10"),
            ("bytes=10-", "bytes */10"),
        ] {
            let span = Span::read(&HeaderValue::from_static(range)).unwrap();

            assert_eq!(span.within(10).to_string(), expected, "{range}");
        }
        assert_eq!(Span::From(0).within(0), ContentRange::None { total: 0 });
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
            let is_single = Span::read(&HeaderValue::from_str(&text).unwrap()).is_some();

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
