//! Checks the host's credential: its content, its permissions and its age.

use std::{
    fs::{self, Metadata},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    time::{Duration, SystemTime},
};

use metahub_host::credential::HostCredential;
use secrecy::ExposeSecret as _;

use super::finding::Finding;

const CHECK: &str = "credential";
const LOG_IN: &str = "metahubctl host login --token-file FILE --control URL, on this host";
/// The size limit of a credential file.
const MAX_BYTES: u64 = 1 << 20;
/// The age for a warning. A secret of 256 random bits does not weaken with age,
/// unlike a password: the warning serves policies that require rotation.
const OLD: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The credential, if it is usable, and the findings for its file.
pub(super) fn check(path: &Path) -> (Option<HostCredential>, Vec<Finding>) {
    let shown = path.display();
    let (bytes, metadata) = match read(path) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = format!("there is no {shown}: this host has not joined");
            return (None, vec![Finding::fail(CHECK, what, LOG_IN)]);
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let what = format!("{shown} is not for this user to read");
            let next = "run metahubctl doctor as root";
            return (None, vec![Finding::fail(CHECK, what, next)]);
        }
        Err(error) => {
            let what = format!("{shown} cannot be read: {error}");
            return (None, vec![Finding::fail(CHECK, what, LOG_IN)]);
        }
    };
    // The parser's error text may quote the secret.
    let parsed: Result<HostCredential, _> = serde_json::from_slice(&bytes);
    let credential = match parsed {
        Ok(credential) if credential.schema == 1 => credential,
        Ok(credential) => {
            let what = format!("{shown} is of form {}, and 1 is known", credential.schema);
            let next = "upgrade metahubctl on this host";
            return (None, vec![Finding::fail(CHECK, what, next)]);
        }
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let what = format!(
                "{shown} is no credential of a host: line {line}, column {column} is not as expected"
            );
            return (None, vec![Finding::fail(CHECK, what, LOG_IN)]);
        }
    };
    let mut findings = vec![opened(path, &credential, &metadata)];
    findings.extend(age(path, &metadata));
    (Some(credential), findings)
}

fn read(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    let file = fs::File::open(path)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok((bytes, metadata))
}

/// Checks which users can read the secret.
fn opened(path: &Path, credential: &HostCredential, metadata: &Metadata) -> Finding {
    let shown = path.display();
    let mode = metadata.permissions().mode() & 0o7777;
    if credential.login.is_empty() || credential.secret.expose_secret().is_empty() {
        let what = format!("{shown} has no login, or no secret");
        return Finding::fail(CHECK, what, LOG_IN);
    }
    if mode & 0o077 != 0 {
        let what = format!("others can read the secret in {shown}, its mode is {mode:04o}");
        let next = format!("chmod 600 {shown}, then metahubctl host login again for a new secret");
        return Finding::fail(CHECK, what, next);
    }
    // A test, or a trial without root, has a file of its own user.
    let own = fs::metadata("/proc/self").map(|it| it.uid());
    if metadata.uid() != 0 && own.is_ok_and(|own| own != metadata.uid()) {
        let what = format!("{shown} belongs to user {}, not to root", metadata.uid());
        return Finding::warn(CHECK, what, format!("chown root: {shown}"));
    }
    let what = format!(
        "{shown} has the login {} of {}",
        credential.login, credential.machine_type
    );
    Finding::ok(CHECK, what)
}

fn age(path: &Path, metadata: &Metadata) -> Option<Finding> {
    let written = metadata.modified().ok()?;
    let shown = path.display();
    match SystemTime::now().duration_since(written) {
        Ok(age) if age > OLD => {
            let days = age.as_secs() / (24 * 60 * 60);
            let what = format!("the secret in {shown} is {days} days old");
            Some(Finding::warn(
                CHECK,
                what,
                "metahubctl host login again, for a new one",
            ))
        }
        _ => None,
    }
}
