//! The store in one SQLite file.
//!
//! Records are JSON rows by key. Each commit is one transaction: it moves the
//! revision, writes the records, notes the changed keys in the log and adds
//! the audit rows. The write-ahead log is synced before a commit is reported.
//! One process at a time may have the file open, by whichever name: it is the
//! file itself that is locked.

mod audit;
mod fill;
mod status;

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::{Batch, Change, Contents, OnEmpty, Revision, StoreError, schema};
use crate::{
    records::{Key, Record},
    secrets,
};

/// How many revisions the log remembers.
const LOGGED_REVISIONS: u64 = 1_000;
/// A larger file is not looked through at start.
const MOST_CHECKED: i64 = 1 << 30;
/// How long a control plane that is about to end may keep the file.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Sqlite {
    connection: Connection,
    epoch: u64,
    /// `None`: in memory. Dropped after the connection: SQLite loses its own
    /// locks as soon as this process closes the file anywhere.
    file: Option<LockedFile>,
}

/// The file, locked for as long as it is open.
#[derive(Debug)]
struct LockedFile {
    path: PathBuf,
    /// Its device and inode.
    identity: (u64, u64),
    _lock: File,
}

impl Sqlite {
    pub(super) fn open(path: &Path, on_empty: OnEmpty) -> Result<Self, StoreError> {
        Self::open_within(path, on_empty, LOCK_PATIENCE)
    }

    fn open_within(path: &Path, on_empty: OnEmpty, patience: Duration) -> Result<Self, StoreError> {
        // SQLite names the side files after the file itself, not after links.
        let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let had_log = with_suffix(path, "-wal").exists();
        let size = fs::metadata(path).map_or(0, |it| it.len());
        let must_hold = on_empty == OnEmpty::Refuse;
        let empty = || StoreError::Empty {
            place: path.display().to_string(),
        };
        if size == 0 && must_hold {
            return Err(empty());
        }
        let file = prepare_file(path, patience)?;
        let connection = Connection::open(path)?;
        check(&connection, path)?;
        // A new file has 0 bytes. One that has more and no tables is a copy
        // that lacks what was in the write-ahead log.
        if size > 0 && schema::version(&connection)? == 0 && (must_hold || !had_log) {
            return Err(empty());
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.busy_timeout(patience)?;
        Self::new(connection, Some(file))
    }

    pub(super) fn in_memory() -> Result<Self, StoreError> {
        Self::new(Connection::open_in_memory()?, None)
    }

    fn new(mut connection: Connection, file: Option<LockedFile>) -> Result<Self, StoreError> {
        schema::migrate(&mut connection)?;
        let epoch = epoch(&connection)?;
        Ok(Self {
            connection,
            epoch,
            file,
        })
    }

    /// Whether the file is still the one that was opened.
    pub(super) fn check_identity(&self) -> Result<(), StoreError> {
        match &self.file {
            Some(file) if identity(&file.path).ok() != Some(file.identity) => {
                Err(StoreError::Replaced {
                    path: file.path.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn load(&self) -> Result<Contents, StoreError> {
        Ok(Contents {
            revision: self.revision(number(&self.connection)?),
            records: self.records()?,
            recent: self.recent()?,
        })
    }

    pub(super) fn commit(&mut self, expected: u64, batch: &Batch) -> Result<Revision, StoreError> {
        self.check_identity()?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if number(&transaction)? != expected {
            return Err(StoreError::Conflict { expected });
        }
        let next = expected + 1;
        write_records(&transaction, next, &batch.changes)?;
        write_log(&transaction, next, &batch.changes)?;
        audit::write(&transaction, next, batch)?;
        transaction.execute("update history set revision = ?1", [to_sql(next)])?;
        transaction.commit()?;
        Ok(self.revision(next))
    }

    fn revision(&self, number: u64) -> Revision {
        Revision {
            epoch: self.epoch,
            number,
        }
    }

    fn records(&self) -> Result<Vec<(Key, Record)>, StoreError> {
        let mut statement = self.connection.prepare("select key, value from record")?;
        let mut rows = statement.query([])?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            let key = parse_key(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?;
            let value = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
            let record = Record::from_json(key.kind(), value).map_err(about(&key))?;
            records.push((key, record));
        }
        Ok(records)
    }

    fn recent(&self) -> Result<Vec<(u64, Vec<Key>)>, StoreError> {
        let mut statement = self.connection.prepare("select revision, key from log")?;
        let mut rows = statement.query([])?;
        let mut recent = BTreeMap::<u64, Vec<Key>>::new();
        while let Some(row) = rows.next()? {
            let key = parse_key(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
            recent.entry(from_sql(row.get(0)?)).or_default().push(key);
        }
        Ok(recent.into_iter().collect())
    }
}

/// Draws the epoch when the file is new.
fn epoch(connection: &Connection) -> Result<u64, StoreError> {
    let drawn = to_sql(secrets::random_u64() >> 1);
    connection.execute(
        "insert into history (only_row, epoch, revision) values (1, ?1, 0) on conflict do nothing",
        [drawn],
    )?;
    let epoch = connection.query_row("select epoch from history", [], |row| row.get(0))?;
    Ok(from_sql(epoch))
}

fn number(connection: &Connection) -> Result<u64, StoreError> {
    let number = connection
        .prepare_cached("select revision from history")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(number.map(from_sql).unwrap_or_default())
}

fn write_records(
    transaction: &Transaction<'_>,
    revision: u64,
    changes: &[Change],
) -> Result<(), StoreError> {
    let mut put = transaction.prepare_cached(
        "insert into record values (?1, ?2, ?3)
         on conflict (key) do update set value = ?2, revision = ?3",
    )?;
    let mut delete = transaction.prepare_cached("delete from record where key = ?1")?;
    for Change { key, after, .. } in changes {
        match after {
            Some(record) => {
                let json = record.to_json().map_err(about(key))?;
                put.execute(params![key.as_str(), json, to_sql(revision)])?;
            }
            None => {
                delete.execute([key.as_str()])?;
            }
        }
    }
    Ok(())
}

fn write_log(
    transaction: &Transaction<'_>,
    revision: u64,
    changes: &[Change],
) -> Result<(), StoreError> {
    let mut insert = transaction.prepare_cached("insert into log values (?1, ?2)")?;
    for change in changes {
        insert.execute(params![to_sql(revision), change.key.as_str()])?;
    }
    transaction
        .prepare_cached("delete from log where revision <= ?1")?
        .execute([to_sql(revision.saturating_sub(LOGGED_REVISIONS))])?;
    Ok(())
}

/// Makes the directory and the file, readable by no one else, and locks it.
fn prepare_file(path: &Path, patience: Duration) -> Result<LockedFile, StoreError> {
    let failed = |source| StoreError::File {
        path: path.to_owned(),
        source,
    };
    if let Some(directory) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(directory);
        made.map_err(failed)?;
    }
    // SQLite gives its side files the mode of the main one.
    let file = private_file(path).map_err(failed)?;
    let lock = take_lock(file, path, patience)?;
    Ok(LockedFile {
        path: path.to_owned(),
        identity: identity(path).map_err(failed)?,
        _lock: lock,
    })
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let found = fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Looks at every page, the audit's too, unless there are so many that a start
/// would take long.
fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let corrupt = |found| StoreError::Corrupt {
        path: path.to_owned(),
        found,
    };
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let checked = || {
        if number("page_count")?.saturating_mul(number("page_size")?) > MOST_CHECKED {
            return Ok("ok".to_owned());
        }
        connection.query_row("pragma quick_check(1)", [], |row| row.get::<_, String>(0))
    };
    match checked() {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(corrupt(found)),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Err(corrupt(error.to_string()))
            }
            _ => Err(error.into()),
        },
    }
}

fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path)
}

fn take_lock(lock: File, path: &Path, patience: Duration) -> Result<File, StoreError> {
    let deadline = Instant::now() + patience;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(StoreError::File {
                    path: path.to_owned(),
                    source,
                });
            }
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn parse_key(text: &str) -> Result<Key, StoreError> {
    Key::parse(text).ok_or_else(|| StoreError::UnknownKey {
        key: text.to_owned(),
    })
}

fn about(key: &Key) -> impl Fn(serde_json::Error) -> StoreError {
    |source| StoreError::Record {
        key: key.as_str().to_owned(),
        source,
    }
}

/// SQLite's integers are signed. Revisions and epochs use 63 bits.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests;
