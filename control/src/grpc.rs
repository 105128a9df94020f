//! Serves the catalog over gRPC: who may call what, and the limits.
//!
//! All services are behind one [`Gate`], so a service that is added cannot be
//! open by mistake.

pub(crate) mod accept;
mod access;
mod admin;
mod audit;
mod authority;
mod declaration;
mod gate;
mod host;
mod hosts;
mod join;
mod joining;
mod lease;
mod pace;
mod policy;
mod refusals;
mod session;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use metahub_proto::{
    admin::v1::{
        access_service_server::AccessServiceServer,
        admin_service_server::{AdminServiceServer, SERVICE_NAME as ADMIN_SERVICE},
        audit_service_server::{AuditServiceServer, SERVICE_NAME as AUDIT_SERVICE},
        authority_service_server::AuthorityServiceServer,
        declaration_service_server::{
            DeclarationServiceServer, SERVICE_NAME as DECLARATION_SERVICE,
        },
        hosts_service_server::HostsServiceServer,
        joining_service_server::JoiningServiceServer,
    },
    policy::v1::host_service_server::HostServiceServer,
    policy::v1::join_service_server::JoinServiceServer,
    policy::v1::policy_service_server::{PolicyServiceServer, SERVICE_NAME as POLICY_SERVICE},
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Server, server::Router};
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::HealthReporter,
};

use tower::layer::util::{Identity, Stack};
use url::Url;

use self::{
    access::AccessApi, admin::AdminApi, audit::AuditApi, authority::AuthorityApi,
    declaration::DeclarationApi, gate::actor, host::HostApi, hosts::HostsApi, join::JoinApi,
    joining::JoiningApi, policy::PolicyApi,
};
pub(crate) use self::{
    gate::{Gate, Tokens},
    join::Joining,
    pace::Pace,
    refusals::Refusals,
};
use crate::{
    Catalog,
    feed::Feed,
    fleet::{self, Fleet, Member},
    oidc::SignIn,
};

/// What a request may weigh. The largest are recipes and machine types.
const LARGEST_REQUEST: usize = 1 << 20;
/// The maximum size of a host's request, in bytes: clients without a login may
/// send one.
const LARGEST_HOST_REQUEST: usize = 128 << 10;
/// What an answer may weigh. The largest are lists.
const LARGEST_ANSWER: usize = 64 << 20;
/// How long a call may take. Streams have no limit after their first message.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const MOST_CALLS_PER_CONNECTION: u32 = 256;
/// Tokens of people with many groups are large, and may come with another.
const LARGEST_HEADERS: u32 = 96 << 10;
/// HTTP/2 pings find connections that died without a word.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What the services share.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) catalog: Catalog,
    pub(crate) feed: Feed,
    pub(crate) fleet: Fleet,
    /// `None`: no worker joins over plain text.
    pub(crate) joining: Option<Joining>,
    /// The workers' URL as hosts reach it, if it is known.
    pub(crate) registry_url: Option<Url>,
    /// Streams end themselves when it is cancelled.
    pub(crate) shutdown: CancellationToken,
    /// The tasks of open streams.
    pub(crate) streams: TaskTracker,
    /// How streams begin and end.
    pub(crate) pace: Pace,
    /// The refused peers.
    pub(crate) refusals: Refusals,
}

impl Parts {
    /// The workers of all control planes over the store.
    async fn members(&self) -> Vec<Member> {
        fleet::everyone(self.fleet.list(), &self.catalog.announced().await)
    }
}

/// All services behind their gate.
pub(crate) type GatedRouter = Router<Stack<Gate, Identity>>;

/// All services, ready to serve.
pub(crate) async fn router(parts: Parts, tokens: Tokens, sign_in: Option<SignIn>) -> GatedRouter {
    let sign_in = sign_in.map(Arc::new);
    let health = health(&parts).await;
    let policy = PolicyServiceServer::new(PolicyApi::new(parts.clone()))
        .max_decoding_message_size(LARGEST_REQUEST)
        .max_encoding_message_size(LARGEST_ANSWER);
    let audit = AuditServiceServer::new(AuditApi::new(parts.clone()))
        .max_decoding_message_size(LARGEST_REQUEST)
        .max_encoding_message_size(LARGEST_ANSWER);
    let authority = AuthorityServiceServer::new(AuthorityApi::new(parts.clone()))
        .max_decoding_message_size(LARGEST_REQUEST);
    let (catalog, own) = (parts.catalog.clone(), parts.joining.clone());
    let join = JoinServiceServer::new(JoinApi::new(catalog, own))
        .max_decoding_message_size(LARGEST_REQUEST);
    let joining = JoiningServiceServer::new(JoiningApi::new(parts.clone()))
        .max_decoding_message_size(LARGEST_REQUEST);
    let (catalog, registry) = (parts.catalog.clone(), parts.registry_url.clone());
    let host = HostServiceServer::new(HostApi::new(catalog, registry))
        .max_decoding_message_size(LARGEST_HOST_REQUEST);
    let hosts = HostsServiceServer::new(HostsApi::new(parts.clone()))
        .max_decoding_message_size(LARGEST_REQUEST)
        .max_encoding_message_size(LARGEST_ANSWER);
    let declaration = DeclarationServiceServer::new(DeclarationApi::new(parts.clone()))
        .max_decoding_message_size(LARGEST_REQUEST)
        .max_encoding_message_size(LARGEST_ANSWER);
    let access = AccessServiceServer::new(AccessApi::new(parts.catalog.clone(), sign_in.clone()));
    let gate = Gate::new(tokens, &parts, sign_in);
    let admin = AdminServiceServer::new(AdminApi::new(parts))
        .max_decoding_message_size(LARGEST_REQUEST)
        .max_encoding_message_size(LARGEST_ANSWER);
    Server::builder()
        .layer(gate)
        .timeout(CALL_TIMEOUT)
        .max_concurrent_streams(MOST_CALLS_PER_CONNECTION)
        .http2_max_header_list_size(LARGEST_HEADERS)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .add_service(health)
        .add_service(policy)
        .add_service(admin)
        .add_service(audit)
        .add_service(access)
        .add_service(declaration)
        .add_service(join)
        .add_service(joining)
        .add_service(host)
        .add_service(hosts)
        .add_service(authority)
}
/// What the health service calls the store: not serving while it does not
/// answer, although the last state is served.
const STORE: &str = "metahub.store";

/// The standard health service. It says "not serving"
/// from the moment that the control plane drains.
async fn health(parts: &Parts) -> HealthServer<impl Health> {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter
        .set_serving::<PolicyServiceServer<PolicyApi>>()
        .await;
    reporter.set_serving::<AdminServiceServer<AdminApi>>().await;
    reporter.set_serving::<AuditServiceServer<AuditApi>>().await;
    let telling = tell_of_store(reporter.clone(), parts.catalog.store_silence());
    reporter
        .set_serving::<DeclarationServiceServer<DeclarationApi>>()
        .await;
    let shutdown = parts.shutdown.clone();
    parts.streams.spawn(async move {
        shutdown.run_until_cancelled(telling).await;
        shutdown.cancelled().await;
        for service in [
            "",
            STORE,
            POLICY_SERVICE,
            ADMIN_SERVICE,
            AUDIT_SERVICE,
            DECLARATION_SERVICE,
        ] {
            reporter
                .set_service_status(service, ServingStatus::NotServing)
                .await;
        }
    });
    service
}

async fn tell_of_store(reporter: HealthReporter, mut silence: watch::Receiver<Option<Instant>>) {
    loop {
        let status = match *silence.borrow_and_update() {
            None => ServingStatus::Serving,
            Some(_) => ServingStatus::NotServing,
        };
        reporter.set_service_status(STORE, status).await;
        if silence.changed().await.is_err() {
            // It never falls silent.
            std::future::pending::<()>().await;
        }
    }
}
