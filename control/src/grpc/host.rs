//! Serves joins and reports of hosts. Each request carries a host token or a
//! login's secret.

use std::net::IpAddr;

use metahub_proto::policy::v1::{
    self as proto, host_service_server::HostService as HostServiceTrait,
};
use tonic::{Request, Response, Status};
use url::Url;

use crate::{
    Catalog, Error, Result, Secret,
    access::Scope,
    catalog::{Actor, HostWish},
    convert,
    records::Login,
};

/// The host service of the contract.
#[derive(Debug)]
pub(super) struct HostApi {
    catalog: Catalog,
    /// The workers' address as hosts reach it, if it is known.
    registry: Option<Url>,
}

impl HostApi {
    pub(super) fn new(catalog: Catalog, registry: Option<Url>) -> Self {
        Self { catalog, registry }
    }

    fn registry(&self) -> String {
        self.registry
            .as_ref()
            .map(Url::to_string)
            .unwrap_or_default()
    }
}

fn machine_type(login: &Login) -> String {
    format!("{}/{}", login.user, login.machine_type)
}

fn actor(name: &str, from: Option<IpAddr>) -> Actor {
    Actor {
        name: name.to_owned(),
        from,
        scope: Scope::All,
    }
}

fn facts(facts: Option<proto::HostFacts>) -> Result<proto::HostFacts> {
    facts.ok_or_else(|| Error::invalid("facts", "are missing"))
}

#[tonic::async_trait]
impl HostServiceTrait for HostApi {
    async fn join(
        &self,
        request: Request<proto::JoinHostRequest>,
    ) -> Result<Response<proto::JoinHostResponse>, Status> {
        let from = request.remote_addr().map(|peer| peer.ip());
        let asked = request.into_inner();
        let facts = convert::host_facts_from(facts(asked.facts)?)?;
        let wish = HostWish {
            token: Secret::from(asked.token),
            machine: asked.machine,
            secret_sha256: convert::hex(&asked.secret_sha256),
            facts,
            machine_type: Some(asked.machine_type).filter(|it| !it.is_empty()),
            replaces: asked.replace,
            id: asked.host_id,
        };
        let actor = actor(&wish.id, from);
        let joined = self.catalog.join_host(&actor, &wish).await?;
        Ok(Response::new(proto::JoinHostResponse {
            login: joined.login.name(),
            machine_type: machine_type(&joined.login),
            registry: self.registry(),
            why: joined.why,
        }))
    }

    async fn report(
        &self,
        request: Request<proto::ReportHostRequest>,
    ) -> Result<Response<proto::ReportHostResponse>, Status> {
        let from = request.remote_addr().map(|peer| peer.ip());
        let asked = request.into_inner();
        let facts = convert::host_facts_from(facts(asked.facts)?)?;
        let secret = Secret::from(asked.secret);
        let reported = self.catalog.report_host(from, &asked.login, &secret, facts);
        let reported = reported.await?;
        Ok(Response::new(proto::ReportHostResponse {
            login: reported.login.name(),
            machine_type: machine_type(&reported.login),
            registry: self.registry(),
            drift: reported.drift,
        }))
    }
}
