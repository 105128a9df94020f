//! The policy as a worker uses it: checked once, then only looked up.
//!
//! A [`Snapshot`] never changes. A request takes one and uses it to its end.

use std::{collections::BTreeMap, fmt, sync::Arc};

use metahub_policy::{Host, InvalidMachineType, Rule};

use self::{grants::Grants, ground::Ground, shards::Shards};
use crate::{auth::Open, purge::Purge, upstream::Upstream};

mod build;
mod current;
mod grants;
mod ground;
mod kinds;
mod records;
#[cfg(test)]
pub(crate) mod sample;
mod shards;
mod signing_key;

pub(crate) use self::{
    build::{InvalidPolicy, build, update},
    current::{Current, Outdated},
    records::{
        Delta, Edit, Entries, Entry, KindName, LoginRecord, PinRecord, Recipe, RecipeName, Record,
        Records, TypeRecord,
    },
    signing_key::SigningKey,
};

/// A place in the history of the policy. Only comparable when the epochs are
/// equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Revision {
    /// Names one history.
    pub(crate) epoch: u64,
    /// Grows by one with each change.
    pub(crate) number: u64,
}

/// One complete, checked view of the policy. A clone is cheap: a change of it
/// copies only what lies near what changes.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    revision: Revision,
    ground: Arc<Ground>,
    logins: Shards<Arc<str>, Arc<StoredLogin>>,
    kinds: Shards<KindName, Arc<Kind>>,
    /// Also those for machine types that do not exist.
    pins: Shards<KindName, Arc<Pins>>,
    grants: Grants,
    recipes: Shards<RecipeName, Arc<Recipe>>,
    recipe_count: usize,
    /// What the recipes take of memory, in bytes, about.
    recipe_bytes: usize,
    purges: Arc<Purges>,
}

/// Purges by their keys.
pub(crate) type Purges = BTreeMap<Arc<str>, Arc<Purge>>;

/// A login, which may be without its machine type.
#[derive(Debug)]
struct StoredLogin {
    secret_sha256: [u8; 32],
    allow_selectors: bool,
    kind: KindName,
    open: Open,
}

/// What a host that logs in is, and is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Login<'a> {
    /// SHA-256 of its secret.
    pub(crate) secret_sha256: &'a [u8; 32],
    /// Whether the host may add features after `+` in the name.
    pub(crate) allow_selectors: bool,
    /// Its machine type.
    pub(crate) kind: &'a Arc<Kind>,
    /// Its open requests, whichever snapshot they were let in by.
    pub(crate) open: &'a Open,
}

/// A machine type, ready to select for.
#[derive(Debug)]
pub(crate) struct Kind {
    /// `<user>-<type>`, for people to read.
    pub(crate) name: String,
    /// The user that owns it.
    pub(crate) user: Arc<str>,
    /// What selection needs of it.
    pub(crate) host: Arc<Host>,
    pins: Arc<Pins>,
    /// Equal for two machine types only if every selection for them is equal:
    /// made of the type, its pins, all rules and all CPU names.
    pub(crate) fingerprint: Fingerprint,
    /// The part of it that all machine types share.
    shared: Fingerprint,
}

/// Pins of one machine type, by their keys.
type Pins = BTreeMap<Arc<str>, PinRecord>;

/// Stands for all the policy that a selection depends on.
pub(crate) type Fingerprint = [u8; 32];

impl Snapshot {
    /// Its place in the history.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether anyone can log in.
    pub(crate) fn has_logins(&self) -> bool {
        self.logins.iter().next().is_some()
    }

    /// The login of that name. One whose machine type is gone is none.
    pub(crate) fn login(&self, name: &str) -> Option<Login<'_>> {
        let stored = self.logins.get(name)?;
        Some(Login {
            secret_sha256: &stored.secret_sha256,
            allow_selectors: stored.allow_selectors,
            kind: self.kinds.get(&stored.kind)?,
            open: &stored.open,
        })
    }

    /// The upstream that clients call `name`.
    pub(crate) fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.ground.upstreams.get(name)
    }

    /// The upstream that `host` is another name of.
    pub(crate) fn upstream_reached_by(&self, host: &str) -> Option<&Arc<Upstream>> {
        self.ground.upstreams_by_host.get(host)
    }

    /// The upstream of names without a host.
    pub(crate) fn default_upstream(&self) -> Option<&Arc<Upstream>> {
        self.ground.default_upstream.as_ref()
    }

    /// Whether `user` may pull `repository` from `upstream`.
    pub(crate) fn may_pull(&self, user: &str, upstream: &Upstream, repository: &str) -> bool {
        !upstream.is_restricted() || self.grants.open(user, &upstream.name, repository)
    }

    /// What client tokens are signed with.
    pub(crate) fn signing_keys(&self) -> &[Arc<SigningKey>] {
        &self.ground.signing_keys
    }

    /// How to make a trimmed index again.
    pub(crate) fn recipe(&self, name: &RecipeName) -> Option<&Arc<Recipe>> {
        self.recipes.get(name)
    }

    /// How many recipes there are, and what they take of memory, in bytes, about.
    pub(crate) fn recipe_sizes(&self) -> (usize, usize) {
        (self.recipe_count, self.recipe_bytes)
    }

    /// Cached content to drop.
    pub(crate) fn purges(&self) -> &Arc<Purges> {
        &self.purges
    }

    /// `kind` with the features of an ad-hoc selector, checked as strictly as
    /// those of a machine type.
    pub(crate) fn with_selectors(
        &self,
        kind: &Kind,
        selectors: &[&str],
    ) -> Result<Kind, InvalidMachineType> {
        kinds::with_selectors(kind, selectors, &self.ground.cpus)
    }

    /// The rules about `tag` of `repository` at `upstream`.
    pub(crate) fn rules(&self, upstream: &str, repository: &str, tag: Option<&str>) -> Vec<&Rule> {
        let rules = self.ground.rules.iter();
        rules
            .filter(|rule| rule.applies_to(upstream, repository, tag))
            .collect()
    }
}

impl Kind {
    /// How many pins it has.
    pub(crate) fn pin_count(&self) -> usize {
        self.pins.len()
    }

    /// The digest pinned for `repository` at `upstream`, if one is.
    pub(crate) fn pin(&self, upstream: &str, repository: &str) -> Option<&str> {
        self.pins
            .values()
            .find(|pin| pin.scope.applies_to(upstream, repository, None))
            .map(|pin| pin.digest.as_str())
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}/{}", self.epoch, self.number)
    }
}

#[cfg(test)]
mod tests;
