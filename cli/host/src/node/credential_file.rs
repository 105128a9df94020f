//! The host's credential file, read again when it changes.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use hickory_resolver::TokioResolver;
use tracing::{info, warn};

use super::{
    Config,
    balancer::{Balancer, error_chain},
    dialer::resolver,
};
use crate::credential::HostCredential;

/// The credential file, with a balancer client for its current content.
pub(super) struct CredentialFile {
    path: PathBuf,
    plain_http: bool,
    resolver: TokioResolver,
    state: Mutex<State>,
}

struct State {
    stamp: Option<Stamp>,
    balancer: Arc<Balancer>,
}

/// The file's identity: it changes when the file is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl CredentialFile {
    /// Reads the credential file from the settings.
    pub(super) fn open(config: &Config) -> anyhow::Result<Self> {
        let (path, plain_http) = (config.credential.clone(), config.plain_http);
        let resolver = resolver().context("cannot set up name resolution")?;
        let stamp = stamp(&path).ok();
        let credential = HostCredential::read(&path)?;
        let balancer = Balancer::new(&credential, plain_http, resolver.clone())
            .with_context(|| format!("{} cannot be used", path.display()))?;
        let HostCredential {
            login,
            machine_type,
            ..
        } = &credential;
        let registry = balancer.origin();
        info!(
            login,
            machine_type, registry, "pulls from {registry} as {login}"
        );
        let balancer = Arc::new(balancer);
        Ok(Self {
            path,
            plain_http,
            resolver,
            state: Mutex::new(State { stamp, balancer }),
        })
    }

    /// The balancer for the file's current content, or for its last valid one.
    pub(super) fn balancer(&self) -> Arc<Balancer> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&self.path).ok();
        if now != state.stamp {
            // Each version is read once, valid or not.
            state.stamp = now;
            match self.read() {
                Ok(balancer) => state.balancer = Arc::new(balancer),
                Err(error) => {
                    let error = error_chain(error.as_ref());
                    warn!(error, "goes on with the former credential");
                }
            }
        }
        state.balancer.clone()
    }

    fn read(&self) -> anyhow::Result<Balancer> {
        let credential = HostCredential::read(&self.path)?;
        let balancer = Balancer::new(&credential, self.plain_http, self.resolver.clone())?;
        let (login, registry) = (&credential.login, balancer.origin());
        info!(login, registry, "took the changed credential of {login}");
        Ok(balancer)
    }
}

fn stamp(path: &std::path::Path) -> io::Result<Stamp> {
    let file = fs::metadata(path)?;
    Ok(Stamp {
        inode: file.ino(),
        size: file.size(),
        changed: (file.ctime(), file.ctime_nsec()),
    })
}
