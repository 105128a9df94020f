//! Which records a caller may see and change. The one place that says so.

use metahub_policy::Grant;

use crate::{
    Error, Result,
    records::{Key, Kind},
};

/// What a caller may see and change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Sees and changes everything.
    All,
    /// Sees everything and changes nothing.
    Sight,
    /// Sees what all share and what belongs to one user, and changes the latter.
    Own(Ownership),
}

/// Whose records an owner may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ownership {
    pub(crate) user: String,
    /// Patterns of the repositories that may be granted to the user.
    pub(crate) grantable: Vec<String>,
}

impl Scope {
    /// Whether the record under `key` may be seen.
    pub(crate) fn may_see(&self, key: &Key) -> bool {
        match self {
            Self::All | Self::Sight => true,
            Self::Own(own) => match key.belongs_to() {
                Some(user) => user == own.user,
                None => is_shared(key.kind()),
            },
        }
    }

    /// Refuses what must not be seen, whether it is there or not.
    pub(crate) fn check_seen(&self, key: &Key) -> Result<()> {
        match self.may_see(key) {
            true => Ok(()),
            false => Err(self.refusal(key)),
        }
    }

    /// Refuses to change the record under `key`, or to make or delete one
    /// there.
    pub(crate) fn check_change(&self, key: &Key) -> Result<()> {
        match self {
            Self::All => Ok(()),
            Self::Own(own) if own.may_change(key) => Ok(()),
            Self::Sight | Self::Own(_) => Err(self.refusal(key)),
        }
    }

    fn refusal(&self, key: &Key) -> Error {
        let (kind, name) = (key.kind().word(), key.name());
        let reason = match self {
            Self::Own(own) if key.kind() == Kind::Grant && key.belongs_to() == Some(&own.user) => {
                own.grant_refusal(name)
            }
            Self::Own(own) => format!(
                "an owner of the user `{}` has no access to the {kind} `{name}`: ask an admin",
                own.user
            ),
            Self::Sight | Self::All => {
                format!("a viewer may not change the {kind} `{name}`: ask an admin")
            }
        };
        Error::Forbidden { reason }
    }
}

impl Ownership {
    fn may_change(&self, key: &Key) -> bool {
        let is_own = key.belongs_to() == Some(&self.user);
        match key.kind() {
            Kind::MachineType | Kind::Login | Kind::Pin | Kind::HostToken => is_own,
            Kind::Grant => is_own && self.may_grant(key.name()),
            Kind::User
            | Kind::Upstream
            | Kind::Rule
            | Kind::Cpu
            | Kind::Recipe
            | Kind::SigningKey
            | Kind::Authority
            | Kind::JoinToken
            | Kind::JoinedWorker
            | Kind::AdminToken
            | Kind::Purge => false,
        }
    }

    /// `name` is the user and the repositories, with `/` between.
    fn may_grant(&self, name: &str) -> bool {
        let Some((_, repository)) = name.split_once('/') else {
            return false;
        };
        let grant = Grant {
            user: Some(self.user.clone()),
            repository: repository.to_owned(),
        };
        self.grantable
            .iter()
            .any(|pattern| grant.is_within(pattern))
    }

    fn grant_refusal(&self, name: &str) -> String {
        let allowed = match self.grantable.is_empty() {
            true => "none".to_owned(),
            false => format!("those within {}", self.grantable.join(", ")),
        };
        format!(
            "the grant `{name}` is not one that this owner may change, which are {allowed}: ask an admin"
        )
    }
}

/// Whether records of a kind that belong to no user concern all.
fn is_shared(kind: Kind) -> bool {
    matches!(kind, Kind::Upstream | Kind::Rule | Kind::Cpu | Kind::Grant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Scope {
        Scope::Own(Ownership {
            user: "qnib".into(),
            grantable: vec!["ghcr.io/acme/**".into()],
        })
    }

    fn changes(key: &Key) -> bool {
        owner().check_change(key).is_ok()
    }

    #[test]
    fn an_owner_changes_the_types_logins_and_pins_of_its_user_only() {
        for (own, other) in [
            (
                Key::machine_type("qnib", "a"),
                Key::machine_type("moby", "a"),
            ),
            (Key::login("qnib-a"), Key::login("moby-a")),
            (Key::pin("qnib", "a", "b"), Key::pin("moby", "a", "b")),
        ] {
            assert!(changes(&own), "{own:?}");
            assert!(!changes(&other), "{other:?}");
        }
    }

    #[test]
    fn a_user_whose_name_starts_like_the_own_one_is_another() {
        assert!(!changes(&Key::login("qnib.x-a")));
        assert!(!changes(&Key::machine_type("qnibs", "a")));
    }

    #[test]
    fn an_owner_grants_what_the_admin_allowed_to_its_user_only() {
        assert!(changes(&Key::grant(Some("qnib"), "ghcr.io/acme/app")));
        assert!(!changes(&Key::grant(Some("qnib"), "ghcr.io/other/app")));
        assert!(!changes(&Key::grant(Some("qnib"), "**")));
        assert!(!changes(&Key::grant(Some("moby"), "ghcr.io/acme/app")));
        assert!(!changes(&Key::grant(None, "ghcr.io/acme/app")));
    }

    #[test]
    fn an_owner_changes_nothing_that_all_share() {
        for key in [
            Key::user("qnib"),
            Key::upstream("ghcr.io"),
            Key::rule("qnib"),
            Key::cpu("qnib"),
            Key::recipe("sha256:a", "ghcr.io", "acme/app"),
            Key::signing_key("qnib"),
            Key::admin_token("qnib"),
        ] {
            assert!(!changes(&key), "{key:?}");
        }
    }

    #[test]
    fn an_owner_sees_what_is_shared_and_no_other_user() {
        let sees = |key: Key| owner().may_see(&key);

        assert!(sees(Key::user("qnib")) && sees(Key::upstream("ghcr.io")));
        assert!(sees(Key::grant(None, "ghcr.io/**")));
        assert!(!sees(Key::user("moby")) && !sees(Key::grant(Some("moby"), "ghcr.io/**")));
        assert!(!sees(Key::admin_token("qnib")) && !sees(Key::signing_key("qnib")));
    }

    #[test]
    fn a_viewer_changes_nothing() {
        let key = Key::machine_type("qnib", "a");

        assert!(Scope::Sight.may_see(&key));
        assert!(Scope::Sight.check_change(&key).is_err());
    }
}
