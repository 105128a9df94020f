//! Putting a whole store into an empty file.

use rusqlite::{Transaction, params};

use super::{Sqlite, StoreError, about, audit, number, to_sql};
use crate::store::whole::Whole;

impl Sqlite {
    /// Puts everything where nothing may be.
    pub(in crate::store) fn fill(&mut self, whole: &Whole) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        if number(&transaction)? > 0 {
            return Err(StoreError::NotEmpty);
        }
        write_all(&transaction, whole)?;
        transaction.commit()?;
        self.epoch = whole.contents.revision.epoch;
        Ok(())
    }
}

fn write_all(transaction: &Transaction<'_>, whole: &Whole) -> Result<(), StoreError> {
    let revision = whole.contents.revision;
    let mut put = transaction.prepare("insert into record values (?1, ?2, ?3)")?;
    for (key, record) in &whole.contents.records {
        let json = record.to_json().map_err(about(key))?;
        put.execute(params![key.as_str(), json, to_sql(revision.number)])?;
    }
    let mut log = transaction.prepare("insert into log values (?1, ?2)")?;
    for (number, keys) in &whole.contents.recent {
        for key in keys {
            log.execute(params![to_sql(*number), key.as_str()])?;
        }
    }
    let mut status = transaction.prepare("insert into status values (?1, ?2)")?;
    for (key, value) in &whole.statuses {
        status.execute(params![key, value])?;
    }
    for record in &whole.audit {
        audit::write_record(transaction, record)?;
    }
    transaction.execute(
        "update history set epoch = ?1, revision = ?2, audit_after = ?3",
        params![
            to_sql(revision.epoch),
            to_sql(revision.number),
            to_sql(whole.audit_reach)
        ],
    )?;
    Ok(())
}
