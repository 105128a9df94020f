//! The policy as one caller may see it.

use std::sync::Arc;

use super::Scope;
use crate::{policy::Policy, records::Kept};

/// What lists show to one caller.
#[derive(Debug)]
pub(crate) struct View {
    policy: Arc<Policy>,
    scope: Scope,
}

impl View {
    /// What of `policy` is in `scope`.
    pub(crate) fn new(policy: Arc<Policy>, scope: Scope) -> Self {
        Self { policy, scope }
    }

    /// All records of one kind that the caller may see, by key.
    pub(crate) fn all<'a, T: Kept + 'a>(&'a self) -> impl Iterator<Item = &'a T> {
        let records = self.policy.of_kind(T::KIND);
        let seen = records.filter(|(key, _)| self.scope.may_see(key));
        seen.filter_map(|(_, record)| T::of(record))
    }
}
