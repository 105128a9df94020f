//! Admin tokens: create, revoke, look up.
//!
//! Only SHA-256 of a secret is kept: it is 256 random bits. The time of last
//! use is coarse: it is in memory first, and written once a day at most.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use metahub_policy::Grant;

use super::{Actor, Catalog, edit::Edit};
use crate::{
    Error, Result, Secret,
    access::Role,
    names,
    records::{AdminToken, Key, User},
    secrets,
};

/// What every secret starts with, for scanners of leaked secrets.
pub(crate) const PREFIX: &str = "mh_adm_";
/// The name of the one in the admin-token file.
pub(crate) const BOOTSTRAP: &str = "bootstrap";
/// The name of those who have the worker token.
pub(crate) const WORKER: &str = "worker";
/// The action that notes uses, which is none of the audit's business.
pub(crate) const TOKEN_USE: &str = "token.use";
/// A use is written down when the one before is older than this.
const USE_IS_NOTED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Ten years. A token that is to be good for longer has no end.
const LONGEST_LIFETIME: Duration = Duration::from_secs(3_653 * 24 * 60 * 60);
const MOST_PATTERNS: usize = 100;

/// What an admin token is to be.
#[derive(Clone, Debug)]
pub(crate) struct TokenWish {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) user: Option<String>,
    pub(crate) grantable: Vec<String>,
    /// `None`: it is good until it is revoked.
    pub(crate) lifetime: Option<Duration>,
}

/// An admin token with its secret, which is not kept and not shown again.
#[derive(Clone, Debug)]
pub(crate) struct NewAdminToken {
    pub(crate) token: AdminToken,
    pub(crate) secret: Secret,
}

/// When each admin token was last used at this control plane, in seconds since
/// 1970.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<BTreeMap<String, u64>>);

impl Catalog {
    /// Creates an admin token.
    pub(crate) async fn create_admin_token(
        &self,
        actor: &Actor,
        wish: TokenWish,
    ) -> Result<NewAdminToken> {
        check(&wish)?;
        let secret = Secret::from(format!("{PREFIX}{}", secrets::generate().expose()));
        let now = unix_secs();
        let token = AdminToken {
            name: wish.name,
            role: wish.role,
            user: wish.user,
            grantable: wish.grantable,
            secret_sha256: secrets::sha256_hex(&secret),
            created_by: actor.name.clone(),
            created_unix_secs: now,
            expires_unix_secs: wish.lifetime.map(|lifetime| now + lifetime.as_secs()),
            last_used_unix_secs: None,
        };
        self.edit(actor, "token.create", |edit| {
            if let Some(user) = &token.user {
                edit.need::<User>(&Key::user(user))?;
            }
            edit.create(token.clone())
        })
        .await?;
        Ok(NewAdminToken { token, secret })
    }

    /// Revokes an admin token: it is refused by every control plane that has
    /// the change.
    pub(crate) async fn revoke_admin_token(&self, actor: &Actor, name: &str) -> Result<()> {
        self.edit(actor, "token.revoke", |edit| {
            edit.delete::<AdminToken>(Key::admin_token(name))
        })
        .await
    }

    /// The admin token with this secret, which may have ended. Takes a time
    /// that tells nothing of the secrets that there are.
    pub(crate) fn admin_token(&self, secret: &str) -> Option<AdminToken> {
        let hash = secrets::sha256_hex(&Secret::from(secret.to_owned()));
        let policy = self.policy();
        let mut found = None;
        for token in policy.all::<AdminToken>() {
            if secrets::are_equal(token.secret_sha256.expose(), hash.expose()) {
                found = Some(token.clone());
            }
        }
        found
    }

    /// Notes that an admin token was used just now.
    pub(crate) fn note_token_use(&self, name: &str) {
        self.token_uses.now().insert(name.to_owned(), unix_secs());
    }

    /// When an admin token was last used, as far as this control plane knows.
    pub(crate) fn last_use(&self, token: &AdminToken) -> Option<u64> {
        let here = self.token_uses.now().get(&token.name).copied();
        here.filter(|at| *at >= token.created_unix_secs)
            .max(token.last_used_unix_secs)
    }

    /// Writes down the uses that are a day newer than those written before.
    pub(crate) async fn keep_token_uses(&self) -> Result<()> {
        let uses = self.token_uses.now().clone();
        let actor = Actor::on_its_own("last use");
        self.edit(&actor, TOKEN_USE, |edit| {
            for (name, at) in &uses {
                note(edit, name, *at);
            }
            Ok(())
        })
        .await
    }
}

impl Uses {
    /// Whole even after a panic: each change is one call.
    fn now(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AdminToken {
    /// Whether it has ended.
    pub(crate) fn is_over(&self, now: SystemTime) -> bool {
        self.expires().is_some_and(|end| end <= now)
    }

    /// When it ends, if it does.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        let end = self.expires_unix_secs?;
        Some(UNIX_EPOCH + Duration::from_secs(end))
    }
}

/// A token that is made anew under an old name was not used by then.
fn note(edit: &mut Edit, name: &str, at: u64) {
    let Some(token) = edit.find::<AdminToken>(&Key::admin_token(name)) else {
        return;
    };
    let noted = token.last_used_unix_secs.unwrap_or(0);
    let is_news = at.saturating_sub(noted) > USE_IS_NOTED_AFTER.as_secs();
    if is_news && at >= token.created_unix_secs {
        let used = AdminToken {
            last_used_unix_secs: Some(at),
            ..token.clone()
        };
        edit.put(used);
    }
}

fn check(wish: &TokenWish) -> Result<()> {
    names::check_type("name", &wish.name)?;
    if [BOOTSTRAP, WORKER].contains(&wish.name.as_str()) {
        let reason = "names what is in a token file; choose another name";
        return Err(Error::invalid("name", reason));
    }
    match (wish.role, &wish.user) {
        (Role::Owner, None) => {
            let reason = "is missing: an owner changes what belongs to one user";
            return Err(Error::invalid("user", reason));
        }
        (Role::Admin | Role::Viewer, Some(_)) => {
            let reason = "is for the role `owner` only; leave it out";
            return Err(Error::invalid("user", reason));
        }
        _ => {}
    }
    if wish.lifetime.is_some_and(|it| it > LONGEST_LIFETIME) {
        let reason = "is more than ten years; leave it out for a token without an end";
        return Err(Error::invalid("lifetime_secs", reason));
    }
    check_grantable(wish)
}

fn check_grantable(wish: &TokenWish) -> Result<()> {
    if !wish.grantable.is_empty() && wish.role != Role::Owner {
        let reason = "is for the role `owner` only; leave it out";
        return Err(Error::invalid("grantable", reason));
    }
    if wish.grantable.len() > MOST_PATTERNS {
        return Err(Error::invalid("grantable", "has more than 100 patterns"));
    }
    for (i, pattern) in wish.grantable.iter().enumerate() {
        let grant = Grant {
            user: wish.user.clone(),
            repository: pattern.clone(),
        };
        let checked = grant.check();
        checked.map_err(|error| Error::invalid(format!("grantable[{i}]"), error.reason))?;
    }
    Ok(())
}

fn unix_secs() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
