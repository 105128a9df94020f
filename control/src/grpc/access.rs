//! The gate before all services: it finds out who calls, and lets pass what
//! the table of rules allows. Services find the [`Actor`] in the request.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Extensions, HeaderMap, Request, Response, header::AUTHORIZATION};
use tonic::{Status, body::Body, transport::server::TcpConnectInfo};
use tower::{Layer, Service};

use crate::{
    Error, Result, Secret,
    access::{Caller, Role, Rule, Standing, rule_of},
    catalog::Actor,
    secrets,
};

/// The tokens that are kept in files.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) admin: Secret,
    pub(crate) worker: Secret,
}

/// Checks each call. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    tokens: Arc<Tokens>,
}

/// Services behind a [`Gate`].
#[derive(Clone, Debug)]
pub(crate) struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl Gate {
    pub(super) fn new(tokens: Tokens) -> Self {
        Self {
            tokens: Arc::new(tokens),
        }
    }

    /// Who makes the call, if it may be made. `None`: anyone may make it.
    fn admit<B>(&self, request: &Request<B>) -> Result<Option<Actor>> {
        let call = request.uri().path();
        let rule = rule_of(call).ok_or_else(|| Error::Forbidden {
            reason: format!("no rule says who may call {call}"),
        })?;
        if rule == Rule::Public {
            return Ok(None);
        }
        let caller = self.identify(request.headers(), rule)?;
        rule.check(call, &caller)?;
        Ok(Some(Actor {
            name: caller.name,
            from: peer(request.extensions()).map(|peer| peer.ip()),
        }))
    }

    /// Finds out who calls. What else than a token can show that, such as the
    /// verified client certificate of a worker, is looked at here.
    fn identify(&self, headers: &HeaderMap, wanted: Rule) -> Result<Caller> {
        let caller = bearer(headers).and_then(|token| self.holder(token));
        caller.ok_or_else(|| Error::Unauthenticated {
            reason: match wanted {
                Rule::Worker => WORKER_TOKEN_WANTED,
                Rule::Public | Rule::Roles(_) => ADMIN_TOKEN_WANTED,
            },
        })
    }

    /// Whose token it is. `None`: no one's.
    fn holder(&self, token: &str) -> Option<Caller> {
        let caller = |name: &str, standing| Caller {
            name: name.to_owned(),
            standing,
        };
        let is_admin = secrets::are_equal(token, self.tokens.admin.expose());
        let is_worker = secrets::are_equal(token, self.tokens.worker.expose());
        if is_admin {
            Some(caller("bootstrap", Standing::Role(Role::Admin)))
        } else if is_worker {
            Some(caller("worker", Standing::Worker))
        } else {
            None
        }
    }
}

const ADMIN_TOKEN_WANTED: &str =
    "wants the admin token: give the contents of the control plane's admin-token file";
const WORKER_TOKEN_WANTED: &str =
    "wants the worker token: give the contents of the control plane's worker-token file";

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        let gate = self.clone();
        Gated { gate, inner }
    }
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The one that is ready is used up; its clone may have to wait.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let gate = self.gate.clone();
        Box::pin(async move {
            match gate.admit(&request) {
                Ok(actor) => {
                    if let Some(actor) = actor {
                        request.extensions_mut().insert(actor);
                    }
                    inner.call(request).await
                }
                Err(error) => Ok(Status::from(error).into_http()),
            }
        })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ")
}

/// Where a call comes from.
fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<TcpConnectInfo>()?.remote_addr()
}

/// Who makes a call, as the gate noted.
pub(super) fn actor<T>(request: &tonic::Request<T>) -> Result<Actor> {
    let noted = request.extensions().get::<Actor>().cloned();
    noted.ok_or(Error::Unauthenticated {
        reason: "no one has checked who makes this call",
    })
}
