//! Why an upstream refuses, in its own words.
//!
//! A reason is one line of bounded length. It holds no control characters, no
//! query of a URL, and none of the secrets that the worker has sent.

use serde_json::Value;

/// The largest body that is read for a reason, in bytes.
pub(crate) const MAX_BODY: usize = 64 << 10;
/// The longest reason, in characters.
const MAX_REASON: usize = 400;
/// Where error bodies in JSON have their text: those of the distribution spec
/// first, then what other servers use (RFC 9457 has `detail` and `title`).
const FIELDS: [&str; 7] = [
    "message",
    "detail",
    "details",
    "error_description",
    "error",
    "reason",
    "title",
];

/// The reason in an error body. `None`: there is none, or it holds one of
/// `secrets`.
pub(crate) fn reason<'a>(
    is_plain_text: bool,
    body: &[u8],
    secrets: impl IntoIterator<Item = &'a str>,
) -> Option<Box<str>> {
    let text = match serde_json::from_slice(body) {
        Ok(json) => from_json(&json)?,
        Err(_) if is_plain_text => String::from_utf8_lossy(body).into_owned(),
        Err(_) => return None,
    };
    let holds = |secret: &str| !secret.is_empty() && text.contains(secret);
    if secrets.into_iter().any(holds) {
        return None;
    }
    let clean = cleaned(&text);
    (!clean.is_empty()).then(|| clean.into())
}

fn from_json(json: &Value) -> Option<String> {
    match json {
        Value::String(text) => Some(text.clone()),
        Value::Array(all) => all.iter().find_map(from_json),
        Value::Object(fields) => {
            let named = || {
                FIELDS
                    .iter()
                    .find_map(|field| from_json(fields.get(*field)?))
            };
            let errors = fields.get("errors").and_then(from_json);
            let code = || from_json(fields.get("code")?);
            errors.or_else(named).or_else(code)
        }
        _ => None,
    }
    .filter(|text| !text.trim().is_empty())
}

/// One line without control and formatting characters, cut to its length.
pub(super) fn cleaned(text: &str) -> String {
    let is_visible = |c: char| !c.is_control() && !is_formatting(c);
    let visible: String = text
        .chars()
        .map(|c| if is_visible(c) { c } else { ' ' })
        .collect();
    let words: Vec<_> = visible.split_whitespace().map(without_query).collect();
    let line = words.join(" ");
    match line.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Characters that change the direction of text, or cannot be seen.
fn is_formatting(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A word that is a URL, up to its query: that may hold a signature.
fn without_query(word: &str) -> &str {
    let is_url = word.contains("://");
    let end = word.find(['?', '#']).filter(|_| is_url);
    let word = &word[..end.unwrap_or(word.len())];
    match word.split_once("://") {
        Some((_, rest)) if rest.contains('@') => "",
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<String> {
        reason(false, body.as_bytes(), ["hunter2"]).map(String::from)
    }

    #[test]
    fn the_reason_is_found_where_servers_put_it() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"PROJECTPOLICYVIOLATION","message":"3 critical vulnerabilities"}]}"#,
                "3 critical vulnerabilities",
            ),
            (r#"{"errors":[{"code":"DENIED","message":""}]}"#, "DENIED"),
            (
                r#"{"errors":[{"code":"DENIED","message":"","detail":{"message":"blocked"}}]}"#,
                "blocked",
            ),
            (
                r#"{"errors":[{"status":403,"message":"Blocked by Xray"}]}"#,
                "Blocked by Xray",
            ),
            (
                r#"{"error":{"message":"no such account"}}"#,
                "no such account",
            ),
            (
                r#"{"error":"access_denied","error_description":"locked"}"#,
                "locked",
            ),
            (
                r#"{"details":"incorrect username or password"}"#,
                "incorrect username or password",
            ),
            (r#""blocked""#, "blocked"),
        ] {
            assert_eq!(read(body).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn what_holds_no_reason_gives_none() {
        for body in [
            "",
            "<html><title>403</title></html>",
            "{}",
            "[]",
            "null",
            r#"{"message":" \n"}"#,
        ] {
            assert_eq!(read(body), None, "{body}");
        }
        let plain = reason(true, b"legal\r\nhold", []);
        assert_eq!(plain.as_deref(), Some("legal hold"));
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        let spoiled = read(r#"{"message":"a\u0000b\r\n\tc\u001b[31md \u202eevil"}"#);
        let long = read(&format!(r#"{{"message":"{}"}}"#, "é".repeat(10_000))).unwrap();

        assert_eq!(spoiled.as_deref(), Some("a b c [31md evil"));
        assert_eq!(long.chars().count(), MAX_REASON + 1);
    }

    #[test]
    fn a_reason_holds_no_secret_and_no_signature() {
        assert_eq!(read(r#"{"message":"robot:hunter2 is locked"}"#), None);
        let url = read(
            r#"{"message":"see https://r.example/x?X-Amz-Signature=abc or http://u:p@r.example"}"#,
        );

        assert_eq!(url.as_deref(), Some("see https://r.example/x or "));
    }
}
