//! Header values as text.

use std::borrow::Cow;

use http::HeaderValue;

/// A header value as text: as UTF-8, or as Latin-1 where it is not UTF-8
/// (RFC 9110, 5.5). Never fails.
pub(crate) fn header_text(value: &HeaderValue) -> Cow<'_, str> {
    let bytes = value.as_bytes();
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// A header value that holds a URL: bytes outside of ASCII are percent-encoded.
pub(crate) fn header_url(value: &HeaderValue) -> String {
    let encode = |byte: &u8| match byte.is_ascii() {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    value.as_bytes().iter().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_utf8_are_read_as_latin_1() {
        let latin = HeaderValue::from_bytes(b"D\xe9p\xf4t").unwrap();
        let utf8 = HeaderValue::from_bytes("Dépôt".as_bytes()).unwrap();

        assert_eq!(header_text(&latin), "Dépôt");
        assert_eq!(header_text(&utf8), "Dépôt");
        assert_eq!(header_url(&latin), "D%E9p%F4t");
        assert_eq!(header_url(&utf8), "D%C3%A9p%C3%B4t");
    }
}
