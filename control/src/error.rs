//! What can go wrong in the control plane, and what a caller is told of it.

use std::fmt::Display;

use tonic::Status;

use crate::{oidc::IssuerError, records::Kind, store::StoreError};

/// The metadata that names the field of an invalid argument.
const FIELD: &str = "metahub-field";

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while the control plane answers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field is missing or malformed. The caller must change it.
    #[error("{field}: {reason}")]
    InvalidField {
        /// The field, with the path that leads to it.
        field: String,
        /// What is wrong and what to write instead.
        reason: String,
    },

    /// There is no such record.
    #[error("there is no {kind} `{name}`")]
    NotFound {
        /// What the record would be about.
        kind: &'static str,
        /// Its name.
        name: String,
    },

    /// There is such a record already.
    #[error("the {kind} `{name}` exists already")]
    AlreadyExists {
        /// What the record is about.
        kind: &'static str,
        /// Its name.
        name: String,
    },

    /// Something else must be changed first.
    #[error("{reason}")]
    Blocked {
        /// What, and how.
        reason: String,
    },

    /// The caller gave no token, or a wrong one.
    #[error("{reason}")]
    Unauthenticated {
        /// What is wrong, and what to do.
        reason: String,
    },

    /// The caller is known, and may not do this.
    #[error("{reason}")]
    Forbidden {
        /// Who may.
        reason: String,
    },

    /// A worker broke the protocol of its stream.
    #[error("the worker broke the protocol: {reason}")]
    Protocol {
        /// How.
        reason: &'static str,
    },

    /// Nothing was heard for too long.
    #[error("{peer} was silent for too long")]
    Silent {
        /// Who.
        peer: &'static str,
    },

    /// The store failed. Trying again may help.
    #[error("the store failed; the change may not be kept")]
    Store(#[from] StoreError),

    /// The issuer that people sign in at gives no keys. Trying again may help.
    #[error("the control plane cannot check who signed in")]
    Issuer(#[from] IssuerError),

    /// The store does not answer, so others may have changed what is unknown
    /// here.
    #[error("the store does not answer this control plane; try another one, or later")]
    StoreSilent,

    /// The control plane stops. Another one, or the same a little later, can
    /// help.
    #[error("the control plane stops")]
    Stopping,
}

impl Error {
    pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidField {
            field: field.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn not_found(kind: Kind, name: impl Into<String>) -> Self {
        Self::NotFound {
            kind: kind.word(),
            name: name.into(),
        }
    }

    pub(crate) fn already_exists(kind: Kind, name: impl Into<String>) -> Self {
        Self::AlreadyExists {
            kind: kind.word(),
            name: name.into(),
        }
    }

    /// The same error with the place of the field in front of its name.
    pub(crate) fn within(self, place: impl Display) -> Self {
        match self {
            Self::InvalidField { field, reason } => Self::InvalidField {
                field: format!("{place}.{field}"),
                reason,
            },
            other => other,
        }
    }
}

/// Names the field for programs, which cannot cut it out of a text.
fn with_field(mut status: Status, field: &str) -> Status {
    if let Ok(field) = field.parse() {
        status.metadata_mut().insert(FIELD, field);
    }
    status
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::InvalidField { field, .. } => {
                with_field(Self::invalid_argument(message), &field)
            }
            Error::Protocol { .. } => Self::invalid_argument(message),
            Error::NotFound { .. } => Self::not_found(message),
            Error::AlreadyExists { .. } => Self::already_exists(message),
            Error::Blocked { .. } => Self::failed_precondition(message),
            Error::Unauthenticated { .. } => Self::unauthenticated(message),
            Error::Forbidden { .. } => Self::permission_denied(message),
            Error::Silent { .. } => Self::deadline_exceeded(message),
            // The cause is the operator's to read in the log, not the caller's.
            Error::Store(_) | Error::StoreSilent | Error::Issuer(_) | Error::Stopping => {
                Self::unavailable(message)
            }
        }
    }
}
