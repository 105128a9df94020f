//! The tables of the SQLite store, and how an older file becomes a newer one.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// One script for each version, applied in order. Never edit one that was
/// released; add the next.
const MIGRATIONS: [&str; 3] = [
    // `history` has one row. `log` tells which keys each recent revision
    // changed, not to what: the newest value is all that anyone needs, and a
    // password that was replaced is not kept.
    "create table history (
         only_row integer primary key check (only_row = 1),
         epoch integer not null,
         revision integer not null
     );
     create table record (
         key text primary key,
         value text not null,
         revision integer not null
     ) without rowid;
     create table log (
         revision integer not null,
         key text not null,
         primary key (revision, key)
     ) without rowid;
     create table audit (
         id integer primary key,
         revision integer not null,
         at_unix_ms integer not null,
         actor text not null,
         action text not null,
         key text not null,
         before text,
         after text
     );
     create index audit_by_revision on audit (revision);",
    // Where a change came from, and how far back the audit is complete.
    "alter table audit add column peer text;
     alter table history add column audit_after integer not null default 0;",
    // Observed statuses: they have no revision.
    "create table status (
         key text primary key,
         value text not null
     ) without rowid;",
];

/// The schema that the file has. 0: none.
pub(super) fn version(connection: &Connection) -> Result<u32, StoreError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// Brings the file to the newest schema. Whole or not at all.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    let known = MIGRATIONS.len() as u32;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    for script in MIGRATIONS.iter().skip(found as usize) {
        transaction.execute_batch(script)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();

        migrate(&mut connection).unwrap();

        assert!(migrate(&mut connection).is_ok());
    }

    #[test]
    fn a_file_from_the_future_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();

        let refused = migrate(&mut connection);

        assert!(matches!(refused, Err(StoreError::TooNew { found: 99, .. })));
    }
}
