//! Keeps sign-ins in one file, by control plane. Mode 0600.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use tokio::task::spawn_blocking;
use url::Url;

/// Where one signs in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    /// Authorities that are trusted for the issuer besides the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issuer_ca_pem: Option<String>,
}

/// What is kept of a sign-in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    #[serde(flatten)]
    pub(crate) place: Place,
    #[serde(serialize_with = "exposed")]
    pub(crate) id_token: SecretString,
    #[serde(default, serialize_with = "some_exposed")]
    pub(crate) refresh_token: Option<SecretString>,
    /// The control plane may ask the issuer's userinfo endpoint with it.
    #[serde(default, serialize_with = "some_exposed")]
    pub(crate) access_token: Option<SecretString>,
    /// When that ends, as far as the issuer said.
    #[serde(default)]
    pub(crate) access_until: Option<SystemTime>,
}

/// All sign-ins of whoever runs metahubctl.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    directory: PathBuf,
}

type Kept = BTreeMap<String, Session>;

impl Sessions {
    /// Those in this directory, which need not be there yet.
    pub(crate) fn within(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// The file that holds them.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join("sign-ins.json")
    }

    /// The sign-in at the control plane at `control`.
    pub(crate) fn find(&self, control: &Url) -> anyhow::Result<Option<Session>> {
        Ok(self.read()?.remove(control.as_str()))
    }

    /// Keeps a sign-in. Hold the lock.
    pub(crate) fn put(&self, control: &Url, session: &Session) -> anyhow::Result<()> {
        let mut kept = self.read()?;
        kept.insert(control.to_string(), session.clone());
        self.write(&kept)
    }

    /// Forgets a sign-in. Hold the lock.
    pub(crate) fn remove(&self, control: &Url) -> anyhow::Result<()> {
        let mut kept = self.read()?;
        kept.remove(control.as_str());
        self.write(&kept)
    }

    /// Keeps other programs from changing the file, until it is dropped.
    pub(crate) async fn lock(&self) -> anyhow::Result<File> {
        self.make_directory()?;
        let path = self.directory.join("sign-ins.lock");
        let wrong = format!("cannot lock {}", path.display());
        let locking = spawn_blocking(move || {
            let file = private().create(true).truncate(false).open(path)?;
            file.lock()?;
            Ok::<_, std::io::Error>(file)
        });
        locking.await?.context(wrong)
    }

    fn read(&self) -> anyhow::Result<Kept> {
        let path = self.path();
        let wrong = || format!("cannot read the sign-ins in {}", path.display());
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).with_context(wrong),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Kept::new()),
            Err(error) => Err(error).with_context(wrong),
        }
    }

    /// Whole and private from the moment that it has its name.
    fn write(&self, kept: &Kept) -> anyhow::Result<()> {
        self.make_directory()?;
        let path = self.path();
        let wrong = || format!("cannot write the sign-ins to {}", path.display());
        let unfinished = self.directory.join("sign-ins.json.unfinished");
        if unfinished.exists() {
            fs::remove_file(&unfinished).with_context(wrong)?;
        }
        let text = serde_json::to_vec_pretty(kept).with_context(wrong)?;
        let mut file = private()
            .create_new(true)
            .open(&unfinished)
            .with_context(wrong)?;
        file.write_all(&text).with_context(wrong)?;
        file.sync_all().with_context(wrong)?;
        fs::rename(&unfinished, &path).with_context(wrong)
    }

    fn make_directory(&self) -> anyhow::Result<()> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory);
        made.with_context(|| format!("cannot make {}", self.directory.display()))
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

fn some_exposed<S: Serializer>(
    secret: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_some(secret.expose_secret()),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn session(token: &str) -> Session {
        Session {
            place: Place {
                issuer: "https://id.example.com".into(),
                client_id: "metahubctl".into(),
                issuer_ca_pem: None,
            },
            id_token: token.into(),
            refresh_token: None,
            access_token: None,
            access_until: None,
        }
    }

    #[test]
    fn a_sign_in_is_kept_for_its_control_plane_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions::within(&dir.path().join("metahub"));
        let [one, other]: [Url; 2] =
            ["https://a.example", "https://b.example"].map(|it| it.parse().unwrap());

        sessions.put(&one, &session("secret")).unwrap();

        let found = sessions.find(&one).unwrap().unwrap();
        assert_eq!(found.id_token.expose_secret(), "secret");
        assert!(sessions.find(&other).unwrap().is_none());
        let mode = fs::metadata(sessions.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_removed_sign_in_is_gone_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions::within(dir.path());
        let [one, other]: [Url; 2] =
            ["https://a.example", "https://b.example"].map(|it| it.parse().unwrap());
        sessions.put(&one, &session("a")).unwrap();
        sessions.put(&other, &session("b")).unwrap();

        sessions.remove(&one).unwrap();

        assert!(sessions.find(&one).unwrap().is_none());
        assert!(sessions.find(&other).unwrap().is_some());
    }
}
