//! Reads the audit, and sweeps it.

use std::time::{Duration, SystemTime};

use super::Catalog;
use crate::{
    Error, Result,
    audit::{AuditRecord, unix_ms},
};

/// How many changes are read from the store in one go.
const PAGE: usize = 1_000;

/// From where on to read the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuditStart {
    /// From the first record that is kept.
    Oldest,
    /// From the first record after this revision.
    After(u64),
    /// From about the last so many revisions that changed something.
    Last(usize),
}

impl Catalog {
    /// The next records after a revision, oldest first. Empty: there is no more.
    pub(crate) async fn audit(&self, after_revision: u64) -> Result<Vec<AuditRecord>> {
        Ok(self.store.audit(after_revision, PAGE).await?)
    }

    /// The revision after which to read.
    ///
    /// Refuses a revision that the audit does not reach back to.
    pub(crate) async fn audit_from(&self, start: AuditStart) -> Result<u64> {
        let reach = self.store.audit_reach().await?;
        match start {
            AuditStart::Oldest => Ok(reach),
            AuditStart::After(revision) if revision < reach => Err(Error::Blocked {
                reason: format!(
                    "the audit reaches back to revision {reach} only, older records are swept: see `--audit-retention` of the control plane"
                ),
            }),
            AuditStart::After(revision) => Ok(revision),
            AuditStart::Last(wanted) => self.before_the_last(wanted, reach).await,
        }
    }

    /// Deletes the records that are older than `retention`. Returns how many
    /// changes they held.
    pub(crate) async fn sweep_audit(&self, retention: Duration) -> Result<usize> {
        let oldest = unix_ms(SystemTime::now()).saturating_sub(millis(retention));
        Ok(self.store.sweep_audit(oldest).await?)
    }

    /// Looks back twice as far until there are enough: revisions of recipes
    /// have no record.
    async fn before_the_last(&self, wanted: usize, reach: u64) -> Result<u64> {
        let newest = self.revision().number;
        let mut window = wanted as u64;
        loop {
            let start = newest.saturating_sub(window).max(reach);
            let revisions = self.audited_revisions(start).await?;
            let surplus = revisions.len().saturating_sub(wanted);
            if surplus > 0 {
                return Ok(revisions[surplus - 1]);
            }
            if revisions.len() == wanted || start == reach {
                return Ok(start);
            }
            window = window.saturating_mul(2).max(1);
        }
    }

    async fn audited_revisions(&self, start: u64) -> Result<Vec<u64>> {
        let (mut after, mut revisions) = (start, Vec::new());
        loop {
            let page = self.audit(after).await?;
            let Some(last) = page.last() else {
                return Ok(revisions);
            };
            after = last.revision;
            revisions.extend(page.iter().map(|record| record.revision));
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Actor;

    async fn with_users(count: usize) -> Catalog {
        let catalog = Catalog::in_memory().await;
        let admin = Actor::on_its_own("admin");
        for number in 0..count {
            let created = catalog.create_user(&admin, format!("u{number}"), None);
            created.await.unwrap();
        }
        catalog
    }

    #[tokio::test]
    async fn the_last_records_start_where_so_many_are_left() {
        let catalog = with_users(5).await;

        let from = |start| catalog.audit_from(start);

        assert_eq!(catalog.revision().number, 6);
        assert_eq!(from(AuditStart::Last(2)).await.unwrap(), 4);
        assert_eq!(from(AuditStart::Last(100)).await.unwrap(), 0);
        assert_eq!(from(AuditStart::Oldest).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_was_swept_is_refused_rather_than_left_out() {
        let catalog = with_users(2).await;

        let swept = catalog.store.sweep_audit(u64::MAX).await.unwrap();

        assert_eq!(swept, 3);
        assert_eq!(catalog.audit_from(AuditStart::Oldest).await.unwrap(), 3);
        let refused = catalog.audit_from(AuditStart::After(2)).await.unwrap_err();
        assert!(refused.to_string().contains("revision 3"), "{refused}");
    }

    #[tokio::test]
    async fn nothing_younger_than_the_retention_is_swept() {
        let catalog = with_users(2).await;

        let swept = catalog.sweep_audit(Duration::from_secs(60)).await;

        assert_eq!(swept.unwrap(), 0);
    }
}
