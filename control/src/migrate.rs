//! Moves the state from one store to another: one machine becomes several, or
//! the other way round.

use anyhow::Context;

use crate::{EtcdAccess, StoreLocation, store::Store};

/// Copies all that a store holds into an empty one.
///
/// Records, audit, epoch and revision stay as they are, so workers go on
/// without a whole resync. Stop the control plane first: changes that it makes
/// meanwhile are not copied.
#[derive(Clone, Debug, clap::Args)]
pub struct Migration {
    /// The store to copy: `sqlite:PATH` or `etcd:URL,URL…`.
    #[arg(long)]
    pub from: StoreLocation,

    /// The empty store to copy into.
    #[arg(long)]
    pub to: StoreLocation,

    #[command(flatten)]
    pub(crate) etcd: EtcdAccess,
}

impl Migration {
    /// Copies, and says what was copied.
    pub async fn run(self) -> anyhow::Result<String> {
        let Self { from, to, etcd } = self;
        let whole = Store::read_whole(from.clone(), &etcd)
            .await
            .with_context(|| format!("cannot read {from}"))?;
        let said = format!(
            "copied {} records and {} revisions of the audit at revision {} from {from} to {to}",
            whole.contents.records.len(),
            whole.audit.len(),
            whole.contents.revision,
        );
        Store::write_whole(to.clone(), &etcd, whole)
            .await
            .with_context(|| format!("cannot write {to}"))?;
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalog, catalog::Actor, store::OnEmpty};

    fn migration(from: &str, to: &str) -> Migration {
        Migration {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            etcd: EtcdAccess::default(),
        }
    }

    async fn open(location: &str) -> Catalog {
        let (at, access) = (location.parse().unwrap(), EtcdAccess::default());
        let store = Store::open(at, &access, OnEmpty::Begin).await;
        Catalog::open(store.unwrap()).await.unwrap()
    }

    /// A file with a policy, and its revision.
    async fn filled(location: &str) -> crate::Revision {
        let catalog = open(location).await;
        let actor = Actor::on_its_own("test");
        let created = catalog.create_user(&actor, "qnib".into(), None).await;
        created.unwrap();
        catalog.revision()
    }

    #[tokio::test]
    async fn a_copy_goes_on_at_the_same_revision() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|it| format!("sqlite:{}/{it}", dir.path().display()));
        let revision = filled(&one).await;

        migration(&one, &two).run().await.unwrap();

        let whole = Store::read_whole(two.parse().unwrap(), &EtcdAccess::default()).await;
        let whole = whole.unwrap();
        assert_eq!(whole.contents.revision, revision);
        assert_eq!(whole.contents.records.len(), 2);
        assert_eq!(whole.contents.recent.len(), 2);
        assert_eq!(whole.audit.len(), 2);
    }

    #[tokio::test]
    async fn what_holds_something_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|it| format!("sqlite:{}/{it}", dir.path().display()));
        filled(&one).await;
        let revision = filled(&two).await;

        let refused = migration(&one, &two).run().await;

        assert!(refused.is_err());
        assert_eq!(open(&two).await.revision(), revision);
    }
}
