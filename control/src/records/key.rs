//! Keys: the kind of a record, `/`, and what names it within its kind.

use std::sync::Arc;

use super::HOST_MARK;
use crate::names;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    User,
    MachineType,
    Login,
    Upstream,
    Rule,
    Pin,
    Cpu,
    Recipe,
    Grant,
    SigningKey,
    Authority,
    JoinToken,
    JoinedWorker,
    AdminToken,
    HostToken,
    Purge,
}

/// The key of one record, for example `type/qnib/type1`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    kind: Kind,
    text: Arc<str>,
}

impl Kind {
    /// Every kind, in the order in which workers get them: what logins and
    /// pins refer to comes before them.
    pub(crate) const ALL: [Self; 16] = [
        Self::User,
        Self::AdminToken,
        Self::Upstream,
        Self::Grant,
        Self::SigningKey,
        Self::Cpu,
        Self::Rule,
        Self::MachineType,
        Self::Login,
        Self::Pin,
        Self::Recipe,
        Self::Purge,
        Self::Authority,
        Self::JoinToken,
        Self::JoinedWorker,
        Self::HostToken,
    ];

    /// What keys of this kind start with, before the `/`.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::MachineType => "type",
            Self::Login => "login",
            Self::Upstream => "upstream",
            Self::Rule => "rule",
            Self::Pin => "pin",
            Self::Cpu => "cpu",
            Self::Recipe => "recipe",
            Self::Grant => "grant",
            Self::SigningKey => "signing-key",
            Self::Authority => "authority",
            Self::JoinToken => "join-token",
            Self::JoinedWorker => "worker",
            Self::AdminToken => "token",
            Self::HostToken => "host-token",
            Self::Purge => "purge",
        }
    }

    /// The word for people.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::MachineType => "machine type",
            Self::SigningKey => "signing key",
            Self::JoinToken => "join token",
            Self::AdminToken => "admin token",
            Self::HostToken => "host token",
            other => other.prefix(),
        }
    }

    /// Whether workers get records of this kind. Users' password hashes, and
    /// what lets workers and admins in, stay at the control plane.
    pub(crate) fn is_for_workers(self) -> bool {
        !matches!(
            self,
            Self::User
                | Self::AdminToken
                | Self::HostToken
                | Self::Authority
                | Self::JoinToken
                | Self::JoinedWorker
        )
    }
}

impl Key {
    /// Reads a key. `None` when its prefix is no kind's.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (prefix, _) = text.split_once('/')?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.prefix() == prefix)?;
        Some(Self {
            kind,
            text: text.into(),
        })
    }

    pub(crate) fn user(name: &str) -> Self {
        Self::new(Kind::User, name)
    }

    pub(crate) fn machine_type(user: &str, name: &str) -> Self {
        Self::new(Kind::MachineType, &format!("{user}/{name}"))
    }

    pub(crate) fn login(name: &str) -> Self {
        Self::new(Kind::Login, name)
    }

    pub(crate) fn upstream(name: &str) -> Self {
        Self::new(Kind::Upstream, name)
    }

    pub(crate) fn rule(name: &str) -> Self {
        Self::new(Kind::Rule, name)
    }

    pub(crate) fn pin(user: &str, machine_type: &str, repository: &str) -> Self {
        Self::new(Kind::Pin, &format!("{user}/{machine_type}/{repository}"))
    }

    /// What the keys of all pins for a user's machine types start with.
    pub(crate) fn pin_start(user: &str) -> Self {
        Self::new(Kind::Pin, &format!("{user}/"))
    }

    /// No user is called `*`: that is every user.
    pub(crate) fn grant(user: Option<&str>, repository: &str) -> Self {
        let user = user.unwrap_or("*");
        Self::new(Kind::Grant, &format!("{user}/{repository}"))
    }

    pub(crate) fn cpu(name: &str) -> Self {
        Self::new(Kind::Cpu, name)
    }

    /// Two repositories may hold the same bytes, and knowing a digest is no
    /// permission: each has a recipe of its own.
    pub(crate) fn recipe(digest: &str, upstream: &str, repository: &str) -> Self {
        Self::new(Kind::Recipe, &format!("{digest}/{upstream}/{repository}"))
    }

    pub(crate) fn signing_key(id: &str) -> Self {
        Self::new(Kind::SigningKey, id)
    }

    /// There is one authority.
    pub(crate) fn authority() -> Self {
        Self::new(Kind::Authority, "own")
    }

    pub(crate) fn join_token(name: &str) -> Self {
        Self::new(Kind::JoinToken, name)
    }

    pub(crate) fn joined_worker(id: &str) -> Self {
        Self::new(Kind::JoinedWorker, id)
    }

    pub(crate) fn admin_token(name: &str) -> Self {
        Self::new(Kind::AdminToken, name)
    }

    pub(crate) fn host_token(user: &str, name: &str) -> Self {
        Self::new(Kind::HostToken, &format!("{user}/{name}"))
    }

    pub(crate) fn purge(id: &str) -> Self {
        Self::new(Kind::Purge, id)
    }

    /// The user that the record belongs to, or is. `None`: no single one.
    pub(crate) fn belongs_to(&self) -> Option<&str> {
        let name = self.name();
        let (user, _) = match self.kind {
            Kind::User => (name, ""),
            Kind::MachineType | Kind::Pin | Kind::Grant | Kind::HostToken => {
                name.split_once('/')?
            }
            Kind::Login => name.split_once('-')?,
            Kind::Upstream
            | Kind::Rule
            | Kind::Cpu
            | Kind::Recipe
            | Kind::SigningKey
            | Kind::Authority
            | Kind::JoinToken
            | Kind::JoinedWorker
            | Kind::AdminToken
            | Kind::Purge => return None,
        };
        Some(user).filter(|user| *user != "*")
    }

    /// True if a host's join creates the record: the login of a host, or a type
    /// for a host. Declarations do not contain it.
    pub(crate) fn is_made_by_hosts(&self) -> bool {
        match self.kind {
            Kind::Login => self.name().contains(HOST_MARK),
            Kind::MachineType => {
                let name = self.name().split_once('/').map_or("", |(_, name)| name);
                let hash = name.strip_prefix("auto-").unwrap_or_default();
                names::is_lower_hex(hash, 8)
            }
            _ => false,
        }
    }

    /// The kind of the record under this key.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The key as the store and workers know it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// What names the record within its kind.
    pub(crate) fn name(&self) -> &str {
        &self.text[self.kind.prefix().len() + 1..]
    }

    fn new(kind: Kind, name: &str) -> Self {
        Self {
            kind,
            text: format!("{}/{name}", kind.prefix()).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parsed_key_equals_the_one_that_was_built() {
        let key = Key::pin("qnib", "type1", "ghcr.io/org/*");

        assert_eq!(Key::parse("pin/qnib/type1/ghcr.io/org/*"), Some(key));
    }

    #[test]
    fn a_key_tells_whose_record_it_is() {
        for key in [
            Key::user("qnib"),
            Key::machine_type("qnib", "a"),
            Key::login("qnib-a-b"),
            Key::login("qnib-a~node17"),
            Key::host_token("qnib", "rack1"),
            Key::pin("qnib", "a", "b/c"),
            Key::grant(Some("qnib"), "ghcr.io/a"),
        ] {
            assert_eq!(key.belongs_to(), Some("qnib"), "{key:?}");
        }
        assert_eq!(Key::grant(None, "ghcr.io/a").belongs_to(), None);
        assert_eq!(Key::upstream("qnib").belongs_to(), None);
    }

    #[test]
    fn the_logins_of_hosts_and_the_types_made_for_them_are_told_by_their_keys() {
        assert!(Key::login("qnib-a~node17").is_made_by_hosts());
        assert!(Key::machine_type("qnib", "auto-0a1b2c3d").is_made_by_hosts());
        for key in [
            Key::login("qnib-a--node17"),
            Key::machine_type("qnib", "auto-mobile"),
            Key::user("qnib"),
        ] {
            assert!(!key.is_made_by_hosts(), "{key:?}");
        }
    }

    #[test]
    fn a_key_of_no_known_kind_is_refused() {
        assert_eq!(Key::parse("group/qnib"), None);
    }
}
