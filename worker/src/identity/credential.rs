//! The certificate that a worker got when it joined, and its key.

use std::{
    fmt, fs,
    io::ErrorKind,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use bytes::Bytes;
use metahub_proto::policy::v1::IssuedCertificate;
use rcgen::{CertificateParams, KeyPair};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tonic::transport::Identity;

use super::NoWay;
use crate::{sync::replace_file, trust::Fingerprint};

/// A certificate with its key.
#[derive(Clone, Debug)]
pub(super) struct Credential {
    pub(super) worker_id: String,
    /// Whom the join token said to trust.
    pub(super) pinned: Option<Fingerprint>,
    certificate_pem: String,
    key_pem: SecretString,
    obtained: SystemTime,
    /// When this run of the worker got it: a clock may be set back later.
    taken: Instant,
    lifetime: Duration,
    /// The fingerprint of the authority that it is from, if that was told.
    authority: Option<String>,
}

/// A key, and the request for a certificate for it.
pub(super) struct Application {
    key: KeyPair,
    /// PKCS #10, DER.
    pub(super) signing_request: Bytes,
}

/// How a credential is kept in the state directory.
#[derive(Serialize, Deserialize)]
struct Kept {
    worker_id: String,
    pinned: Option<String>,
    certificate_pem: String,
    key_pem: String,
    obtained_unix_secs: u64,
    lifetime_secs: u64,
    #[serde(default)]
    authority: Option<String>,
}

impl Application {
    /// Makes a new key.
    pub(super) fn new() -> Result<Self, NoWay> {
        let key = KeyPair::generate()?;
        let request = CertificateParams::default().serialize_request(&key)?;
        Ok(Self {
            signing_request: Bytes::copy_from_slice(request.der()),
            key,
        })
    }

    /// The key with the certificate that was issued for it.
    pub(super) fn granted(
        &self,
        worker_id: String,
        pinned: Option<Fingerprint>,
        issued: IssuedCertificate,
    ) -> Credential {
        Credential {
            worker_id,
            pinned,
            certificate_pem: issued.certificate_pem,
            key_pem: self.key.serialize_pem().into(),
            obtained: SystemTime::now(),
            taken: Instant::now(),
            lifetime: Duration::from_secs(issued.lifetime_secs),
            authority: Some(issued.authority).filter(|it| !it.is_empty()),
        }
    }
}

impl Credential {
    /// What is shown to the control plane.
    pub(super) fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate_pem, self.key_pem.expose_secret())
    }

    /// Whether it has expired, or is about to, as far as this clock knows.
    pub(super) fn is_over(&self, now: SystemTime) -> bool {
        self.age(now).is_some_and(|age| age >= self.lifetime)
    }

    /// `None`: the clock was set back since, so it may be of any age.
    fn age(&self, now: SystemTime) -> Option<Duration> {
        let age = now.duration_since(self.obtained).ok()?;
        Some(age.max(self.taken.elapsed()))
    }

    /// When it expires.
    pub(super) fn expires(&self) -> SystemTime {
        self.obtained + self.lifetime
    }

    /// How long to wait until it is renewed: some time before two thirds of its
    /// lifetime are over. `jitter`, from 0 to 1, spreads workers that started
    /// together. At once when nothing tells how old it is.
    pub(super) fn renewal(&self, now: SystemTime, jitter: f64) -> Duration {
        let share = 2.0 / 3.0 - 0.1 * jitter.clamp(0.0, 1.0);
        let age = self.age(now).unwrap_or(self.lifetime);
        self.lifetime.mul_f64(share).saturating_sub(age)
    }

    /// Whether it is from another authority than the one with this
    /// fingerprint.
    pub(super) fn is_from_another(&self, authority: &str) -> bool {
        self.authority.as_deref().is_some_and(|it| it != authority)
    }

    /// Whom to trust once another certificate was issued, from `authority`.
    /// Whoever trusted what this one is from trusts what that one is from.
    pub(super) fn pinned_after(
        &self,
        successor: Option<Fingerprint>,
        authority: &str,
    ) -> Option<Fingerprint> {
        let pinned = self.pinned?;
        let trusts_own = self.authority.as_ref() == Some(&pinned.to_string());
        match authority.parse() {
            Ok(newest) if trusts_own => Some(newest),
            _ => Some(successor.unwrap_or(pinned)),
        }
    }

    /// Its whole lifetime.
    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Reads what [`Credential::write`] has kept. `None`: nothing is there.
    pub(super) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let kept: Kept = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged: remove it and join anew", path.display()))?;
        Ok(Some(Self {
            worker_id: kept.worker_id,
            pinned: kept.pinned.and_then(|it| it.parse().ok()),
            certificate_pem: kept.certificate_pem,
            key_pem: kept.key_pem.into(),
            obtained: UNIX_EPOCH + Duration::from_secs(kept.obtained_unix_secs),
            taken: Instant::now(),
            lifetime: Duration::from_secs(kept.lifetime_secs),
            authority: kept.authority,
        }))
    }

    /// Keeps it in a file for the owner only, whole or not at all.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let obtained = self.obtained.duration_since(UNIX_EPOCH).unwrap_or_default();
        let kept = Kept {
            worker_id: self.worker_id.clone(),
            pinned: self.pinned.map(|it| it.to_string()),
            certificate_pem: self.certificate_pem.clone(),
            key_pem: self.key_pem.expose_secret().to_owned(),
            obtained_unix_secs: obtained.as_secs(),
            lifetime_secs: self.lifetime.as_secs(),
            authority: self.authority.clone(),
        };
        let json = serde_json::to_vec(&kept)?;
        replace_file(path, &json).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Not the request: it is of no use in a log.
impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Application")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn credential() -> Credential {
        let issued = IssuedCertificate {
            certificate_pem: "certificate".into(),
            lifetime_secs: 3_000,
            authority: "sha256:0a".into(),
        };
        let application = Application::new().unwrap();
        application.granted("worker-0".into(), None, issued)
    }

    #[test]
    fn what_is_kept_is_for_its_owner_only_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity.json");
        let credential = credential();

        credential.write(&path).unwrap();
        let read = Credential::read(&path).unwrap().unwrap();

        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            read.key_pem.expose_secret(),
            credential.key_pem.expose_secret()
        );
        assert_eq!(read.worker_id, "worker-0");
        assert!(read.is_from_another("sha256:0b") && !read.is_from_another("sha256:0a"));
        assert!(!format!("{credential:?}").contains("PRIVATE KEY"));
    }

    #[test]
    fn whoever_trusts_what_its_certificate_is_from_trusts_what_the_next_one_is_from() {
        let [own, next, brought]: [Fingerprint; 3] =
            ["0a", "0b", "0c"].map(|digits| digits.repeat(32).parse().unwrap());
        let with = |pinned| Credential {
            pinned: Some(pinned),
            authority: Some(own.to_string()),
            ..credential()
        };
        let after = |credential: Credential| credential.pinned_after(None, &next.to_string());

        assert_eq!(after(with(own)), Some(next));
        assert_eq!(after(with(brought)), Some(brought));
        assert_eq!(with(own).pinned_after(Some(next), ""), Some(next));
    }

    #[test]
    fn it_is_renewed_before_two_thirds_are_over_and_not_by_all_at_once() {
        let credential = credential();
        let at = |secs| credential.obtained + Duration::from_secs(secs);

        let near = |wait: Duration, secs| wait.abs_diff(Duration::from_secs(secs)).as_secs() < 60;
        assert!(near(credential.renewal(at(0), 0.0), 2_000));
        assert!(near(credential.renewal(at(0), 1.0), 1_700));
        assert_eq!(credential.renewal(at(2_500), 0.0), Duration::ZERO);
        assert!(!credential.is_over(at(2_999)) && credential.is_over(at(3_000)));
    }

    #[test]
    fn one_from_before_the_clock_was_set_back_is_renewed_at_once_and_not_given_up() {
        let credential = credential();
        let before = credential.obtained - Duration::from_secs(1);

        assert_eq!(credential.renewal(before, 0.0), Duration::ZERO);
        assert!(!credential.is_over(before));
    }

    #[test]
    fn a_clock_that_was_set_back_by_less_makes_none_younger() {
        let mut credential = credential();
        let hour = Duration::from_secs(60 * 60);
        credential.taken = credential.taken.checked_sub(hour).unwrap();

        assert!(credential.is_over(credential.obtained));
        assert_eq!(credential.renewal(credential.obtained, 0.0), Duration::ZERO);
    }
}
