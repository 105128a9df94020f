//! The token endpoint: what a client gets for its password where the challenge
//! is `Bearer` (docker's token authentication).
//!
//! `GET` with Basic, as docker, podman and skopeo do, or containerd's `POST`
//! with a form. A token is for the repositories in the scope that is asked for;
//! which of them the client may pull is decided at each request. No refresh
//! tokens are given, `offline_token` or not: engines would keep them in place of
//! the secret, and be logged out when the keys rotate.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
    request::Parts,
};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::json;
use tokio::time::timeout;

use super::{JSON, Notes, Registry, body::Body, error::Error};
use crate::{
    auth::{Granted, Password, Scope},
    metrics::Endpoint,
    snapshot::Snapshot,
};

/// Where it is.
pub(super) const PATH: &str = "/token";
/// The largest form that is read, in bytes.
const MAX_FORM: usize = 8 << 10;
/// How long a form may take.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

/// The form of a request. Kept in its extensions.
#[derive(Clone, Debug)]
struct Form(Bytes);

/// What there is to know of a request: its head, and its form if it is one for
/// a token. No other body is read.
pub(crate) async fn read(request: Request<Incoming>) -> Parts {
    let (mut head, body) = request.into_parts();
    if head.method == Method::POST && head.uri.path() == PATH {
        let form = timeout(FORM_TIMEOUT, Limited::new(body, MAX_FORM).collect()).await;
        if let Ok(Ok(form)) = form {
            head.extensions.insert(Form(form.to_bytes()));
        }
    }
    head
}

impl Registry {
    /// Answers with a token.
    pub(super) fn token(
        &self,
        snapshot: &Snapshot,
        request: &Parts,
        notes: &mut Notes,
    ) -> Result<Response<Body>, Error> {
        notes.endpoint = Endpoint::Token;
        let (password, asked) = match request.method {
            Method::GET => (None, request.uri.query().unwrap_or_default().as_bytes()),
            Method::POST => {
                let form = request.extensions.get::<Form>().ok_or(Error::Form)?;
                (Some(password(form)?), &*form.0)
            }
            _ => return Err(Error::Write),
        };
        let granted = self.gate.grant(snapshot, request, password, scope(asked))?;
        notes.login = Some(granted.name.clone());
        let body = Bytes::from(answer(&granted).to_string());
        let length = HeaderValue::from(body.len());
        let mut response = Response::new(Body::Whole(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(CONTENT_LENGTH, length);
        Ok(response)
    }
}

/// Both names of the token: docker's and OAuth's.
fn answer(granted: &Granted) -> serde_json::Value {
    let issued = UNIX_EPOCH + Duration::from_secs(granted.issued);
    json!({
        "token": granted.token,
        "access_token": granted.token,
        "expires_in": granted.lifetime_secs,
        "issued_at": humantime::format_rfc3339_seconds(issued).to_string(),
    })
}

/// What a query or a form asks for.
fn scope(asked: &[u8]) -> Scope {
    let fields = url::form_urlencoded::parse(asked);
    let scopes = fields.filter(|(key, _)| key == "scope");
    let scopes: Vec<_> = scopes.map(|(_, scope)| scope).collect();
    Scope::asked(scopes.iter().map(|scope| &**scope))
}

fn password(form: &Form) -> Result<Password, Error> {
    let field = |name| {
        let mut fields = url::form_urlencoded::parse(&form.0);
        let value = fields.find(|(key, _)| key == name).map(|(_, value)| value);
        value.unwrap_or_default().into_owned()
    };
    if field("grant_type") != "password" {
        return Err(Error::Form);
    }
    Ok(Password {
        name: field("username"),
        secret: field("password"),
    })
}
