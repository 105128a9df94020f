//! Who is let in: anyone, an account, or whoever has a token for it
//! (distribution's "Token Authentication Specification").

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use serde_json::json;

use super::{
    Account,
    answer::{Answer, error, ok, with_body},
};

/// The answer to one who is not let in, or who asks for a token.
pub(super) fn answer(account: Option<&Account>, request: &Request<Bytes>) -> Option<Answer> {
    let account = account?;
    let given = request.headers().get(AUTHORIZATION);
    let is_account = account.passwords.iter().any(|password| {
        let pair = STANDARD.encode(format!("{}:{password}", account.username));
        given.is_some_and(|given| given.as_bytes() == format!("Basic {pair}").as_bytes())
    });
    let (is_let_in, challenge) = match &account.realm {
        None => (is_account, "Basic realm=\"upstream\"".to_owned()),
        Some(realm) if request.uri().path() == "/token" && is_account => {
            let scopes = scopes(request);
            return Some(token(realm, &scopes));
        }
        Some(realm) => {
            let challenge = format!("Bearer realm=\"{realm}\",service=\"upstream\"");
            (may(request), challenge)
        }
    };
    (!is_let_in).then(|| {
        let mut answer = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        answer
    })
}

/// A token that says what it is for, for all to read.
fn token(realm: &str, scopes: &[String]) -> Answer {
    let token = STANDARD.encode(scopes.join(" "));
    let body = json!({"token": token, "issuer": realm}).to_string();
    with_body(ok("application/json"), body.into())
}

/// What a token is asked for.
fn scopes(request: &Request<Bytes>) -> Vec<String> {
    let query = request.uri().query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes())
        .filter(|(key, _)| key == "scope")
        .map(|(_, scope)| scope.into_owned())
        .collect()
}

/// Whether the token that is shown is for what is asked.
fn may(request: &Request<Bytes>) -> bool {
    let given = request.headers().get(AUTHORIZATION);
    let token = given.and_then(|given| given.to_str().ok()?.strip_prefix("Bearer "));
    let scopes = token.and_then(|token| String::from_utf8(STANDARD.decode(token).ok()?).ok());
    let path = request.uri().path();
    let reads = request.method().is_safe();
    scopes.is_some_and(|scopes| {
        scopes.split(' ').any(|scope| {
            let mut parts = scope.split(':').skip(1);
            let (repository, actions) = (parts.next(), parts.next().unwrap_or_default());
            let inside = |repository: &str| path.starts_with(&format!("/v2/{repository}/"));
            repository.is_some_and(inside) && (reads || actions.contains("push"))
        })
    })
}
