//! Recipes: how any worker makes a trimmed index again.
//!
//! A worker records one before it answers with its digest for the first time.
//! The time of last use is coarse: written once a day at most, so that a
//! recipe in use causes next to no writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{Actor, Catalog};
use crate::{
    Error, Result, names,
    policy::Policy,
    records::{Kept as _, Key, Kind, Recipe},
};

/// A use is written down when the one before is older than this.
const USE_IS_NOTED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
const MOST_KEPT: usize = 1_000;
/// How many recipes one user may have for one repository, and in all. The ones
/// that were not used for longest make room.
const MOST_PER_REPOSITORY: usize = 2_000;
const MOST_PER_USER: usize = 20_000;
/// How many waiting recipes are recorded in one go.
const MOST_AT_ONCE: usize = 256;

/// Recipes that wait to be recorded. Whoever gets the turn records those of
/// the others, too: after a new release, many workers come with many of them.
#[derive(Debug, Default)]
pub(super) struct WaitingRoom(Mutex<Vec<Recipe>>);

/// A place in the waiting room. It is free again when this is dropped.
struct Seat<'a> {
    room: &'a WaitingRoom,
    own: Recipe,
}

impl Catalog {
    /// Makes a recipe durable and pushes it to all workers. Recording a known
    /// one again counts as a use.
    pub(crate) async fn record_recipe(&self, actor: &Actor, recipe: Recipe) -> Result<()> {
        check_recipe(&recipe)?;
        let recipe = Recipe {
            last_used_unix_secs: unix_secs(),
            ..recipe
        };
        let known = Key::recipe(&recipe.digest, &recipe.upstream, &recipe.repository);
        if news(self.policy().find(&known), &recipe).is_none() {
            return Ok(());
        }
        let seat = self.recipes.sit_down(recipe);
        self.edit(actor, "recipe.record", |edit| {
            let mut added = Vec::new();
            for recipe in seat.all() {
                let key = Key::recipe(&recipe.digest, &recipe.upstream, &recipe.repository);
                if let Some(news) = news(edit.find(&key), &recipe) {
                    added.push(news.clone());
                    edit.put(news);
                }
            }
            for key in beyond_quota(edit.base(), &added) {
                edit.remove(key);
            }
            Ok(())
        })
        .await
    }

    /// Looks up the recipe under `key`, which counts as a use.
    pub(crate) async fn find_recipe(&self, actor: &Actor, key: Key) -> Result<Recipe> {
        let policy = self.policy();
        let found: &Recipe = policy
            .find(&key)
            .ok_or_else(|| Error::not_found(Kind::Recipe, key.name()))?;
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
        let actor = Actor::on_its_own("retention");
        self.edit(&actor, "recipe.sweep", |edit| {
            let recipes = edit.base().of_kind(Kind::Recipe);
            let unused: Vec<Key> = recipes
                .filter(|(_, record)| {
                    Recipe::of(record).is_some_and(|it| it.last_used_unix_secs < oldest)
                })
                .map(|(key, _)| key.clone())
                .collect();
            let count = unused.len();
            unused.into_iter().for_each(|key| edit.remove(key));
            Ok(count)
        })
        .await
    }
}

impl WaitingRoom {
    fn sit_down(&self, own: Recipe) -> Seat<'_> {
        self.waiting().push(own.clone());
        Seat { room: self, own }
    }

    /// Whole even after a panic: each change is one call.
    fn waiting(&self) -> MutexGuard<'_, Vec<Recipe>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat<'_> {
    /// The own recipe, and others that wait.
    fn all(&self) -> Vec<Recipe> {
        let mut all = vec![self.own.clone()];
        all.extend(self.room.waiting().iter().take(MOST_AT_ONCE).cloned());
        all
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut waiting = self.room.waiting();
        if let Some(place) = waiting.iter().position(|recipe| *recipe == self.own) {
            waiting.swap_remove(place);
        }
    }
}

/// What recording `recipe` changes. `None`: nothing.
fn news(known: Option<&Recipe>, recipe: &Recipe) -> Option<Recipe> {
    match known {
        Some(known) if makes_the_same(known, recipe) => {
            used_again(known, recipe.last_used_unix_secs)
        }
        _ => Some(recipe.clone()),
    }
}

fn used_again(recipe: &Recipe, now: u64) -> Option<Recipe> {
    let age = now.saturating_sub(recipe.last_used_unix_secs);
    (age > USE_IS_NOTED_AFTER.as_secs()).then(|| Recipe {
        last_used_unix_secs: now,
        ..recipe.clone()
    })
}

/// Two sources may leave the same trimmed index. The newer one is the likelier
/// to be still there.
fn makes_the_same(one: &Recipe, other: &Recipe) -> bool {
    let made_of = |it: &Recipe| {
        (
            it.source_digest.clone(),
            it.kept.clone(),
            it.kept_places.clone(),
        )
    };
    made_of(one) == made_of(other)
}

/// The known recipes that make room for those that are `added`.
fn beyond_quota(policy: &Policy, added: &[Recipe]) -> Vec<Key> {
    let key = |it: &Recipe| Key::recipe(&it.digest, &it.upstream, &it.repository);
    let added_keys: BTreeSet<Key> = added.iter().map(key).collect();
    let mut gone = BTreeSet::new();
    for own_repository in [true, false] {
        let quota = if own_repository {
            MOST_PER_REPOSITORY
        } else {
            MOST_PER_USER
        };
        let group = |it: &Recipe| {
            let repository = own_repository.then(|| (it.upstream.clone(), it.repository.clone()));
            (it.user.clone(), repository)
        };
        let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for recipe in added.iter().filter(|it| !it.user.is_empty()) {
            groups.entry(group(recipe)).or_insert_with(Vec::new);
        }
        let known = policy
            .all::<Recipe>()
            .filter(|it| !added_keys.contains(&key(it)));
        for recipe in known {
            if let Some(others) = groups.get_mut(&group(recipe)) {
                others.push((recipe.last_used_unix_secs, key(recipe)));
            }
        }
        for (of, mut others) in groups {
            let new = added.iter().filter(|it| group(it) == of).count();
            others.sort_unstable();
            let excess = (others.len() + new).saturating_sub(quota);
            gone.extend(others.into_iter().take(excess).map(|(_, key)| key));
        }
    }
    gone.into_iter().collect()
}

fn check_recipe(recipe: &Recipe) -> Result<()> {
    names::check_digest("digest", &recipe.digest)?;
    names::check_upstream("upstream", &recipe.upstream)?;
    names::check_repository("repository", &recipe.repository)?;
    names::check_digest("source_digest", &recipe.source_digest)?;
    let count = recipe.kept.len() + recipe.kept_places.len();
    if count == 0 || count > MOST_KEPT {
        return Err(Error::invalid("kept", "has none or more than 1000 entries"));
    }
    if !recipe.user.is_empty() {
        names::check_user("user", &recipe.user)?;
    }
    let mut kept = recipe.kept.iter().enumerate();
    kept.try_for_each(|(i, digest)| names::check_digest(&format!("kept[{i}]"), digest))
}

fn unix_secs() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
