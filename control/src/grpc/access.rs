//! Serves admin tokens to admins, and tells callers who they are.

use std::sync::Arc;

use metahub_proto::admin::v1::{
    self as proto, access_service_server::AccessService as AccessServiceTrait,
};
use tonic::{Request, Response, Status};

use super::gate::{actor, caller};
use crate::{Catalog, access::View, convert, oidc::SignIn, records::AdminToken};

/// The access service of the contract.
#[derive(Debug)]
pub(super) struct AccessApi {
    catalog: Catalog,
    sign_in: Option<Arc<SignIn>>,
}

type Answer<T> = Result<Response<T>, Status>;

impl AccessApi {
    pub(super) fn new(catalog: Catalog, sign_in: Option<Arc<SignIn>>) -> Self {
        Self { catalog, sign_in }
    }

    fn shown(&self, token: &AdminToken) -> proto::AdminToken {
        convert::admin_token(token, self.catalog.last_use(token))
    }
}

#[tonic::async_trait]
impl AccessServiceTrait for AccessApi {
    async fn create_token(
        &self,
        request: Request<proto::CreateTokenRequest>,
    ) -> Answer<proto::CreateTokenResponse> {
        let actor = actor(&request)?;
        let wish = convert::token_wish_from(request.into_inner())?;
        let created = self.catalog.create_admin_token(&actor, wish).await?;
        Ok(Response::new(proto::CreateTokenResponse {
            token: Some(self.shown(&created.token)),
            secret: created.secret.expose().to_owned(),
        }))
    }

    async fn list_tokens(
        &self,
        request: Request<proto::ListTokensRequest>,
    ) -> Answer<proto::ListTokensResponse> {
        let view = View::new(self.catalog.policy(), actor(&request)?.scope);
        let tokens = view.all::<AdminToken>().map(|token| self.shown(token));
        Ok(Response::new(proto::ListTokensResponse {
            tokens: tokens.collect(),
        }))
    }

    async fn revoke_token(
        &self,
        request: Request<proto::RevokeTokenRequest>,
    ) -> Answer<proto::RevokeTokenResponse> {
        let actor = actor(&request)?;
        let name = request.into_inner().name;
        self.catalog.revoke_admin_token(&actor, &name).await?;
        Ok(Response::new(proto::RevokeTokenResponse {}))
    }

    async fn who_am_i(
        &self,
        request: Request<proto::WhoAmIRequest>,
    ) -> Answer<proto::WhoAmIResponse> {
        Ok(Response::new(convert::who(caller(&request)?)))
    }

    async fn get_auth_settings(
        &self,
        _: Request<proto::GetAuthSettingsRequest>,
    ) -> Answer<proto::GetAuthSettingsResponse> {
        let settings = self.sign_in.as_deref().map(SignIn::settings);
        let told = settings.map(convert::auth_settings);
        Ok(Response::new(told.unwrap_or_default()))
    }
}
