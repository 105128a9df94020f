//! Shows the authority to admins, and has another one take its place.

use metahub_proto::admin::v1::{
    self as proto, authority_service_server::AuthorityService as AuthorityServiceTrait,
};
use tonic::{Request, Response, Status};

use super::{Parts, gate::actor};
use crate::{Catalog, Error, Result, convert};

/// The authority service of the contract.
#[derive(Debug)]
pub(super) struct AuthorityApi {
    parts: Parts,
}

type Answer<T> = Result<Response<T>, Status>;

impl AuthorityApi {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// The catalog, where there is an authority.
    fn catalog(&self) -> Result<&Catalog> {
        match self.parts.joining {
            Some(_) => Ok(&self.parts.catalog),
            None => Err(no_tls()),
        }
    }

    fn trusted(&self) -> Result<Option<proto::Authority>> {
        Ok(Some(convert::authority(self.catalog()?.trusted()?)))
    }
}

#[tonic::async_trait]
impl AuthorityServiceTrait for AuthorityApi {
    async fn get_authority(
        &self,
        _: Request<proto::GetAuthorityRequest>,
    ) -> Answer<proto::GetAuthorityResponse> {
        Ok(Response::new(proto::GetAuthorityResponse {
            authority: self.trusted()?,
        }))
    }

    async fn rotate_authority(
        &self,
        request: Request<proto::RotateAuthorityRequest>,
    ) -> Answer<proto::RotateAuthorityResponse> {
        let actor = actor(&request)?;
        self.catalog()?.rotate_authority(&actor).await?;
        Ok(Response::new(proto::RotateAuthorityResponse {
            authority: self.trusted()?,
        }))
    }

    async fn retire_authority(
        &self,
        request: Request<proto::RetireAuthorityRequest>,
    ) -> Answer<proto::RetireAuthorityResponse> {
        let actor = actor(&request)?;
        let force = request.into_inner().force;
        self.catalog()?.retire_authority(&actor, force).await?;
        Ok(Response::new(proto::RetireAuthorityResponse {
            authority: self.trusted()?,
        }))
    }
}

fn no_tls() -> Error {
    Error::Blocked {
        reason: "this control plane serves no TLS, and therefore has no authority: start \
                 metahub-control with --tls to have one made, which then vouches for it and for \
                 workers that join"
            .into(),
    }
}
