//! What can go wrong in a store, whichever engine it has.

use std::path::PathBuf;

use super::EtcdError;

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store has moved past the expected revision. Plan anew.
    #[error("the store has moved on from revision {expected}")]
    Conflict {
        /// What the writer expected.
        expected: u64,
    },

    /// SQLite failed.
    #[error("sqlite failed")]
    Sqlite(#[from] rusqlite::Error),

    /// The file or its directory cannot be used.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },

    /// Another control plane has the file open.
    #[error("another control plane uses {path}; stop it, or give this one its own --data-dir")]
    InUse {
        /// The file.
        path: PathBuf,
    },

    /// A store that should hold a history holds none.
    #[error(
        "{place} holds no MetaHub, and should hold one: restore it from a backup (a copy of a \
         database file without its -wal file is none), or begin a new one with --start-anew"
    )]
    Empty {
        /// The store.
        place: String,
    },

    /// The file was removed or replaced while it was open.
    #[error(
        "{path} was removed or replaced while this control plane has it open: no change is taken; \
         put the file back, or restart the control plane"
    )]
    Replaced {
        /// The file.
        path: PathBuf,
    },

    /// The file is not what was written to it.
    #[error("{path} is damaged ({found}): restore it from a backup")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite finds first.
        found: String,
    },

    /// What is there was written by a newer program.
    #[error("the store has schema {found}, this program knows up to {known}: use a newer one")]
    TooNew {
        /// Its schema.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },

    /// etcd did not do what it was asked.
    #[error(transparent)]
    Etcd(#[from] EtcdError),

    /// A store that should be filled holds something.
    #[error("the store is not empty: name an empty one, or delete what it holds")]
    NotEmpty,

    /// The settings of the store cannot work.
    #[error("{reason}")]
    Settings {
        /// What to change.
        reason: &'static str,
    },

    /// A record cannot be read or written.
    #[error("the record {key} is not what this program writes")]
    Record {
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },

    /// A key is of no known kind.
    #[error("the key {key} is of no kind that this program knows")]
    UnknownKey {
        /// The key.
        key: String,
    },

    /// The program is about to end.
    #[error("the store is closed")]
    Closed,
}
