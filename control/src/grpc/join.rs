//! Gives workers their certificates.

use std::{sync::Arc, time::Duration};

use metahub_proto::policy::v1::{
    self as proto, join_service_server::JoinService as JoinServiceTrait,
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tracing::warn;

use super::gate::{actor, certificate};
use crate::{
    Catalog, Error, Pattern, Result, Secret,
    access::Scope,
    catalog::Actor,
    convert, names, secrets,
    tls::{Authority, Issued, Served, WorkerCertificate},
};

/// What it takes to let workers join. There is none without TLS.
#[derive(Clone, Debug)]
pub(crate) struct Joining {
    pub(crate) served: watch::Receiver<Arc<Served>>,
    /// How long a worker's certificate is good.
    pub(crate) lifetime: Duration,
    /// Whether certificates of the operator's own PKI are taken, too.
    pub(crate) takes_foreign: bool,
    /// Which workers those may name. None: any.
    pub(crate) foreign_names: Vec<Pattern>,
}

/// The join service of the contract.
#[derive(Debug)]
pub(super) struct JoinApi {
    catalog: Catalog,
    joining: Option<Joining>,
}

impl JoinApi {
    pub(super) fn new(catalog: Catalog, joining: Option<Joining>) -> Self {
        Self { catalog, joining }
    }
}

/// What joins need, or why there are none.
pub(super) fn needed(joining: Option<&Joining>) -> Result<&Joining> {
    joining.ok_or_else(|| Error::Blocked {
        reason: "this control plane serves plain text, over which no worker joins: start it with \
                 --tls, or give workers the worker token"
            .into(),
    })
}

impl Joining {
    fn issue(&self, request: &[u8], worker: &WorkerCertificate) -> Result<Issued> {
        let authority = self.authority();
        authority.worker_certificate(request, worker, self.lifetime)
    }

    /// Whether a certificate that the handshake has verified may be used here.
    pub(super) fn takes(&self, shown: &WorkerCertificate) -> bool {
        let mut names = self.foreign_names.iter();
        let is_taken = shown.membership.is_some()
            || self.foreign_names.is_empty()
            || names.any(|name| name.star(&shown.id).is_some());
        if !is_taken {
            let id = &shown.id;
            warn!(worker.id = %id, "refused the certificate of `{id}`: no --tls-client-name fits");
        }
        is_taken
    }

    /// What workers' certificates are from now on.
    pub(super) fn authority(&self) -> Arc<Authority> {
        self.served.borrow().authority.clone()
    }

    /// What a new join token names: the newest authority, also while the port
    /// has no certificate of it yet, or what the operator's own is rooted in.
    pub(super) fn to_pin(&self, catalog: &Catalog) -> Result<String> {
        let served = self.served.borrow().clone();
        match served.fingerprint == served.authority.fingerprint() {
            true => Ok(catalog.trusted()?.fingerprint),
            false => Ok(served.fingerprint.clone()),
        }
    }

    fn answer(&self, issued: &Issued) -> proto::IssuedCertificate {
        convert::issued_certificate(issued, self.lifetime)
    }
}

#[tonic::async_trait]
impl JoinServiceTrait for JoinApi {
    async fn join(
        &self,
        request: Request<proto::JoinRequest>,
    ) -> Result<Response<proto::JoinResponse>, Status> {
        let joining = needed(self.joining.as_ref())?;
        let from = request.remote_addr().map(|peer| peer.ip());
        let request = request.into_inner();
        names::check_text("worker_id", &request.worker_id)?;
        let worker = WorkerCertificate {
            membership: Some(format!("{:016x}", secrets::random_u64())),
            id: request.worker_id,
        };
        let secret = Secret::from(request.secret);
        self.catalog.check_join_secret(&secret)?;
        let issued = joining.issue(&request.signing_request, &worker)?;
        let actor = Actor {
            name: worker.id.clone(),
            from,
            scope: Scope::All,
        };
        let admitted = self.catalog.admit_worker(&actor, &secret, &worker, &issued);
        admitted.await?;
        Ok(Response::new(proto::JoinResponse {
            issued: Some(joining.answer(&issued)),
        }))
    }

    async fn renew(
        &self,
        request: Request<proto::RenewRequest>,
    ) -> Result<Response<proto::RenewResponse>, Status> {
        let joining = needed(self.joining.as_ref())?;
        let actor = actor(&request)?;
        let worker = certificate(&request).filter(|shown| shown.membership.is_some());
        let worker = worker.ok_or_else(|| Error::Blocked {
            reason: "only a worker that has joined renews its certificate here".into(),
        })?;
        let request = request.into_inner();
        let issued = joining.issue(&request.signing_request, &worker)?;
        let noted = self.catalog.note_renewal(&actor, &worker, &issued);
        noted.await?;
        Ok(Response::new(proto::RenewResponse {
            issued: Some(joining.answer(&issued)),
        }))
    }
}
