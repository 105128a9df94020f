//! The calls of the access service, with records in and out.

use std::time::{Duration, SystemTime};

use metahub_proto::admin::v1 as pb;

use super::Client;
use crate::{
    failure::Failure,
    record::{AdminToken, Role, Who, from_unix},
};

type Result<T> = std::result::Result<T, Failure>;

/// How people sign in at a control plane.
#[derive(Clone, Debug)]
pub(crate) struct AuthSettings {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) scopes: Vec<String>,
}

impl Client {
    /// Creates an admin token that is good for `lifetime`, or for good when
    /// that is zero. Returns its secret, too.
    pub(crate) async fn create_token(
        &self,
        token: AdminToken,
        lifetime: Duration,
    ) -> Result<(AdminToken, String)> {
        let request = pb::CreateTokenRequest {
            name: token.name,
            role: to_role(token.role).into(),
            user: token.user,
            grantable: token.grantable,
            // A part of a second is not nothing: nothing is without an end.
            lifetime_secs: lifetime.as_secs() + u64::from(lifetime.subsec_nanos() > 0),
        };
        let answer = self.answer(self.access.clone().create_token(request).await)?;
        Ok((
            admin_token(answer.token.unwrap_or_default())?,
            answer.secret,
        ))
    }

    pub(crate) async fn tokens(&self) -> Result<Vec<AdminToken>> {
        let request = pb::ListTokensRequest {};
        let answer = self.answer(self.access.clone().list_tokens(request).await)?;
        answer.tokens.into_iter().map(admin_token).collect()
    }

    pub(crate) async fn revoke_token(&self, name: &str) -> Result<()> {
        let request = pb::RevokeTokenRequest { name: name.into() };
        self.answer(self.access.clone().revoke_token(request).await)?;
        Ok(())
    }

    /// Who the control plane takes the caller for.
    pub(crate) async fn who_am_i(&self) -> Result<Who> {
        let request = pb::WhoAmIRequest {};
        let answer = self.answer(self.access.clone().who_am_i(request).await)?;
        Ok(Who {
            role: role(answer.role())?,
            name: answer.name,
            user: answer.user,
            grantable: answer.grantable,
            expires: time(answer.expires_unix_secs),
        })
    }

    /// How people sign in. `None`: they cannot.
    pub(crate) async fn auth_settings(&self) -> Result<Option<AuthSettings>> {
        let request = pb::GetAuthSettingsRequest {};
        let answer = self.answer(self.access.clone().get_auth_settings(request).await)?;
        let settings = AuthSettings {
            issuer: answer.issuer,
            client_id: answer.client_id,
            scopes: answer.scopes,
        };
        Ok(Some(settings).filter(|it| !it.issuer.is_empty()))
    }
}

fn admin_token(wire: pb::AdminToken) -> Result<AdminToken> {
    Ok(AdminToken {
        role: role(wire.role())?,
        name: wire.name,
        user: wire.user,
        grantable: wire.grantable,
        created_by: wire.created_by,
        created: time(wire.created_unix_secs),
        expires: time(wire.expires_unix_secs),
        last_used: time(wire.last_used_unix_secs),
    })
}

fn role(wire: pb::Role) -> Result<Role> {
    match wire {
        pb::Role::Admin => Ok(Role::Admin),
        pb::Role::Owner => Ok(Role::Owner),
        pb::Role::Viewer => Ok(Role::Viewer),
        pb::Role::Unspecified => Err(Failure::Failed("it names a role that is not known".into())),
    }
}

fn to_role(role: Role) -> pb::Role {
    match role {
        Role::Admin => pb::Role::Admin,
        Role::Owner => pb::Role::Owner,
        Role::Viewer => pb::Role::Viewer,
    }
}

fn time(unix_secs: u64) -> Option<SystemTime> {
    (unix_secs > 0).then(|| from_unix(unix_secs))
}
