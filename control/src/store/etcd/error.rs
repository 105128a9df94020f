//! Why etcd did not do what it was asked.

use std::time::Duration;

use tonic::{Code, Status};

/// Why etcd did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdError {
    /// No node has answered in time. What was asked for may have been done.
    #[error("no etcd node answers; {node} said last: {reason}")]
    Unreachable {
        /// The node that was tried last.
        node: String,
        /// What it said, or what became of the connection.
        reason: String,
    },

    /// etcd does not answer.
    #[error("etcd has not answered for {silence:?}")]
    Silent {
        /// For how long.
        silence: Duration,
    },

    /// A node says that it will not. Asking again does not help.
    #[error("etcd at {node} refuses: {reason}")]
    Refused {
        /// The node.
        node: String,
        /// Its words.
        reason: String,
    },

    /// The revision that was asked for is compacted away.
    #[error("etcd no longer has the revision that was being read")]
    Compacted,

    /// What was there is not there any more.
    #[error(
        "{key} is gone from etcd: no change is taken; restore etcd from a backup, or begin a new \
         MetaHub with --start-anew"
    )]
    Gone {
        /// The key.
        key: String,
    },

    /// The prefix is above or below that of another MetaHub.
    #[error(
        "the prefix {prefix} is above or below {other}, which is another MetaHub's: each would \
         delete keys of the other; write another path after the last URL of --store"
    )]
    Nested {
        /// The prefix that was chosen.
        prefix: String,
        /// The other's.
        other: String,
    },

    /// The keys of MetaHub are not as it writes them.
    #[error("what is under {key} in etcd is not what this program writes")]
    Damaged {
        /// The key.
        key: String,
    },
}

/// What an error from a node means for the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Another node, or the same a moment later, may do it.
    TryElsewhere,
    /// The token of the user is no longer good.
    LogInAgain,
    Compacted,
    Refused,
}

impl Verdict {
    pub(super) fn of(status: &Status) -> Self {
        match status.code() {
            Code::OutOfRange => Self::Compacted,
            // A token from before the users changed is an invalid argument.
            Code::Unauthenticated | Code::InvalidArgument => Self::LogInAgain,
            Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::NotFound
            | Code::AlreadyExists
            | Code::Unimplemented => Self::Refused,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Self::TryElsewhere,
        }
    }
}
