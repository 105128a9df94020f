//! Serves join tokens to admins, and removes workers for them.

use metahub_proto::admin::v1::{
    self as proto, joining_service_server::JoiningService as JoiningServiceTrait,
};
use tonic::{Request, Response, Status};

use super::{
    gate::actor,
    join::{Joining, needed},
};
use crate::{Catalog, convert, records::JoinToken};

/// The joining service of the contract.
#[derive(Debug)]
pub(super) struct JoiningApi {
    catalog: Catalog,
    joining: Option<Joining>,
}

type Answer<T> = Result<Response<T>, Status>;

impl JoiningApi {
    pub(super) fn new(catalog: Catalog, joining: Option<Joining>) -> Self {
        Self { catalog, joining }
    }
}

#[tonic::async_trait]
impl JoiningServiceTrait for JoiningApi {
    async fn create_join_token(
        &self,
        request: Request<proto::CreateJoinTokenRequest>,
    ) -> Answer<proto::CreateJoinTokenResponse> {
        let fingerprint = {
            let joining = needed(self.joining.as_ref())?;
            joining.served.borrow().fingerprint.clone()
        };
        let actor = actor(&request)?;
        let wish = convert::join_token_wish_from(request.into_inner());
        let (token, secret) = self.catalog.create_join_token(&actor, wish).await?;
        Ok(Response::new(proto::CreateJoinTokenResponse {
            token: Some(convert::join_token(&token)),
            secret: convert::join_token_text(&secret, &fingerprint),
        }))
    }

    async fn list_join_tokens(
        &self,
        _: Request<proto::ListJoinTokensRequest>,
    ) -> Answer<proto::ListJoinTokensResponse> {
        let policy = self.catalog.policy();
        let tokens = policy.all::<JoinToken>().map(convert::join_token);
        Ok(Response::new(proto::ListJoinTokensResponse {
            tokens: tokens.collect(),
        }))
    }

    async fn revoke_join_token(
        &self,
        request: Request<proto::RevokeJoinTokenRequest>,
    ) -> Answer<proto::RevokeJoinTokenResponse> {
        let actor = actor(&request)?;
        let name = request.into_inner().name;
        self.catalog.revoke_join_token(&actor, &name).await?;
        Ok(Response::new(proto::RevokeJoinTokenResponse {}))
    }

    async fn remove_worker(
        &self,
        request: Request<proto::RemoveWorkerRequest>,
    ) -> Answer<proto::RemoveWorkerResponse> {
        let actor = actor(&request)?;
        let id = request.into_inner().id;
        let takes_foreign = self.joining.as_ref().is_some_and(|it| it.takes_foreign);
        let removed = self.catalog.remove_worker(&actor, &id, takes_foreign);
        removed.await?;
        Ok(Response::new(proto::RemoveWorkerResponse {}))
    }
}
