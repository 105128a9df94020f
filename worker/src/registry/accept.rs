//! Whether a client takes a media type: the `Accept` header (RFC 9110,
//! section 12.5.1).
//!
//! Clients send one line, or up to seven in random order.

use http::{HeaderMap, header::ACCEPT};

/// How well a media range fits; the best one decides.
const ANY: u8 = 1;
const KIND: u8 = 2;
const EXACT: u8 = 3;

/// Whether a client that sent `headers` takes `media_type`. One that sent no
/// `Accept` takes all.
pub(crate) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut lines = headers.get_all(ACCEPT).iter().peekable();
    if lines.peek().is_none() {
        return true;
    }
    let ranges = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let (mut best, mut taken) = (0, false);
    for range in ranges {
        let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
        let fit = fit(name.trim(), media_type);
        let wanted = !is_refusal(parameters);
        if fit > best {
            (best, taken) = (fit, wanted);
        } else if fit == best && fit > 0 {
            taken |= wanted;
        }
    }
    taken
}

fn fit(range: &str, media_type: &str) -> u8 {
    if range.eq_ignore_ascii_case(media_type) {
        return EXACT;
    }
    let kind = media_type.split_once('/').map_or("", |(kind, _)| kind);
    match range.split_once('/') {
        Some(("*", "*")) => ANY,
        Some((range, "*")) if range.eq_ignore_ascii_case(kind) => KIND,
        _ => 0,
    }
}

/// Whether the weight is zero.
fn is_refusal(parameters: &str) -> bool {
    parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("q"))
        .is_some_and(|(_, weight)| weight.trim().parse::<f32>() == Ok(0.0))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

    fn taken(lines: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT, HeaderValue::from_str(line).unwrap());
        }
        accepts(&headers, IMAGE)
    }

    #[test]
    fn a_type_may_be_in_any_line_and_place() {
        assert!(taken(&["application/json", IMAGE]));
        assert!(taken(&[&format!("text/plain, {IMAGE} ;q=0.5"), "a/b"]));
    }

    #[test]
    fn no_header_takes_all() {
        assert!(taken(&[]));
    }

    #[test]
    fn wildcards_take_what_they_cover() {
        assert!(taken(&["*/*"]));
        assert!(taken(&["text/plain, */*;q=0.1"]));
        assert!(taken(&["application/*"]));
        assert!(!taken(&["text/*"]));
    }

    #[test]
    fn a_type_that_is_not_named_is_not_taken() {
        assert!(!taken(&["application/vnd.oci.image.index.v1+json"]));
        assert!(!taken(&[""]));
    }

    #[test]
    fn a_weight_of_zero_refuses_what_a_wildcard_takes() {
        assert!(!taken(&[&format!("*/*, {IMAGE};q=0")]));
        assert!(!taken(&["*/*;q=0.000"]));
        assert!(taken(&[&format!("*/*;q=0, {IMAGE};q=1")]));
    }

    #[test]
    fn garbage_takes_nothing_and_harms_nothing() {
        assert!(!taken(&[";;;,,,q=,/;=*"]));
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_harm(line in "[ -~]{0,200}|([*/;,= q]|q=|0|application/){0,40}") {
            let taken = taken(&[&line]);

            prop_assert!(!taken || line.contains(IMAGE) || line.contains('*'));
        }
    }
}
