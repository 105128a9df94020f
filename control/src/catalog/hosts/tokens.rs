//! Host tokens: many hosts of a user join by one token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::choice::Terms;
use crate::{
    Error, Result, Secret,
    catalog::{Actor, Catalog},
    names,
    policy::Policy,
    records::{HostToken, Key, MachineType, User},
    secrets,
};

/// The prefix of every secret, for scanners of leaked secrets.
pub(crate) const PREFIX: &str = "mh_host_";
/// The retention of an expired token, during which errors name the expiry.
const KEPT_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
const MOST_USES: u32 = 1_000_000;
const MOST_TYPES: usize = 256;

/// A request for a new host token.
#[derive(Clone, Debug)]
pub(crate) struct HostTokenWish {
    pub(crate) user: String,
    /// The token's name. Empty: a random name.
    pub(crate) name: String,
    /// The types that the token's hosts may get. Empty: all types of the user.
    pub(crate) types: Vec<String>,
    /// True if a type is created for a host that no type of the user suits.
    pub(crate) auto: bool,
    /// The number of hosts that may join. `None`: unlimited.
    pub(crate) uses: Option<u32>,
    /// The time until the token expires. `None`: it does not expire.
    pub(crate) lifetime: Option<Duration>,
}

impl Catalog {
    /// Creates a host token and returns it with its secret. The secret itself
    /// is not stored.
    pub(crate) async fn create_host_token(
        &self,
        actor: &Actor,
        wish: HostTokenWish,
    ) -> Result<(HostToken, Secret)> {
        let name = match wish.name.is_empty() {
            true => format!("{:08x}", secrets::random_u64() >> 32),
            false => wish.name,
        };
        names::check_type("name", &name)?;
        if wish.uses.is_some_and(|uses| uses > MOST_USES) {
            return Err(Error::invalid("uses", "is more than a million"));
        }
        if wish.types.len() > MOST_TYPES {
            return Err(Error::invalid("types", "are more than 256"));
        }
        if wish.auto && !wish.types.is_empty() {
            let reason = "is for tokens of all types: leave `types` out";
            return Err(Error::invalid("auto", reason));
        }
        let secret = Secret::from(format!("{PREFIX}{}", secrets::generate().expose()));
        let token = HostToken {
            user: wish.user,
            name,
            secret_sha256: secrets::sha256_hex(&secret),
            types: wish.types,
            auto: wish.auto,
            uses_left: wish.uses,
            expires_unix_secs: wish.lifetime.map(|lifetime| now() + lifetime.as_secs()),
            created_by: actor.name.clone(),
        };
        self.edit(actor, "host-token.create", |edit| {
            edit.need::<User>(&Key::user(&token.user))?;
            for name in &token.types {
                edit.need::<MachineType>(&Key::machine_type(&token.user, name))?;
            }
            edit.create(token.clone())
        })
        .await?;
        Ok((token, secret))
    }

    /// Revokes a host token. Hosts that joined by it keep their logins.
    pub(crate) async fn revoke_host_token(
        &self,
        actor: &Actor,
        user: &str,
        name: &str,
    ) -> Result<()> {
        self.edit(actor, "host-token.revoke", |edit| {
            edit.delete::<HostToken>(Key::host_token(user, name))
        })
        .await
    }

    /// Deletes host tokens some time after their expiry.
    pub(crate) async fn sweep_host_tokens(&self) -> Result<()> {
        let oldest = now().saturating_sub(KEPT_AFTER.as_secs());
        let actor = Actor::on_its_own("retention");
        self.edit(&actor, "host-token.sweep", |edit| {
            let tokens = edit.base().all::<HostToken>();
            let over = tokens.filter(|it| it.expires_unix_secs.is_some_and(|end| end < oldest));
            let over: Vec<Key> = over.map(|it| Key::host_token(&it.user, &it.name)).collect();
            over.into_iter().for_each(|key| edit.remove(key));
            Ok(())
        })
        .await
    }
}

impl HostToken {
    /// The types that the token's hosts may get.
    pub(super) fn terms(&self) -> Terms<'_> {
        Terms {
            user: &self.user,
            types: &self.types,
            auto: self.auto,
        }
    }
}

/// The token with this hash, if it is valid. The run time does not depend on
/// the secrets.
pub(super) fn good_token(policy: &Policy, hash: &Secret) -> Result<HostToken> {
    let mut found = None;
    for token in policy.all::<HostToken>() {
        if secrets::are_equal(token.secret_sha256.expose(), hash.expose()) {
            found = Some(token.clone());
        }
    }
    let token = found.ok_or_else(|| refused("there is no such host token, or it was revoked"))?;
    if token.expires_unix_secs.is_some_and(|end| end <= now()) {
        let name = &token.name;
        return Err(refused(&format!("the host token `{name}` has expired")));
    }
    Ok(token)
}

/// The token with one use less. Fails if no use is left.
pub(super) fn spent(token: &HostToken) -> Result<HostToken> {
    let uses_left = match token.uses_left {
        Some(0) => {
            let name = &token.name;
            return Err(refused(&format!("the host token `{name}` is used up")));
        }
        Some(uses) => Some(uses - 1),
        None => None,
    };
    Ok(HostToken {
        uses_left,
        ..token.clone()
    })
}

fn refused(reason: &str) -> Error {
    Error::Unauthenticated {
        reason: format!("{reason}: make another with `metahubctl host token create`"),
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
