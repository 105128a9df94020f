//! Serves the API for host tokens, and lists, moves and removes hosts.

use metahub_proto::admin::v1::{
    self as proto, hosts_service_server::HostsService as HostsServiceTrait,
};
use tonic::{Request, Response, Status};

use super::{Parts, gate::actor};
use crate::{access::View, catalog::HostName, convert, records::HostToken};

/// The hosts service of the contract.
#[derive(Debug)]
pub(super) struct HostsApi {
    parts: Parts,
}

type Answer<T> = Result<Response<T>, Status>;

impl HostsApi {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts }
    }
}

#[tonic::async_trait]
impl HostsServiceTrait for HostsApi {
    async fn create_host_token(
        &self,
        request: Request<proto::CreateHostTokenRequest>,
    ) -> Answer<proto::CreateHostTokenResponse> {
        let Parts {
            catalog, joining, ..
        } = &self.parts;
        let pinned = joining.as_ref().map(|it| it.to_pin(catalog)).transpose()?;
        let actor = actor(&request)?;
        let wish = convert::host_token_wish_from(request.into_inner());
        let (token, secret) = catalog.create_host_token(&actor, wish).await?;
        Ok(Response::new(proto::CreateHostTokenResponse {
            token: Some(convert::host_token(&token)),
            secret: match pinned {
                Some(fingerprint) => convert::join_token_text(&secret, &fingerprint),
                None => secret.expose().to_owned(),
            },
        }))
    }

    async fn list_host_tokens(
        &self,
        request: Request<proto::ListHostTokensRequest>,
    ) -> Answer<proto::ListHostTokensResponse> {
        let scope = actor(&request)?.scope;
        let view = View::new(self.parts.catalog.policy(), scope);
        let tokens = view.all::<HostToken>().map(convert::host_token);
        Ok(Response::new(proto::ListHostTokensResponse {
            tokens: tokens.collect(),
        }))
    }

    async fn revoke_host_token(
        &self,
        request: Request<proto::RevokeHostTokenRequest>,
    ) -> Answer<proto::RevokeHostTokenResponse> {
        let actor = actor(&request)?;
        let asked = request.into_inner();
        let Parts { catalog, .. } = &self.parts;
        let revoked = catalog.revoke_host_token(&actor, &asked.user, &asked.name);
        revoked.await?;
        Ok(Response::new(proto::RevokeHostTokenResponse {}))
    }

    async fn list_hosts(
        &self,
        request: Request<proto::ListHostsRequest>,
    ) -> Answer<proto::ListHostsResponse> {
        let actor = actor(&request)?;
        let user = request.into_inner().user;
        let user = Some(user.as_str()).filter(|it| !it.is_empty());
        let hosts = self.parts.catalog.hosts(&actor, user).await?;
        Ok(Response::new(proto::ListHostsResponse {
            hosts: hosts.iter().map(convert::host).collect(),
        }))
    }

    async fn get_host(
        &self,
        request: Request<proto::GetHostRequest>,
    ) -> Answer<proto::GetHostResponse> {
        let actor = actor(&request)?;
        let proto::GetHostRequest { user, id } = request.into_inner();
        let name = HostName { user, id };
        let host = self.parts.catalog.host(&actor, &name).await?;
        Ok(Response::new(proto::GetHostResponse {
            host: Some(convert::host(&host)),
            evidence: convert::host_evidence(&host),
        }))
    }

    async fn remove_host(
        &self,
        request: Request<proto::RemoveHostRequest>,
    ) -> Answer<proto::RemoveHostResponse> {
        let actor = actor(&request)?;
        let proto::RemoveHostRequest { user, id } = request.into_inner();
        let name = HostName { user, id };
        self.parts.catalog.remove_host(&actor, &name).await?;
        Ok(Response::new(proto::RemoveHostResponse {}))
    }

    async fn move_host(
        &self,
        request: Request<proto::MoveHostRequest>,
    ) -> Answer<proto::MoveHostResponse> {
        let actor = actor(&request)?;
        let asked = request.into_inner();
        let (user, id) = (asked.user, asked.id);
        let Parts { catalog, .. } = &self.parts;
        let name = HostName { user, id };
        let login = catalog.move_host(&actor, &name, &asked.machine_type);
        Ok(Response::new(proto::MoveHostResponse {
            login: login.await?.name(),
        }))
    }
}
