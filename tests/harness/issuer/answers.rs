//! What an issuer answers over HTTP.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{CLIENT_ID, State, keys::SigningKey, lock};

type Form = BTreeMap<String, String>;

/// What an endpoint answers: a value, or an error code.
type Answer = Result<Value, &'static str>;

/// Serves until it is told to stop.
pub(super) async fn serve(
    listener: TcpListener,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
) {
    while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
        tokio::spawn(connection(stream, state.clone(), stop.clone()));
    }
}

async fn connection(stream: TcpStream, state: Arc<Mutex<State>>, stop: CancellationToken) {
    let service = service_fn(|request| answer(request, &state));
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A client that leaves is no failure.
    let _ = stop.run_until_cancelled(serving).await;
}

async fn answer(
    request: Request<Incoming>,
    state: &Mutex<State>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let bearer = request.headers().get("authorization");
    let bearer = bearer.and_then(|it| it.to_str().ok()?.strip_prefix("Bearer "));
    let bearer = bearer.unwrap_or_default().to_owned();
    let body = request.into_body().collect().await;
    let body = body.map(|it| it.to_bytes()).unwrap_or_default();
    let form = reqwest::Url::parse(&format!("form:?{}", String::from_utf8_lossy(&body)));
    let form: Form = form.map_or_else(
        |_| Form::new(),
        |url| url.query_pairs().into_owned().collect(),
    );
    let trouble = lock(state).trouble.filter(|_| path == "/token");
    let answer = match path.as_str() {
        "/userinfo" => lock(state).access_tokens.get(&bearer).cloned().map(Ok),
        // In trouble, it uses up no refresh token.
        _ if trouble.is_some() => None,
        _ => lock(state).answer(&path, &form),
    };
    let (status, value) = match answer {
        _ if let Some(status) = trouble => {
            let status = StatusCode::from_u16(status).expect("a status");
            (status, json!({"error": "temporarily_unavailable"}))
        }
        Some(Ok(value)) => (StatusCode::OK, value),
        Some(Err(code)) => (StatusCode::BAD_REQUEST, json!({"error": code})),
        None => (StatusCode::NOT_FOUND, json!({})),
    };
    let mut response = Response::new(Full::new(value.to_string().into()));
    *response.status_mut() = status;
    let json = "application/json".parse().expect("a header's value");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

impl State {
    fn answer(&mut self, path: &str, form: &Form) -> Option<Answer> {
        *self.counts.entry(path.into()).or_default() += 1;
        let is_known = form.get("client_id").is_some_and(|id| id == CLIENT_ID);
        match path {
            "/.well-known/openid-configuration" => Some(Ok(self.discovery())),
            "/keys" => {
                let keys: Vec<Value> = self.keys.iter().map(SigningKey::public).collect();
                Some(Ok(json!({"keys": keys})))
            }
            "/device" | "/token" | "/revoke" if !is_known => Some(Err("invalid_client")),
            "/device" => Some(Ok(self.begin())),
            "/token" => Some(self.token(form)),
            "/revoke" => {
                let token = form.get("token").map_or("", String::as_str);
                self.refresh_tokens.remove(token);
                Some(Ok(json!({})))
            }
            _ => None,
        }
    }

    fn discovery(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.url);
        json!({
            "issuer": self.url,
            "jwks_uri": at("/keys"),
            "token_endpoint": at("/token"),
            "userinfo_endpoint": at("/userinfo"),
            "device_authorization_endpoint": at("/device"),
            "revocation_endpoint": at("/revoke"),
        })
    }

    fn begin(&mut self) -> Value {
        let code = format!("device-{}", self.number());
        self.begun.insert(code.clone(), None);
        json!({
            "device_code": code,
            "user_code": "ABCD-EFGH",
            "verification_uri": format!("{}/confirm", self.url),
            "expires_in": 60,
            "interval": 1,
        })
    }

    fn token(&mut self, form: &Form) -> Answer {
        let text = |name: &str| form.get(name).map_or("", String::as_str);
        match text("grant_type") {
            "urn:ietf:params:oauth:grant-type:device_code" => {
                let code = text("device_code");
                match self.begun.get(code).cloned() {
                    None => Err("expired_token"),
                    Some(None) => Err("authorization_pending"),
                    Some(Some(person)) if person.is_null() => Err("access_denied"),
                    Some(Some(person)) => {
                        self.begun.remove(code);
                        Ok(self.tokens(person))
                    }
                }
            }
            "refresh_token" => {
                let person = self.refresh_tokens.remove(text("refresh_token"));
                person
                    .map(|person| self.tokens(person))
                    .ok_or("invalid_grant")
            }
            _ => Err("unsupported_grant_type"),
        }
    }

    /// A refresh token is good once.
    fn tokens(&mut self, person: Value) -> Value {
        let refresh_token = format!("refresh-{}", self.number());
        let access_token = format!("access-{}", self.number());
        let mut named = person.clone();
        if self.groups_apart {
            named["groups"] = Value::Null;
        }
        let id_token = self.id_token(&named);
        let told = self.claims(&person);
        self.access_tokens.insert(access_token.clone(), told);
        self.refresh_tokens.insert(refresh_token.clone(), person);
        json!({
            "id_token": id_token,
            "access_token": access_token,
            "refresh_token": refresh_token,
            "token_type": "Bearer",
            "expires_in": self.lifetime.as_secs(),
        })
    }
}
