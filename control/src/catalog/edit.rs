//! A change while it is planned: the base view with what is to differ.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Error, Result,
    access::Scope,
    policy::Policy,
    records::{AdminToken, Kept, Key, Kind, Login, Record},
    store::Change,
};

/// A planned change. Nothing of it shows until it is committed.
#[derive(Debug)]
pub(super) struct Edit {
    base: Arc<Policy>,
    /// What the actor may see and change.
    scope: Scope,
    planned: BTreeMap<Key, Option<Arc<Record>>>,
}

impl Edit {
    pub(super) fn new(base: Arc<Policy>, scope: Scope) -> Self {
        Self {
            base,
            scope,
            planned: BTreeMap::new(),
        }
    }

    /// The view that the change is planned on, without the change.
    pub(super) fn base(&self) -> &Policy {
        &self.base
    }

    /// The record under `key`, with what is planned so far.
    pub(super) fn find<T: Kept>(&self, key: &Key) -> Option<&T> {
        let record = match self.planned.get(key) {
            Some(planned) => planned.as_ref(),
            None => self.base.get(key),
        };
        record.and_then(|record| T::of(record))
    }

    /// The record under `key`, or an error that names it. One that the actor
    /// may not see is refused whether it is there or not.
    pub(super) fn need<T: Kept>(&self, key: &Key) -> Result<&T> {
        self.scope.check_seen(key)?;
        self.find(key)
            .ok_or_else(|| Error::not_found(key.kind(), key.name()))
    }

    /// Refuses a key outside the actor's scope, also if no record is under it.
    pub(super) fn check_seen(&self, key: &Key) -> Result<()> {
        self.scope.check_seen(key)
    }

    /// Adds a record, or refuses when there is one.
    pub(super) fn create<T: Kept>(&mut self, new: T) -> Result<()> {
        let record = new.into();
        let key = record.key();
        self.scope.check_change(&key)?;
        if self.find::<T>(&key).is_some() {
            return Err(Error::already_exists(key.kind(), key.name()));
        }
        self.planned.insert(key, Some(Arc::new(record)));
        Ok(())
    }

    /// Adds or replaces a record.
    pub(super) fn put(&mut self, new: impl Into<Record>) {
        let record = new.into();
        self.planned.insert(record.key(), Some(Arc::new(record)));
    }

    /// Removes a record, or refuses when there is none.
    pub(super) fn delete<T: Kept>(&mut self, key: Key) -> Result<()> {
        self.scope.check_change(&key)?;
        self.need::<T>(&key)?;
        self.remove(key);
        Ok(())
    }

    /// Removes the record under `key`, if there is one. The admin tokens of a
    /// user's owners and the user's host tokens go with it: they would be valid
    /// for the next user of that name. The logins of a type's hosts go with the
    /// type.
    pub(super) fn remove(&mut self, key: Key) {
        match key.kind() {
            Kind::User => self.remove_tokens_of(key.name()),
            Kind::MachineType => {
                if let Some((user, name)) = key.name().split_once('/') {
                    self.remove_starting_with(&Login::of_hosts(user, name));
                }
            }
            _ => {}
        }
        self.planned.insert(key, None);
    }

    fn remove_tokens_of(&mut self, user: &str) {
        let base = self.base.clone();
        let tokens = base.all::<AdminToken>();
        for token in tokens.filter(|token| token.user.as_deref() == Some(user)) {
            self.planned.insert(Key::admin_token(&token.name), None);
        }
        self.remove_starting_with(&Key::host_token(user, ""));
    }

    /// Removes all records whose keys start as `start` does.
    pub(super) fn remove_starting_with(&mut self, start: &Key) {
        let base = self.base.clone();
        for (key, _) in base.starting_with(start) {
            self.remove(key.clone());
        }
    }

    /// What really differs from the base, if the actor may change all that was
    /// planned.
    pub(super) fn changes(&self) -> Result<Vec<Change>> {
        let mut keys = self.planned.keys();
        keys.try_for_each(|key| self.scope.check_change(key))?;
        let planned = self.planned.iter();
        let changes = planned
            .map(|(key, after)| Change {
                before: self.base.get(key).cloned(),
                key: key.clone(),
                after: after.clone(),
            })
            .filter(|change| change.before != change.after);
        Ok(changes.collect())
    }
}
