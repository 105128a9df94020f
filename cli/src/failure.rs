//! What can go wrong between metahubctl and the control plane or the registry,
//! and what to do next.

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use metahub_worker::trust::Fingerprint;
use tonic::{Code, Status};
use url::Url;

use crate::sign_in::SignInError;

/// The metadatum that names the field of an invalid argument.
const FIELD: &str = "metahub-field";
/// The exit code for a comparison with differences, and for an image without a
/// fitting variant.
const DIFFERS: u8 = 3;

/// A request that was not fulfilled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot reach the control plane at {url}")]
    Unreachable {
        url: Url,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("the control plane at {url} is on another host, and plain text would show the token")]
    PlainText { url: Url },
    #[error("nothing says whether {fingerprint} is the control plane at {url}")]
    UnknownControl { url: Url, fingerprint: Fingerprint },
    #[error(
        "what answers at {url} is not the control plane that was there: its certificate is rooted in \
         {roots}. Someone may listen in, or the control plane has a new data directory"
    )]
    StrangeControl { url: Url, roots: String },
    #[error(
        "what answers at {url} is not the control plane that --fingerprint names: its certificate \
         is rooted in {roots}"
    )]
    OtherControl { url: Url, roots: String },
    #[error("there is no admin token, and no one has signed in")]
    NoToken,
    #[error("the sign-in has ended")]
    SignedOut,
    #[error("people cannot sign in: the control plane has no issuer")]
    NoIssuer,
    #[error("the control plane does not take the admin token: {0}")]
    Unauthenticated(String),
    #[error("this is not allowed: {0}")]
    Forbidden(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    AlreadyExists(String),
    #[error("{0}")]
    Invalid(String),
    /// The reason starts with the field's name, too.
    #[error("{reason}")]
    InvalidField { field: String, reason: String },
    /// What was compared differs, and the caller asked to be told.
    #[error("the policy differs from the files")]
    Differs,
    /// The image has no variant for the machine type. The text is the worker's.
    #[error("{0}")]
    NothingFits(String),
    /// Checks of a host failed. Their lines are already printed.
    #[error("checks failed on this host: {failed}; warnings: {warnings}")]
    Unhealthy { failed: usize, warnings: usize },
    /// Checks of a host warned. Their lines are already printed.
    #[error("checks warned on this host")]
    Warnings,
    #[error("the control plane does not know this command")]
    Unknown,
    #[error("the control plane failed: {0}")]
    Failed(String),
    #[error("what answers at {url} does not speak as a control plane does: {reason}")]
    Garbled { url: Url, reason: String },
    #[error("it is not known where the registry is: no worker is connected")]
    NoRegistry,
    #[error("the registry at {url} is on another host, and plain text would show the login")]
    PlainRegistry { url: Url },
    #[error("there is no login for the registry at {registry}: {why}")]
    NoLogin { registry: String, why: String },
    #[error("the registry at {registry} does not take the login `{login}`")]
    LoginRefused { registry: String, login: String },
}

/// What was to be printed, and could not be.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to {to}")]
pub(crate) struct Unprinted {
    pub(crate) to: &'static str,
    pub(crate) source: io::Error,
}

impl Failure {
    /// What the control plane at `url` means by `status`.
    pub(crate) fn of(status: Status, url: &Url) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::Unauthenticated => Self::Unauthenticated(message),
            Code::PermissionDenied => Self::Forbidden(message),
            Code::NotFound => Self::NotFound(message),
            Code::AlreadyExists => Self::AlreadyExists(message),
            Code::InvalidArgument if status.metadata().contains_key(FIELD) => Self::InvalidField {
                field: text(&status, FIELD),
                reason: message,
            },
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
                Self::Invalid(message)
            }
            Code::Unimplemented => Self::Unknown,
            // What the control plane itself says has no source.
            Code::Internal if status.source().is_some() => Self::Garbled {
                url: url.clone(),
                reason: message,
            },
            // A failed connection has a source; what the control plane says has
            // none.
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
                if status.source().is_some() =>
            {
                Self::Unreachable {
                    url: url.clone(),
                    source: status.into(),
                }
            }
            Code::Ok
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Unavailable
            | Code::Unknown
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Internal
            | Code::DataLoss => Self::Failed(message),
        }
    }

    /// Whether trying again a little later may help.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Failed(_) | Self::Garbled { .. }
        )
    }

    /// What to do next, where there is something to do.
    fn next_step(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } => Some(
                "start one with `metahubctl up`, or say where it is with --control URL: \
                     https:// where it serves TLS, else http://",
            ),
            Self::PlainText { .. } => {
                Some("run metahubctl on the control plane's host, or accept it with --insecure")
            }
            Self::UnknownControl { .. } => Some(
                "compare it with what the control plane's log shows, and give it with \
                 --fingerprint, or give the control plane's ca.pem with --ca-file",
            ),
            Self::StrangeControl { .. } => Some(
                "compare the new one with what the control plane's log shows; if they are equal, \
                 remove its line from that file and connect again",
            ),
            Self::OtherControl { .. } => Some(
                "compare the one that was seen with what the control plane's log shows; if they \
                 are equal, give that one",
            ),
            Self::NoToken => Some(
                "the control plane writes one to `admin-token` in its data directory at its first \
                 start: run metahubctl where ./metahub-data is, give --token-file FILE, or run \
                 `metahubctl auth login`",
            ),
            Self::Garbled { .. } => Some(
                "say where it is with --control URL: https:// where it serves TLS, else http://",
            ),
            Self::SignedOut => Some("run `metahubctl auth login`"),
            Self::NoIssuer => Some(
                "give the token of `metahubctl token create` with --token-file FILE, or start the \
                 control plane with --oidc-issuer URL",
            ),
            Self::Unauthenticated(_) => Some(
                "give a token that it knows with --token-file FILE, or run `metahubctl auth \
                 login`; its own is the file `admin-token` in its data directory",
            ),
            Self::AlreadyExists(_) => {
                Some("choose another name, or `update`, `rotate` or `delete` what is there")
            }
            Self::NoRegistry => Some("start a worker, or say where one is with --registry URL"),
            Self::PlainRegistry { .. } => {
                Some("name its https address with --registry URL, or accept it with --insecure")
            }
            Self::NoLogin { .. } => Some(
                "give a login with --login NAME --password-file FILE, or run `docker login` for \
                 that registry",
            ),
            Self::LoginRefused { .. } => {
                Some("see `metahubctl login list`; `metahubctl login rotate` gives a new secret")
            }
            Self::Unknown => Some("upgrade the control plane, or use its own metahubctl"),
            _ => None,
        }
    }
}

/// A metadatum of the status, or nothing.
fn text(status: &Status, key: &str) -> String {
    let value = status.metadata().get(key);
    let text = value.and_then(|value| value.to_str().ok());
    text.unwrap_or_default().to_owned()
}

/// Reports a result to `notes` and says what the process exits with.
pub fn exit_code(result: anyhow::Result<()>, notes: &mut dyn Write) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error)
            if matches!(
                error.downcast_ref(),
                Some(Failure::Differs | Failure::Warnings)
            ) =>
        {
            ExitCode::from(DIFFERS)
        }
        Err(error) => {
            let nothing_fits = matches!(error.downcast_ref(), Some(Failure::NothingFits(_)));
            // A closed stderr leaves no one to tell.
            let _ = notes.write_all(report(&error).as_bytes());
            match nothing_fits {
                true => ExitCode::from(DIFFERS),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// What people read when a command failed.
fn report(error: &anyhow::Error) -> String {
    let mut text = format!("metahubctl: {error}\n");
    let mut last = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !last.contains(&cause) {
            text += &format!("  cause: {cause}\n");
        }
        last = cause;
    }
    if let Some(step) = next_step(error) {
        text += &format!("  next: {step}\n");
    }
    text
}

fn next_step(error: &anyhow::Error) -> Option<&'static str> {
    let sign_in = error.chain().find_map(|cause| cause.downcast_ref());
    if let Some(SignInError::Unreachable { .. }) = sign_in {
        return Some(
            "if a private authority vouches for the issuer, give its certificate: `metahubctl auth \
             login --issuer-ca-file FILE`",
        );
    }
    let failure = error.chain().find_map(|cause| cause.downcast_ref());
    let port_taken = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::AddrInUse);
    match failure {
        Some(failure) => Failure::next_step(failure),
        None if port_taken => Some(
            "stop the program that has the port, or choose another with --grpc-addr, \
             --registry-addr or --admin-addr",
        ),
        None => None,
    }
}

/// Whether the reader of stdout has gone, as `head` does. A connection that
/// breaks is another matter.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let unprinted = error.downcast_ref::<Unprinted>();
    unprinted.is_some_and(|it| it.source.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_token_says_where_the_token_comes_from() {
        let url = Url::parse("http://127.0.0.1:7400").unwrap();
        let failure = Failure::of(Status::unauthenticated("unknown token"), &url);

        let text = report(&failure.into());

        assert!(text.contains("admin-token"), "{text}");
        assert!(text.contains("unknown token"), "{text}");
    }

    #[test]
    fn a_reader_that_leaves_is_no_failure() {
        let error = Unprinted {
            to: "stdout",
            source: io::ErrorKind::BrokenPipe.into(),
        };

        assert!(is_closed_pipe(&error.into()));
    }

    #[test]
    fn a_connection_that_breaks_is_a_failure() {
        let failure = Failure::Unreachable {
            url: Url::parse("http://127.0.0.1:7400").unwrap(),
            source: io::Error::from(io::ErrorKind::BrokenPipe).into(),
        };

        assert!(!is_closed_pipe(&failure.into()));
    }
}
