//! The gate before all services: it finds out who calls, and lets pass what
//! the table of rules allows. Services find the [`Actor`] in the request.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use http::{Extensions, HeaderMap, Request, Response, header::AUTHORIZATION};
use tonic::{
    Code, Status,
    body::Body,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use tower::{Layer, Service};

use super::{
    Parts,
    join::Joining,
    lease::leased,
    refusals::{Refusals, is_refusal},
};
use crate::{
    Catalog, Error, Result,
    access::{Caller, Ownership, Role, Rule, Standing, rule_of},
    catalog::{
        Actor,
        admin_tokens::{BOOTSTRAP, PREFIX, WORKER},
    },
    oidc::SignIn,
    secrets,
    tls::WorkerCertificate,
    tokens::TokenFile,
};

/// The tokens that are kept in files.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) admin: TokenFile,
    pub(crate) worker: TokenFile,
    /// When the files were read.
    pub(crate) looked: Instant,
}

/// How often the files of tokens are read.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Checks each call. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    tokens: Arc<Mutex<Tokens>>,
    catalog: Catalog,
    sign_in: Option<Arc<SignIn>>,
    /// Whose certificates workers show. `None`: in plain text there are none.
    joining: Option<Joining>,
    refusals: Refusals,
}

/// Services behind a [`Gate`].
#[derive(Clone, Debug)]
pub(crate) struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl Gate {
    pub(super) fn new(tokens: Tokens, parts: &Parts, sign_in: Option<Arc<SignIn>>) -> Self {
        Self {
            tokens: Arc::new(Mutex::new(tokens)),
            catalog: parts.catalog.clone(),
            sign_in,
            joining: parts.joining.clone(),
            refusals: parts.refusals.clone(),
        }
    }

    /// Lets the request pass, and tells the services who calls.
    async fn check(&self, request: &mut Request<Body>) -> Result<Option<Caller>> {
        let shown = self.certificate(request.extensions())?;
        let (call, headers) = (request.uri().path(), request.headers());
        let caller = self.admit(call, headers, shown.as_ref()).await?;
        if let Some(caller) = &caller {
            // A caller with a token is who that says.
            let shown = shown.filter(|shown| shown.id == caller.name);
            note(request.extensions_mut(), caller.clone());
            request.extensions_mut().insert(shown);
        }
        Ok(caller)
    }

    /// Who makes the call, if it may be made. `None`: anyone may make it.
    async fn admit(
        &self,
        call: &str,
        headers: &HeaderMap,
        shown: Option<&WorkerCertificate>,
    ) -> Result<Option<Caller>> {
        let rule = rule_of(call).ok_or_else(|| Error::Forbidden {
            reason: format!("no rule says who may call {call}"),
        })?;
        if rule == Rule::Public {
            return Ok(None);
        }
        let caller = self.identify(headers, shown, rule).await?;
        rule.check(call, &caller)?;
        Ok(Some(caller))
    }

    /// Finds out who calls: a token says it or, without one, the certificate
    /// that was shown.
    async fn identify(
        &self,
        headers: &HeaderMap,
        shown: Option<&WorkerCertificate>,
        wanted: Rule,
    ) -> Result<Caller> {
        let nothing = || Error::Unauthenticated {
            reason: match wanted {
                Rule::Worker => WORKER_TOKEN_WANTED.into(),
                Rule::Public | Rule::Roles(_) => ADMIN_TOKEN_WANTED.into(),
            },
        };
        let Some(token) = bearer(headers) else {
            return self.holder_of_certificate(shown.ok_or_else(nothing)?);
        };
        if let Some(caller) = self.holder_of_file(token) {
            return Ok(caller);
        }
        if token.starts_with(PREFIX) {
            return self.holder_of_record(token);
        }
        match &self.sign_in {
            Some(sign_in) if SignIn::may_be_for(token) => {
                let access_token = headers.get(ACCESS_TOKEN);
                let access_token = access_token.and_then(|it| it.to_str().ok());
                sign_in.caller(token, access_token).await
            }
            _ if wanted == Rule::Worker => Err(nothing()),
            _ => Err(Error::Unauthenticated {
                reason: NO_SUCH_TOKEN.into(),
            }),
        }
    }

    /// What a caller's certificate says, which its handshake has verified.
    /// `None`: it has shown none that is taken.
    fn certificate(&self, extensions: &Extensions) -> Result<Option<WorkerCertificate>> {
        let connection = extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
        let chain = connection.and_then(TlsConnectInfo::peer_certs);
        let first = chain.as_ref().and_then(|chain| chain.first());
        let shown = first.zip(self.joining.as_ref());
        let Some((first, joining)) = shown else {
            return Ok(None);
        };
        let shown = WorkerCertificate::read(first, &joining.authority())?;
        Ok(Some(shown).filter(|shown| joining.takes(shown)))
    }

    fn holder_of_certificate(&self, shown: &WorkerCertificate) -> Result<Caller> {
        shown.check(&self.catalog.policy())?;
        Ok(Caller {
            name: shown.id.clone(),
            standing: Standing::Worker,
            expires: None,
        })
    }

    /// Whose token it is of those in files. `None`: it is another.
    fn holder_of_file(&self, token: &str) -> Option<Caller> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.looked.elapsed() >= LOOK_INTERVAL {
            tokens.looked = Instant::now();
            tokens.admin.renew();
            tokens.worker.renew();
        }
        let is_admin = secrets::are_equal(token, tokens.admin.token.expose());
        let is_worker = secrets::are_equal(token, tokens.worker.token.expose());
        let (name, standing) = match (is_admin, is_worker) {
            (true, _) => (BOOTSTRAP, Standing::Admin),
            (false, true) => (WORKER, Standing::Worker),
            (false, false) => return None,
        };
        Some(Caller {
            name: name.into(),
            standing,
            expires: None,
        })
    }

    fn holder_of_record(&self, secret: &str) -> Result<Caller> {
        let refused = |reason| Error::Unauthenticated { reason };
        let token = self.catalog.admin_token(secret);
        let token = token.ok_or_else(|| refused(REVOKED.into()))?;
        if token.is_over(SystemTime::now()) {
            let name = &token.name;
            let end = token.expires().map(humantime::format_rfc3339_seconds);
            let end = end.map(|it| it.to_string()).unwrap_or_default();
            return Err(refused(format!(
                "the admin token `{name}` ended at {end}: {ASK_FOR_ANOTHER}"
            )));
        }
        self.catalog.note_token_use(&token.name);
        let expires = token.expires();
        let standing = match (token.role, token.user) {
            (Role::Admin, _) => Standing::Admin,
            (Role::Owner, Some(user)) => Standing::Owner(Ownership {
                user,
                grantable: token.grantable,
            }),
            (Role::Viewer, _) | (Role::Owner, None) => Standing::Viewer,
        };
        Ok(Caller {
            name: token.name,
            standing,
            expires,
        })
    }
}

/// Where the access token of one who signed in comes.
const ACCESS_TOKEN: &str = "metahub-access-token";
const ADMIN_TOKEN_WANTED: &str = "wants an admin token: give one from `metahubctl token create`, \
     or the contents of the control plane's admin-token file";
const WORKER_TOKEN_WANTED: &str = "wants a worker's certificate or the worker token: give a join \
     token from `metahubctl worker token create`, or the contents of the control plane's \
     worker-token file";
const NO_SUCH_TOKEN: &str = "it knows no such token";
const REVOKED: &str = "there is no such admin token, or it was revoked: ask an admin for another \
     (`metahubctl token create`)";
const ASK_FOR_ANOTHER: &str = "ask an admin for another (`metahubctl token create`)";

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
            let from = peer(request.extensions()).map(|peer| peer.ip());
            let call = request.uri().path().to_owned();
            match gate.check(&mut request).await {
                // One who joins is asked for a secret behind the gate.
                Ok(None) => {
                    let answer = inner.call(request).await?;
                    let status = Status::from_header_map(answer.headers());
                    if let Some(status) = status.filter(|it| it.code() == Code::Unauthenticated) {
                        gate.refusals.note(from, &call, status.message()).await;
                    }
                    Ok(answer)
                }
                Ok(Some(caller)) => {
                    let answer = inner.call(request).await?;
                    Ok(answer.map(|body| leased(body, &caller, &gate.catalog)))
                }
                Err(error) => {
                    if is_refusal(&error) {
                        gate.refusals.note(from, &call, &error.to_string()).await;
                    }
                    Ok(Status::from(error).into_http())
                }
            }
        })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ")
}

/// Tells the services who calls.
fn note(extensions: &mut Extensions, caller: Caller) {
    extensions.insert(Actor {
        name: caller.name.clone(),
        from: peer(extensions).map(|peer| peer.ip()),
        scope: caller.standing.scope(),
    });
    extensions.insert(caller);
}

/// Where a call comes from.
fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    let plain = extensions.get::<TcpConnectInfo>();
    let secured = extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
    plain
        .or(secured.map(TlsConnectInfo::get_ref))?
        .remote_addr()
}

/// Who makes a change, as the gate noted.
pub(super) fn actor<T>(request: &tonic::Request<T>) -> Result<Actor> {
    noted(request)
}

/// Who makes a call, as the gate noted.
pub(super) fn caller<T>(request: &tonic::Request<T>) -> Result<Caller> {
    noted(request)
}

/// The certificate that shows who makes a call. `None`: a token does.
pub(super) fn certificate<T>(request: &tonic::Request<T>) -> Option<WorkerCertificate> {
    noted::<T, Option<WorkerCertificate>>(request)
        .ok()
        .flatten()
}

fn noted<T, N: Clone + Send + Sync + 'static>(request: &tonic::Request<T>) -> Result<N> {
    let noted = request.extensions().get::<N>().cloned();
    noted.ok_or_else(|| Error::Unauthenticated {
        reason: "no one has checked who makes this call".into(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use metahub_proto::CALLS;

    use super::*;
    use crate::access::RULES;

    #[test]
    fn every_call_of_the_contract_has_a_rule() {
        for call in CALLS {
            assert!(rule_of(call).is_some(), "add a rule for {call}");
        }
    }

    #[test]
    fn every_rule_is_for_a_call_of_the_contract_and_the_only_one() {
        let ours = RULES.iter().filter(|(path, _)| !path.starts_with("/grpc."));
        let paths: Vec<&str> = ours.map(|(path, _)| *path).collect();

        let distinct: BTreeSet<&str> = paths.iter().copied().collect();
        let unknown: Vec<&&str> = distinct.iter().filter(|it| !CALLS.contains(it)).collect();

        assert_eq!(unknown, Vec::<&&str>::new());
        assert_eq!(distinct.len(), paths.len());
    }

    #[test]
    fn a_call_that_is_not_in_the_contract_is_no_ones() {
        assert_eq!(rule_of("/metahub.admin.v1.AdminService/DropAll"), None);
    }
}
