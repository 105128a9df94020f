//! Serves the policy to workers.

use metahub_proto::policy::v1::{
    self as proto, policy_service_server::PolicyService as PolicyServiceTrait,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Parts, actor, gate::certificate, session};
use crate::convert;

/// The policy service of the contract.
#[derive(Debug)]
pub(super) struct PolicyApi {
    parts: Parts,
}

impl PolicyApi {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts }
    }
}

#[tonic::async_trait]
impl PolicyServiceTrait for PolicyApi {
    type FollowStream = ReceiverStream<Result<proto::ControlMessage, Status>>;

    async fn follow(
        &self,
        request: Request<Streaming<proto::WorkerMessage>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let peer = request.remote_addr();
        let caller = session::Follower {
            peer,
            certificate: certificate(&request),
        };
        let outgoing = session::open(self.parts.clone(), caller, request.into_inner());
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn record_recipe(
        &self,
        request: Request<proto::RecordRecipeRequest>,
    ) -> Result<Response<proto::RecordRecipeResponse>, Status> {
        let actor = actor(&request)?;
        let recipe = convert::recipe_from(request.into_inner().recipe)?;
        self.parts.catalog.record_recipe(&actor, recipe).await?;
        Ok(Response::new(proto::RecordRecipeResponse {}))
    }

    async fn find_recipe(
        &self,
        request: Request<proto::FindRecipeRequest>,
    ) -> Result<Response<proto::FindRecipeResponse>, Status> {
        let actor = actor(&request)?;
        let key = convert::recipe_key_from(&request.into_inner());
        let recipe = self.parts.catalog.find_recipe(&actor, key).await?;
        Ok(Response::new(proto::FindRecipeResponse {
            recipe: Some(convert::recipe(&recipe)),
        }))
    }
}
