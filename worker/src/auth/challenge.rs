//! How a client is asked who it is: `WWW-Authenticate` (RFC 9110, 11.6.1).
//!
//! One challenge only, since clients mix two up.

use http::header::HeaderValue;

use super::{Refused, token};

/// The Basic challenge. The realm is fixed: nothing that a client sends is in it.
pub(crate) const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"MetaHub\"");

/// Sends a client to the token endpoint at `origin`, for example
/// `https://registry.example.com`, for a token for `scope`.
pub(crate) fn bearer(origin: &str, scope: Option<&str>, refused: &Refused) -> HeaderValue {
    let mut text = format!(
        r#"Bearer realm="{origin}/token",service="{}""#,
        token::AUDIENCE
    );
    if let Some(scope) = scope {
        text += &format!(r#",scope="{scope}""#);
    }
    if let Some(error) = error(refused) {
        text += &format!(r#",error="{error}""#);
    }
    HeaderValue::try_from(text).unwrap_or(BASIC)
}

/// What was wrong with the token that was presented (RFC 6750, 3.1).
fn error(refused: &Refused) -> Option<&'static str> {
    match refused {
        Refused::Token => Some("invalid_token"),
        Refused::Scope => Some("insufficient_scope"),
        _ => None,
    }
}
