//! Serves the catalog over gRPC: who may call what, and the limits.
//!
//! Each service is wrapped whole in the check of its token, so a call that is
//! added to the contract cannot be open by mistake.

mod admin;
mod policy;
mod session;

use std::{sync::Arc, time::Duration};

use metahub_proto::{
    admin::v1::admin_service_server::{AdminServiceServer, SERVICE_NAME as ADMIN_SERVICE},
    policy::v1::policy_service_server::{PolicyServiceServer, SERVICE_NAME as POLICY_SERVICE},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    Request, Status,
    metadata::MetadataMap,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Server, server::Router},
};
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
};

use self::{admin::AdminApi, policy::PolicyApi};
use crate::{Catalog, Error, Secret, catalog::Actor, feed::Feed, fleet::Fleet, secrets};

/// What a request may weigh. The largest are recipes and machine types.
const LARGEST_REQUEST: usize = 1 << 20;
/// What an answer may weigh. The largest are lists.
const LARGEST_ANSWER: usize = 64 << 20;
/// How long a call may take. Streams have no limit after their first message.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const MOST_CALLS_PER_CONNECTION: u32 = 256;
const LARGEST_HEADERS: u32 = 16 << 10;
/// HTTP/2 pings find connections that died without a word.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What the services share.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) catalog: Catalog,
    pub(crate) feed: Feed,
    pub(crate) fleet: Fleet,
    /// Streams end themselves when it is cancelled.
    pub(crate) shutdown: CancellationToken,
    /// The tasks of open streams.
    pub(crate) streams: TaskTracker,
}

/// The tokens that callers must present.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) admin: Secret,
    pub(crate) worker: Secret,
}

/// All services, ready to serve.
pub(crate) async fn router(parts: Parts, tokens: Tokens) -> Router {
    let health = health(&parts).await;
    let policy = PolicyServiceServer::new(PolicyApi::new(parts.clone()))
        .max_decoding_message_size(LARGEST_REQUEST)
        .max_encoding_message_size(LARGEST_ANSWER);
    let admin = AdminServiceServer::new(AdminApi::new(parts))
        .max_decoding_message_size(LARGEST_REQUEST)
        .max_encoding_message_size(LARGEST_ANSWER);
    Server::builder()
        .timeout(CALL_TIMEOUT)
        .max_concurrent_streams(MOST_CALLS_PER_CONNECTION)
        .http2_max_header_list_size(LARGEST_HEADERS)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .add_service(health)
        .add_service(InterceptedService::new(
            policy,
            Guard::worker(tokens.worker),
        ))
        .add_service(InterceptedService::new(admin, Guard::admin(tokens.admin)))
}

/// The standard health service. It needs no token, and says "not serving"
/// from the moment that the control plane drains.
async fn health(parts: &Parts) -> HealthServer<impl Health> {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter
        .set_serving::<PolicyServiceServer<PolicyApi>>()
        .await;
    reporter.set_serving::<AdminServiceServer<AdminApi>>().await;
    let shutdown = parts.shutdown.clone();
    parts.streams.spawn(async move {
        shutdown.cancelled().await;
        for service in ["", POLICY_SERVICE, ADMIN_SERVICE] {
            reporter
                .set_service_status(service, ServingStatus::NotServing)
                .await;
        }
    });
    service
}

/// Lets a call pass that presents the right token, and notes who makes it.
#[derive(Clone, Debug)]
struct Guard {
    token: Arc<Secret>,
    role: &'static str,
    refusal: &'static str,
}

impl Guard {
    fn admin(token: Secret) -> Self {
        Self {
            token: Arc::new(token),
            role: "admin",
            refusal: "wants the admin token: give the contents of the control plane's admin-token file",
        }
    }

    fn worker(token: Secret) -> Self {
        Self {
            token: Arc::new(token),
            role: "worker",
            refusal: "wants the worker token: give the contents of the control plane's worker-token file",
        }
    }

    fn admits(&self, metadata: &MetadataMap) -> bool {
        let presented = metadata
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        presented.is_some_and(|token| secrets::are_equal(token, self.token.expose()))
    }
}

impl Interceptor for Guard {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if !self.admits(request.metadata()) {
            let reason = self.refusal;
            return Err(Error::Unauthenticated { reason }.into());
        }
        let actor = match request.remote_addr() {
            Some(peer) => format!("{} at {}", self.role, peer.ip()),
            None => self.role.to_owned(),
        };
        request.extensions_mut().insert(Actor(actor));
        Ok(request)
    }
}

/// Who makes a call, as its guard noted.
fn actor<T>(request: &Request<T>) -> Result<Actor, Error> {
    let noted = request.extensions().get::<Actor>().cloned();
    noted.ok_or(Error::Unauthenticated {
        reason: "no one has checked the token of this call",
    })
}
