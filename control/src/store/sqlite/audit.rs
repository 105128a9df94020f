//! The audit's rows: one for each changed record.

use rusqlite::{Row, Transaction, params};

use super::{Sqlite, StoreError, from_sql, parse_key, to_sql};
use crate::{
    audit::{AuditRecord, AuditedChange},
    catalog::Actor,
    store::Batch,
};

impl Sqlite {
    /// See [`Store::audit`](crate::store::Store::audit).
    pub(in crate::store) fn audit(
        &self,
        after_revision: u64,
        most: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "select revision, at_unix_ms, actor, peer, action, key, before, after
             from audit where revision > ?1 order by revision, id",
        )?;
        let mut rows = statement.query([to_sql(after_revision)])?;
        let (mut records, mut count) = (Vec::<AuditRecord>::new(), 0);
        while let Some(row) = rows.next()? {
            let revision = from_sql(row.get(0)?);
            let change = change(row)?;
            match records.last_mut().filter(|it| it.revision == revision) {
                Some(record) => record.changes.push(change),
                None if count >= most.max(1) => break,
                None => records.push(record(row, change)?),
            }
            count += 1;
        }
        Ok(records)
    }

    /// See [`Store::audit_reach`](crate::store::Store::audit_reach).
    pub(in crate::store) fn audit_reach(&self) -> Result<u64, StoreError> {
        let reach = self
            .connection
            .query_row("select audit_after from history", [], |row| row.get(0))?;
        Ok(from_sql(reach))
    }

    /// See [`Store::sweep_audit`](crate::store::Store::sweep_audit).
    pub(in crate::store) fn sweep_audit(
        &mut self,
        oldest_unix_ms: u64,
    ) -> Result<usize, StoreError> {
        let transaction = self.connection.transaction()?;
        // Clocks jump, revisions do not: what follows a record that stays,
        // stays.
        let last: Option<i64> = transaction.query_row(
            "select coalesce((select min(revision) - 1 from audit where at_unix_ms >= ?1),
                             (select max(revision) from audit))",
            [to_sql(oldest_unix_ms)],
            |row| row.get(0),
        )?;
        let last = last.unwrap_or_default();
        let swept = transaction.execute("delete from audit where revision <= ?1", [last])?;
        if swept > 0 {
            transaction.execute("update history set audit_after = ?1", [last])?;
        }
        transaction.commit()?;
        Ok(swept)
    }
}

/// Adds what the audit says of `batch`.
pub(super) fn write(
    transaction: &Transaction<'_>,
    revision: u64,
    batch: &Batch,
) -> Result<(), StoreError> {
    let failed = |source| StoreError::Record {
        key: format!("audit of revision {revision}"),
        source,
    };
    match AuditRecord::of(revision, batch).map_err(failed)? {
        Some(record) => write_record(transaction, &record),
        None => Ok(()),
    }
}

/// Adds one record.
pub(super) fn write_record(
    transaction: &Transaction<'_>,
    record: &AuditRecord,
) -> Result<(), StoreError> {
    let mut insert = transaction.prepare_cached(
        "insert into audit (revision, at_unix_ms, actor, peer, action, key, before, after)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for change in &record.changes {
        insert.execute(params![
            to_sql(record.revision),
            to_sql(record.at_unix_ms),
            record.actor.name,
            record.actor.from.map(|it| it.to_string()),
            record.action,
            change.key.as_str(),
            change.before,
            change.after,
        ])?;
    }
    Ok(())
}

fn record(row: &Row<'_>, change: AuditedChange) -> Result<AuditRecord, StoreError> {
    let peer: Option<String> = row.get(3)?;
    Ok(AuditRecord {
        revision: from_sql(row.get(0)?),
        at_unix_ms: from_sql(row.get(1)?),
        actor: Actor::told_of(row.get(2)?, peer.and_then(|it| it.parse().ok())),
        action: row.get(4)?,
        changes: vec![change],
    })
}

fn change(row: &Row<'_>) -> Result<AuditedChange, StoreError> {
    Ok(AuditedChange {
        key: parse_key(row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?)?,
        before: row.get(6)?,
        after: row.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        records::{Record, User},
        store::Change,
    };

    fn creates(names: &[&str]) -> Batch {
        let change = |name: &&str| {
            let user = Record::User(User {
                name: (*name).to_owned(),
                password_hash: None,
            });
            Change {
                key: user.key(),
                before: None,
                after: Some(Arc::new(user)),
            }
        };
        Batch {
            actor: Actor::told_of("admin".into(), Some([10, 0, 0, 7].into())),
            action: "test.put",
            changes: names.iter().map(change).collect(),
        }
    }

    fn numbers(records: &[AuditRecord]) -> Vec<u64> {
        records.iter().map(|record| record.revision).collect()
    }

    fn store(revisions: &[&[&str]]) -> Sqlite {
        let mut store = Sqlite::in_memory().unwrap();
        for (number, names) in revisions.iter().enumerate() {
            store.commit(number as u64, &creates(names)).unwrap();
        }
        store
    }

    #[test]
    fn a_page_holds_whole_revisions_and_one_at_least() {
        let store = store(&[&["a"], &["b", "c", "d"], &["e"]]);

        let first = store.audit(0, 2).unwrap();
        let second = store.audit(2, 2).unwrap();

        assert_eq!(numbers(&first), [1, 2]);
        assert_eq!(first[1].changes.len(), 3);
        assert_eq!(numbers(&second), [3]);
        assert_eq!(numbers(&store.audit(1, 1).unwrap()), [2]);
        assert_eq!(store.audit(3, 2).unwrap(), []);
    }

    #[test]
    fn a_record_says_from_where() {
        let store = store(&[&["a"]]);

        let records = store.audit(0, 1).unwrap();

        assert_eq!(records[0].actor, creates(&[]).actor);
    }

    #[test]
    fn a_sweep_takes_the_old_and_says_how_far_back_the_rest_reaches() {
        let mut store = store(&[&["a"], &["b", "c"], &["d"]]);
        let age = "update audit set at_unix_ms = 1000 where revision < 3";
        store.connection.execute(age, []).unwrap();

        assert_eq!(store.sweep_audit(1_000).unwrap(), 0);
        assert_eq!(store.audit_reach().unwrap(), 0);
        assert_eq!(store.sweep_audit(1_001).unwrap(), 3);

        assert_eq!(numbers(&store.audit(0, 9).unwrap()), [3]);
        assert_eq!(store.audit_reach().unwrap(), 2);
    }

    #[test]
    fn a_record_that_looks_old_is_kept_behind_one_that_is_not() {
        let mut store = store(&[&["a"], &["b"]]);
        let age = "update audit set at_unix_ms = 1000 where revision = 2";
        store.connection.execute(age, []).unwrap();

        assert_eq!(store.sweep_audit(2_000).unwrap(), 0);

        assert_eq!(numbers(&store.audit(0, 9).unwrap()), [1, 2]);
    }
}
