//! `Warning` headers: 299 with the agent `-`, the only ones that clients show
//! (distribution-spec, "Warnings").

use http::{HeaderMap, HeaderValue, header};

use super::{header_text::header_text, reason::cleaned};

/// The most that is passed on of an upstream's warnings, in bytes: clients take
/// 4096 of all, and the worker has some of its own.
const MAX_BYTES: usize = 3072;

/// A warning.
pub(crate) fn warning(text: &str) -> HeaderValue {
    let text = text.replace(['"', '\\'], "'");
    let value = HeaderValue::from_bytes(format!("299 - \"{text}\"").as_bytes());
    value.unwrap_or(HeaderValue::from_static("299 - \"\""))
}

/// The warnings of an upstream's answer that are for its clients.
pub(crate) fn upstream_warnings(headers: &HeaderMap) -> Box<[HeaderValue]> {
    let lines = headers.get_all(header::WARNING).iter().map(header_text);
    let texts: Vec<_> = lines.flat_map(|line| texts(&line)).collect();
    let mut left = MAX_BYTES;
    let fits = |warning: &HeaderValue| {
        let rest = left.checked_sub(warning.len());
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    texts
        .iter()
        .map(|text| warning(text))
        .filter(fits)
        .collect()
}

/// The texts of all `299 - "text"` in a line.
fn texts(line: &str) -> Vec<String> {
    let after_agent = line.split("299 - \"").skip(1);
    let texts = after_agent.filter_map(|rest| {
        let end = closing_quote(rest)?;
        Some(cleaned(&rest[..end].replace('\\', "")))
    });
    texts.filter(|text| !text.is_empty()).collect()
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.find(|c| {
        let closes = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed_on(lines: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            headers.append(header::WARNING, value);
        }
        let warnings = upstream_warnings(&headers);
        let texts = warnings.iter().map(|it| header_text(it).into_owned());
        texts.collect()
    }

    #[test]
    fn only_warnings_for_clients_are_passed_on() {
        let passed_on = passed_on(&[
            r#"110 - "stale""#,
            r#"299 - "this image is deprecated""#,
            r#"299 cdn.example "other agents are not shown""#,
            r#"299 - "a \"b\"", 199 - "no", 299 - "cömmä, c" "Sat, 25 Aug 2012 23:34:45 GMT""#,
            r#"299 - "never closed"#,
            "299 - nonsense",
        ]);

        assert_eq!(
            passed_on,
            [
                r#"299 - "this image is deprecated""#,
                r#"299 - "a 'b'""#,
                r#"299 - "cömmä, c""#,
            ]
        );
    }

    #[test]
    fn the_warnings_of_an_upstream_are_bounded() {
        let line = format!("299 - \"{}\"", "x".repeat(300));
        let passed_on = passed_on(&[line.as_str(); 100]);

        let total: usize = passed_on.iter().map(String::len).sum();
        assert!((1..=MAX_BYTES).contains(&total), "{total}");
    }
}
