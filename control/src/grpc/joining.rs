//! Serves join tokens to admins, and removes workers for them.

use metahub_proto::admin::v1::{
    self as proto, joining_service_server::JoiningService as JoiningServiceTrait,
};
use tonic::{Request, Response, Status};

use super::{Parts, gate::actor, join::needed};
use crate::{Error, convert, records::JoinToken};

/// The joining service of the contract.
#[derive(Debug)]
pub(super) struct JoiningApi {
    parts: Parts,
}

type Answer<T> = Result<Response<T>, Status>;

impl JoiningApi {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// Why the worker `id` is not removed, which has never joined.
    async fn not_joined(&self, id: String) -> Error {
        let members = self.parts.members().await;
        match members.iter().any(|it| it.identity.id == id) {
            true => Error::Blocked {
                reason: by_worker_token(&id),
            },
            false => Error::NotFound {
                kind: "worker",
                name: id,
            },
        }
    }
}

fn by_worker_token(id: &str) -> String {
    format!(
        "the worker `{id}` has not joined: it follows by the worker token, which lets in whoever \
         has it, so it cannot be removed alone. Give the workers that are to stay join tokens \
         (`metahubctl worker token create`) or a new worker token, write the new one to the \
         control plane's file `worker-token`, and start the control plane again"
    )
}

#[tonic::async_trait]
impl JoiningServiceTrait for JoiningApi {
    async fn create_join_token(
        &self,
        request: Request<proto::CreateJoinTokenRequest>,
    ) -> Answer<proto::CreateJoinTokenResponse> {
        let joining = needed(self.parts.joining.as_ref())?;
        let fingerprint = joining.to_pin(&self.parts.catalog)?;
        let actor = actor(&request)?;
        let wish = convert::join_token_wish_from(request.into_inner());
        let (token, secret) = self.parts.catalog.create_join_token(&actor, wish).await?;
        Ok(Response::new(proto::CreateJoinTokenResponse {
            token: Some(convert::join_token(&token)),
            secret: convert::join_token_text(&secret, &fingerprint),
        }))
    }

    async fn list_join_tokens(
        &self,
        _: Request<proto::ListJoinTokensRequest>,
    ) -> Answer<proto::ListJoinTokensResponse> {
        let policy = self.parts.catalog.policy();
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
        self.parts.catalog.revoke_join_token(&actor, &name).await?;
        Ok(Response::new(proto::RevokeJoinTokenResponse {}))
    }

    async fn remove_worker(
        &self,
        request: Request<proto::RemoveWorkerRequest>,
    ) -> Answer<proto::RemoveWorkerResponse> {
        let actor = actor(&request)?;
        let id = request.into_inner().id;
        let Parts {
            catalog, joining, ..
        } = &self.parts;
        let takes_foreign = joining.as_ref().is_some_and(|it| it.takes_foreign);
        let was_lost = self.parts.fleet.forget(&id);
        if !catalog.remove_worker(&actor, &id, takes_foreign).await? && !was_lost {
            return Err(self.not_joined(id).await.into());
        }
        Ok(Response::new(proto::RemoveWorkerResponse {}))
    }
}
