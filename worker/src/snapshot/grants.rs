//! Which repositories are open to whom.

use std::collections::HashMap;

use metahub_policy::Grant;

/// All grants.
#[derive(Debug, Default)]
pub(super) struct Grants {
    everyone: Vec<Grant>,
    by_user: HashMap<Box<str>, Vec<Grant>, ahash::RandomState>,
}

impl Grants {
    /// Adds a grant.
    pub(super) fn add(&mut self, grant: Grant) {
        let place = match grant.user.as_deref() {
            Some(user) => self.by_user.entry(user.into()).or_default(),
            None => &mut self.everyone,
        };
        place.push(grant);
    }

    /// Whether one of them opens `repository` at `upstream` to `user`.
    pub(super) fn open(&self, user: &str, upstream: &str, repository: &str) -> bool {
        let own = self.by_user.get(user).into_iter().flatten();
        own.chain(&self.everyone)
            .any(|grant| grant.opens(upstream, repository))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(list: &[(Option<&str>, &str)]) -> Grants {
        let mut grants = Grants::default();
        for (user, repository) in list {
            grants.add(Grant {
                user: user.map(Into::into),
                repository: (*repository).into(),
            });
        }
        grants
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
}
