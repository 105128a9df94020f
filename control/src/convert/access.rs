//! Who administers MetaHub.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metahub_proto::admin::v1 as proto;

use crate::{
    Error, OidcSettings, Result,
    access::{Caller, Ownership, Role, Standing},
    catalog::TokenWish,
    records::AdminToken,
};

/// Without the secret. `last_use` is the newest that is known.
pub(crate) fn admin_token(it: &AdminToken, last_use: Option<u64>) -> proto::AdminToken {
    proto::AdminToken {
        name: it.name.clone(),
        role: role(it.role).into(),
        user: it.user.clone().unwrap_or_default(),
        grantable: it.grantable.clone(),
        created_by: it.created_by.clone(),
        created_unix_secs: it.created_unix_secs,
        expires_unix_secs: it.expires_unix_secs.unwrap_or_default(),
        last_used_unix_secs: last_use.unwrap_or_default(),
    }
}

pub(crate) fn token_wish_from(it: proto::CreateTokenRequest) -> Result<TokenWish> {
    let role = match it.role() {
        proto::Role::Admin => Role::Admin,
        proto::Role::Owner => Role::Owner,
        proto::Role::Viewer => Role::Viewer,
        proto::Role::Unspecified => {
            let reason = "is missing: give admin, owner or viewer";
            return Err(Error::invalid("role", reason));
        }
    };
    Ok(TokenWish {
        name: it.name,
        role,
        user: Some(it.user).filter(|user| !user.is_empty()),
        grantable: it.grantable,
        lifetime: Some(Duration::from_secs(it.lifetime_secs)).filter(|it| !it.is_zero()),
    })
}

pub(crate) fn who(it: Caller) -> proto::WhoAmIResponse {
    let role = it.standing.role().map_or(proto::Role::Unspecified, role);
    let own = match it.standing {
        Standing::Owner(own) => own,
        Standing::Worker | Standing::Admin | Standing::Viewer => Ownership::default(),
    };
    proto::WhoAmIResponse {
        name: it.name,
        role: role.into(),
        user: own.user,
        grantable: own.grantable,
        expires_unix_secs: it.expires.map(unix_secs).unwrap_or_default(),
    }
}

pub(crate) fn auth_settings(it: &OidcSettings) -> proto::GetAuthSettingsResponse {
    proto::GetAuthSettingsResponse {
        issuer: it.issuer().to_owned(),
        client_id: it.client_id().to_owned(),
        scopes: it.scopes().map(str::to_owned).collect(),
    }
}

fn role(it: Role) -> proto::Role {
    match it {
        Role::Admin => proto::Role::Admin,
        Role::Owner => proto::Role::Owner,
        Role::Viewer => proto::Role::Viewer,
    }
}

fn unix_secs(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
