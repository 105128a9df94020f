//! The static mode: the whole policy is a file, read again when it changes.
//!
//! A file that cannot be used changes nothing: the policy stays as it was, and
//! the log says what to correct.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, anyhow};
use metahub_control::{Catalog, Declaration, Error, Revision};
use tokio::{fs, task::spawn_blocking, time};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::policy_file::PolicyFiles;

/// How often the file is read. Reading beats watching: a file that is replaced
/// through links, as orchestrators do, is seen too.
const INTERVAL: Duration = Duration::from_secs(1);

/// A policy in a file, and what was last made of it.
#[derive(Debug)]
pub(super) struct PolicyFile {
    path: PathBuf,
    catalog: Catalog,
    seen: Option<String>,
    /// What it declared, when it names further files, which may change alone.
    declared: Option<Declaration>,
}

impl PolicyFile {
    pub(super) fn new(path: PathBuf, catalog: Catalog) -> Self {
        Self {
            path,
            catalog,
            seen: None,
            declared: None,
        }
    }

    /// Makes the policy what the file says, if the file changed since the last
    /// call, or one that it names. Says the revision then.
    pub(super) async fn refresh(&mut self) -> anyhow::Result<Option<Revision>> {
        let text = fs::read_to_string(&self.path).await;
        let text = text.with_context(|| format!("cannot read {}", self.path.display()))?;
        if self.seen.as_ref() == Some(&text) && self.declared.is_none() {
            return Ok(None);
        }
        self.seen = Some(text);
        let path = self.path.clone();
        let files = spawn_blocking(move || PolicyFiles::read(&[path])).await??;
        let declaration = files.declaration().clone();
        if self.declared.as_ref() == Some(&declaration) {
            return Ok(None);
        }
        self.declared = files.names_files().then(|| declaration.clone());
        match self.catalog.apply(declaration).await {
            Ok(revision) => Ok(Some(revision)),
            Err(Error::InvalidField { field, reason }) => Err(files.fault(&field, &reason)),
            Err(error) => {
                Err(anyhow!(error).context(format!("cannot apply {}", self.path.display())))
            }
        }
    }

    /// Follows the file until `shutdown` is cancelled.
    pub(super) async fn follow(mut self, shutdown: CancellationToken) {
        let mut last_failure = None;
        let mut ticks = time::interval(INTERVAL);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.refresh().await {
                Ok(None) => {}
                Ok(Some(revision)) => {
                    info!(policy.revision = %revision, "took {}", self.path.display());
                    last_failure = None;
                }
                Err(error) => {
                    let failure = format!("{error:#}");
                    if last_failure.as_ref() != Some(&failure) {
                        warn!("the policy stays as it was: {failure}");
                    }
                    last_failure = Some(failure);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::planes::{ANY_PORT, ControlPlace, Planes, State};

    const GOOD: &str = "
users:
  - name: qnib
    types:
      - name: type1
        secret: not-so-secret-not-so-secret
        features: [cpu:broadwell]
";

    async fn policy_file() -> (TempDir, PolicyFile) {
        let dir = tempfile::tempdir().unwrap();
        let place = ControlPlace {
            grpc_addr: ANY_PORT,
            data_dir: dir.path().join("data"),
            state: State::InMemory,
            insecure: false,
            registry_url: None,
        };
        let planes = Planes::start(&place, CancellationToken::new())
            .await
            .unwrap();
        let file = PolicyFile::new(dir.path().join("policy.yaml"), planes.catalog());
        (dir, file)
    }

    async fn refresh_with(file: &mut PolicyFile, text: &str) -> anyhow::Result<Option<Revision>> {
        std::fs::write(&file.path, text).unwrap();
        file.refresh().await
    }

    #[tokio::test]
    async fn a_changed_file_makes_a_new_revision() {
        let (_dir, mut file) = policy_file().await;
        let first = refresh_with(&mut file, GOOD).await.unwrap();

        let same = refresh_with(&mut file, GOOD).await.unwrap();
        let other = GOOD.replace("broadwell", "skylake");
        let second = refresh_with(&mut file, &other).await.unwrap();

        assert_eq!(same, None);
        assert!(first.is_some() && second.is_some() && first != second);
    }

    #[tokio::test]
    async fn a_bad_file_leaves_the_policy_as_it_was() {
        let (_dir, mut file) = policy_file().await;
        let first = refresh_with(&mut file, GOOD).await.unwrap();

        let error = refresh_with(&mut file, &GOOD.replace("features", "feature"))
            .await
            .unwrap_err();

        assert!(format!("{error:#}").contains("feature"), "{error:#}");
        assert_eq!(Some(file.catalog.revision()), first);
    }
}
