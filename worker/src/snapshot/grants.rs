//! Which repositories are open to whom.

use std::{collections::BTreeMap, sync::Arc};

use metahub_policy::Grant;

use super::shards::Shards;

/// All grants. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Grants {
    everyone: Arc<ByKey>,
    by_user: Shards<Arc<str>, Arc<ByKey>>,
}

type ByKey = BTreeMap<Arc<str>, Grant>;

impl Grants {
    /// Adds the grant of the record under `key`.
    pub(super) fn add(&mut self, key: Arc<str>, grant: &Grant) {
        match grant.user.as_deref() {
            Some(user) => {
                let mut own = self.by_user.get(user).cloned().unwrap_or_default();
                Arc::make_mut(&mut own).insert(key, grant.clone());
                self.by_user.insert(user.into(), own);
            }
            None => {
                Arc::make_mut(&mut self.everyone).insert(key, grant.clone());
            }
        }
    }

    /// Takes it back.
    pub(super) fn remove(&mut self, key: &str, grant: &Grant) {
        let Some(user) = grant.user.as_deref() else {
            Arc::make_mut(&mut self.everyone).remove(key);
            return;
        };
        let Some(mut own) = self.by_user.remove(user) else {
            return;
        };
        Arc::make_mut(&mut own).remove(key);
        if !own.is_empty() {
            self.by_user.insert(user.into(), own);
        }
    }

    /// Whether one of them opens `repository` at `upstream` to `user`.
    pub(super) fn open(&self, user: &str, upstream: &str, repository: &str) -> bool {
        let own = self.by_user.get(user).into_iter();
        own.chain([&self.everyone])
            .flat_map(|grants| grants.values())
            .any(|grant| grant.opens(upstream, repository))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(list: &[(Option<&str>, &str)]) -> Grants {
        let mut grants = Grants::default();
        for (user, repository) in list {
            grants.add(repository[..].into(), &grant(*user, repository));
        }
        grants
    }

    fn grant(user: Option<&str>, repository: &str) -> Grant {
        Grant {
            user: user.map(Into::into),
            repository: repository.into(),
        }
    }

    #[test]
    fn without_a_grant_nothing_is_open() {
        assert!(!grants(&[]).open("qnib", "ghcr.io", "acme/app"));
    }

    #[test]
    fn a_grant_is_for_its_user_alone_or_for_all() {
        let grants = grants(&[(Some("qnib"), "ghcr.io/acme/*"), (None, "ghcr.io/open/*")]);

        assert!(grants.open("qnib", "ghcr.io", "acme/app"));
        assert!(!grants.open("moby", "ghcr.io", "acme/app"));
        assert!(grants.open("moby", "ghcr.io", "open/app"));
    }

    #[test]
    fn a_grant_that_is_taken_back_opens_nothing() {
        let all = grants(&[(Some("qnib"), "ghcr.io/acme/*"), (None, "ghcr.io/open/*")]);

        let mut left = all.clone();
        left.remove("ghcr.io/acme/*", &grant(Some("qnib"), "ghcr.io/acme/*"));
        left.remove("ghcr.io/open/*", &grant(None, "ghcr.io/open/*"));

        for repository in ["acme/app", "open/app"] {
            assert!(!left.open("qnib", "ghcr.io", repository));
            assert!(all.open("qnib", "ghcr.io", repository));
        }
    }
}
