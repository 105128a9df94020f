//! What a token is for: the repositories that a client has asked for when it
//! got it (docker's token scope documentation).

use std::mem::size_of;

use serde::{Deserialize, Serialize};

/// The most repositories of one token. Clients ask for one or two.
const MAX_REPOSITORIES: usize = 8;
/// The longest name that is looked at, in bytes: a host and a repository.
const MAX_NAME: usize = 511;
const REPOSITORY: &str = "repository";
const PULL: &str = "pull";

/// Repositories, by the names that clients have for them. None: only that
/// somebody is logged in can be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope(Vec<Access>);

/// One of them, as it is written in tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Access {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

impl Scope {
    /// What these scopes ask for, each one or several with blanks between them,
    /// for example `repository:qnib/bench:pull`. Only pulls are given.
    pub(crate) fn asked<'a>(scopes: impl Iterator<Item = &'a str>) -> Self {
        let scopes = scopes.flat_map(str::split_ascii_whitespace);
        let names = scopes.filter_map(pulled).take(MAX_REPOSITORIES);
        Self(names.map(Access::to_pull).collect())
    }

    /// Whether the repository that clients call `name` is in it.
    pub(crate) fn has(&self, name: &str) -> bool {
        let mut all = self.0.iter();
        all.any(|it| {
            it.kind == REPOSITORY && it.name == name && it.actions.iter().any(|it| it == PULL)
        })
    }

    /// What it takes of memory, about, in bytes.
    pub(super) fn weight(&self) -> usize {
        let all = self.0.iter();
        all.map(|it| size_of::<Access>() + 64 + it.name.len()).sum()
    }
}

impl Access {
    fn to_pull(name: &str) -> Self {
        Self {
            kind: REPOSITORY.into(),
            name: name.into(),
            actions: vec![PULL.into()],
        }
    }
}

/// The repository that a scope asks to pull from. Its name may have a port.
fn pulled(scope: &str) -> Option<&str> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    // Docker's plugins have a class: `repository(plugin)`.
    let kind = kind.split_once('(').map_or(kind, |(kind, _)| kind);
    let pulls = actions.split(',').any(|it| matches!(it, PULL | "*"));
    (kind == REPOSITORY && pulls && name.len() <= MAX_NAME).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(asked: &[&str]) -> Scope {
        Scope::asked(asked.iter().copied())
    }

    #[test]
    fn a_scope_has_the_repositories_that_were_asked_for_and_no_others() {
        let scope = scope(&[
            "repository:qnib/bench:pull",
            "repository:here:5000/app:push,pull repository(plugin):b:*",
        ]);

        for name in ["qnib/bench", "here:5000/app", "b"] {
            assert!(scope.has(name), "{name}");
        }
        for name in ["qnib", "qnib/bench/x", "bench", "app", ""] {
            assert!(!scope.has(name), "{name}");
        }
    }

    #[test]
    fn what_asks_for_no_pull_gives_nothing() {
        for asked in [
            "",
            "repository",
            "repository:a",
            "repository:a:push",
            "repository:a:pullx",
            "registry:catalog:*",
            "registry:a:pull",
        ] {
            assert_eq!(scope(&[asked]), Scope::default(), "{asked}");
        }
    }

    #[test]
    fn a_scope_has_a_bound() {
        let many = "repository:a:pull ".repeat(100);
        let long = format!("repository:{}:pull", "a".repeat(600));

        assert_eq!(scope(&[&many]).0.len(), MAX_REPOSITORIES);
        assert_eq!(scope(&[&long]), Scope::default());
    }
}
