//! TLS on the registry API's port: the server certificate and the authorities
//! of client certificates. Both reload when a file changes.
//!
//! Open connections keep their configuration. Unusable files change nothing and
//! cause one warning.

mod files;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{task::spawn_blocking, time};
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::files::{Files, Stamp};
use crate::TlsConfig;

/// The interval of file reads. A read finds every change: of a file, of a link
/// to it, and of a link to its directory, as Kubernetes swaps them.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The TLS configuration of the port, reloaded from files.
#[derive(Debug)]
pub(crate) struct Tls {
    files: Files,
    taken: ArcSwap<Taken>,
}

/// The configuration, with the stamp of the files it was built from.
#[derive(Debug)]
struct Taken {
    stamp: Stamp,
    config: Arc<ServerConfig>,
}

/// The last error about the files, and the number of reads with it in a row.
#[derive(Debug, Default)]
struct Fault {
    text: String,
    looks: u32,
}

impl Tls {
    /// Reads the files that the settings name. `None`: they name none.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be used.
    pub(crate) fn open(config: &TlsConfig) -> anyhow::Result<Option<Self>> {
        let Some(files) = Files::of(config) else {
            return Ok(None);
        };
        let taken = ArcSwap::from_pointee(Taken::read(&files)?);
        Ok(Some(Self { files, taken }))
    }

    /// The server configuration for the next handshake.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.taken.load().config.clone()
    }

    /// Reloads the files until `shutdown` is cancelled.
    pub(crate) async fn keep_fresh(self: Arc<Self>, shutdown: CancellationToken) {
        let (mut fault, mut ticks) = (Fault::default(), time::interval(LOOK_INTERVAL));
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let tls = self.clone();
            let looked = spawn_blocking(move || tls.look()).await;
            match looked.unwrap_or_else(|error| Err(error.into())) {
                Ok(()) => fault = Fault::default(),
                Err(error) if fault.is_to_be_told(format!("{error:#}")) => {
                    warn!("the former certificate is still served: {error:#}");
                }
                Err(_) => {}
            }
        }
    }

    /// Reloads the files if their contents changed and are usable.
    pub(super) fn look(&self) -> anyhow::Result<()> {
        let contents = self.files.read()?;
        if contents.stamp() == self.taken.load().stamp {
            return Ok(());
        }
        self.taken.store(Arc::new(Taken {
            stamp: contents.stamp(),
            config: self.files.server_config(&contents)?,
        }));
        info!("took up a new certificate from {}", self.files);
        Ok(())
    }
}

impl Taken {
    fn read(files: &Files) -> anyhow::Result<Self> {
        let contents = files.read()?;
        Ok(Self {
            stamp: contents.stamp(),
            config: files.server_config(&contents)?,
        })
    }
}

impl Fault {
    /// Counts an error. Returns true at the second read in a row with it: files
    /// are not all replaced at the same time.
    fn is_to_be_told(&mut self, text: String) -> bool {
        match self.text == text {
            true => self.looks = self.looks.saturating_add(1),
            false => *self = Self { text, looks: 1 },
        }
        self.looks == 2
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;

    /// Writes a new certificate and its key for `localhost` into `dir`.
    pub(in crate::server) fn write_pair(dir: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("tls.crt"), certificate.pem()).unwrap();
        fs::write(dir.join("tls.key"), key.serialize_pem()).unwrap();
    }

    pub(in crate::server) fn config_in(dir: &Path) -> TlsConfig {
        TlsConfig {
            tls_cert: Some(dir.join("tls.crt")),
            tls_key: Some(dir.join("tls.key")),
            tls_client_ca: None,
        }
    }

    fn served() -> (TempDir, Tls) {
        let dir = tempfile::tempdir().unwrap();
        write_pair(dir.path());
        let tls = Tls::open(&config_in(dir.path())).unwrap().unwrap();
        (dir, tls)
    }

    fn is_new(tls: &Tls, before: &Arc<ServerConfig>) -> bool {
        !Arc::ptr_eq(before, &tls.config())
    }

    #[test]
    fn a_replaced_pair_is_taken_up_and_an_unchanged_one_is_not_read_anew() {
        let (dir, tls) = served();
        let before = tls.config();

        tls.look().unwrap();
        assert!(!is_new(&tls, &before));

        write_pair(dir.path());
        tls.look().unwrap();
        assert!(is_new(&tls, &before));
    }

    #[test]
    fn a_pair_behind_a_swapped_link_is_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        write_pair(&at("..1"));
        symlink("..1", at("..data")).unwrap();
        let tls = Tls::open(&config_in(&at("..data"))).unwrap().unwrap();
        let before = tls.config();

        write_pair(&at("..2"));
        symlink("..2", at("..next")).unwrap();
        fs::rename(at("..next"), at("..data")).unwrap();
        tls.look().unwrap();

        assert!(is_new(&tls, &before));
    }

    #[test]
    fn files_that_cannot_be_used_leave_what_is_served_until_they_are_good_again() {
        let (dir, tls) = served();
        let before = tls.config();
        let key = dir.path().join("tls.key");
        let good = fs::read(&key).unwrap();
        let another = KeyPair::generate().unwrap().serialize_pem();

        for broken in ["", "no key", another.as_str()] {
            fs::write(&key, broken).unwrap();
            let error = format!("{:#}", tls.look().unwrap_err());
            assert!(error.contains("tls.key"), "{error}");
        }
        fs::remove_file(&key).unwrap();
        assert!(tls.look().is_err());
        assert!(!is_new(&tls, &before));

        fs::write(&key, good).unwrap();
        assert!(tls.look().is_ok());
    }

    #[test]
    fn settings_that_cannot_be_used_say_which_file() {
        let dir = tempfile::tempdir().unwrap();
        write_pair(dir.path());
        let mut config = config_in(dir.path());
        config.tls_client_ca = Some(dir.path().join("tls.key"));

        let error = format!("{:#}", Tls::open(&config).unwrap_err());

        assert!(error.contains("tls.key holds no certificate"), "{error}");
    }

    #[test]
    fn a_fault_is_told_once_and_not_while_files_are_being_replaced() {
        let mut fault = Fault::default();

        let mut told = |text: &str| fault.is_to_be_told(text.to_owned());

        assert_eq!(["a", "a", "a"].map(&mut told), [false, true, false]);
        assert_eq!(["b", "a", "a"].map(&mut told), [false, false, true]);
    }
}
