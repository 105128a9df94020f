//! Recipes: how any worker makes a trimmed index again.
//!
//! A worker records one before it answers with its digest for the first time.
//! The time of last use is coarse: written once a day at most, so that a
//! recipe in use causes next to no writes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Actor, Catalog};
use crate::{
    Error, Result, names,
    records::{Key, Kind, Recipe},
};

/// A use is written down when the one before is older than this.
const USE_IS_NOTED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
const MOST_KEPT: usize = 1_000;

impl Catalog {
    /// Makes a recipe durable and pushes it to all workers. Recording a known
    /// one again counts as a use.
    pub(crate) async fn record_recipe(&self, actor: &Actor, recipe: Recipe) -> Result<()> {
        check_recipe(&recipe)?;
        let now = unix_secs();
        let key = Key::recipe(&recipe.digest);
        self.edit(actor, "recipe.record", |edit| {
            let known = edit.find::<Recipe>(&key);
            if let Some(known) = known.filter(|known| makes_the_same(known, &recipe)) {
                if let Some(used) = used_again(known, now) {
                    edit.put(used);
                }
                return Ok(());
            }
            edit.put(Recipe {
                last_used_unix_secs: now,
                ..recipe.clone()
            });
            Ok(())
        })
        .await
    }

    /// Looks a recipe up by the digest of what it makes, which counts as a use.
    pub(crate) async fn find_recipe(&self, actor: &Actor, digest: &str) -> Result<Recipe> {
        let key = Key::recipe(digest);
        let policy = self.policy();
        let found: &Recipe = policy
            .find(&key)
            .ok_or_else(|| Error::not_found(Kind::Recipe, digest))?;
        let now = unix_secs();
        if used_again(found, now).is_none() {
            return Ok(found.clone());
        }
        self.edit(actor, "recipe.use", |edit| {
            let found: Recipe = edit.need::<Recipe>(&key)?.clone();
            if let Some(used) = used_again(&found, now) {
                edit.put(used);
            }
            Ok(found)
        })
        .await
    }

    /// Deletes the recipes that no one has used for `retention`. Returns how
    /// many there were.
    pub(crate) async fn sweep_recipes(&self, retention: Duration) -> Result<usize> {
        let oldest = unix_secs().saturating_sub(retention.as_secs());
        let actor = Actor("retention".into());
        self.edit(&actor, "recipe.sweep", |edit| {
            let unused = edit.base().all::<Recipe>();
            let unused: Vec<Key> = unused
                .filter(|recipe| recipe.last_used_unix_secs < oldest)
                .map(|recipe| Key::recipe(&recipe.digest))
                .collect();
            let count = unused.len();
            unused.into_iter().for_each(|key| edit.remove(key));
            Ok(count)
        })
        .await
    }
}

fn used_again(recipe: &Recipe, now: u64) -> Option<Recipe> {
    let age = now.saturating_sub(recipe.last_used_unix_secs);
    (age > USE_IS_NOTED_AFTER.as_secs()).then(|| Recipe {
        last_used_unix_secs: now,
        ..recipe.clone()
    })
}

/// One index may be in several repositories. The first to be recorded stays.
fn makes_the_same(one: &Recipe, other: &Recipe) -> bool {
    one.source_digest == other.source_digest && one.kept == other.kept
}

fn check_recipe(recipe: &Recipe) -> Result<()> {
    names::check_digest("digest", &recipe.digest)?;
    names::check_upstream("upstream", &recipe.upstream)?;
    names::check_repository("repository", &recipe.repository)?;
    names::check_digest("source_digest", &recipe.source_digest)?;
    if recipe.kept.is_empty() || recipe.kept.len() > MOST_KEPT {
        return Err(Error::invalid("kept", "has none or more than 1000 digests"));
    }
    let mut kept = recipe.kept.iter().enumerate();
    kept.try_for_each(|(i, digest)| names::check_digest(&format!("kept[{i}]"), digest))
}

fn unix_secs() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}
