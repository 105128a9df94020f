//! Who pulls: a login from the command line, or the one that `docker login`
//! has left.

use std::{
    collections::HashMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::SecretString;
use serde::Deserialize;

use crate::{failure::Failure, secret};

/// The flags that say who pulls.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct LoginArguments {
    /// The login to fetch images with [default: that of `docker login`].
    #[arg(long, value_name = "LOGIN", requires = "password_file")]
    login: Option<String>,

    /// The file that holds the login's secret; `-` is stdin.
    #[arg(long, value_name = "FILE", requires = "login")]
    password_file: Option<PathBuf>,
}

/// A login and its secret.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) password: SecretString,
}

/// What docker keeps of `docker login`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    auths: HashMap<String, Entry>,
    creds_store: Option<String>,
    cred_helpers: HashMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    /// `name:password` in base64.
    auth: Option<String>,
}

impl LoginArguments {
    /// The account at the registry `host`. `docker` is docker's directory of
    /// settings.
    pub(super) fn account(&self, host: &str, docker: Option<&Path>) -> anyhow::Result<Account> {
        if let (Some(name), Some(file)) = (&self.login, &self.password_file) {
            return Ok(Account {
                name: name.clone(),
                password: secret::read(file)?,
            });
        }
        let Some(path) = docker.map(|docker| docker.join("config.json")) else {
            return Err(no_login(host, "there are no settings of docker"));
        };
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(no_login(
                    host,
                    &format!("{} does not exist", path.display()),
                ));
            }
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let config: DockerConfig = serde_json::from_str(&text)
            .with_context(|| format!("{} cannot be understood", path.display()))?;
        let found = config.account(host);
        found.with_context(|| format!("cannot use {}", path.display()))
    }
}

impl DockerConfig {
    fn account(&self, host: &str) -> anyhow::Result<Account> {
        let entry = self.auths.iter().find(|(key, _)| host_of(key) == host);
        let auth = entry.and_then(|(_, entry)| entry.auth.as_deref());
        if let Some(auth) = auth.filter(|auth| !auth.is_empty()) {
            return decode(auth).context("docker's credentials cannot be decoded");
        }
        let helpers = self.cred_helpers.iter();
        let mut helpers = helpers.filter(|(key, _)| host_of(key) == host);
        let helper = helpers.next().map(|(_, helper)| helper);
        Err(match helper.or(self.creds_store.as_ref()) {
            Some(helper) => no_login(
                host,
                &format!(
                    "docker keeps its credentials in the helper `{helper}`, which is not asked"
                ),
            ),
            None => no_login(host, "docker is not logged in there"),
        })
    }
}

/// `https://hub.example/v1/` and `hub.example` are the same registry.
fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

fn decode(auth: &str) -> anyhow::Result<Account> {
    let text = String::from_utf8(STANDARD.decode(auth)?)?;
    let (name, password) = text.split_once(':').context("they hold no colon")?;
    // docker pads them.
    let password = password.trim_matches('\0');
    Ok(Account {
        name: name.into(),
        password: password.into(),
    })
}

fn no_login(registry: &str, why: &str) -> anyhow::Error {
    let failure = Failure::NoLogin {
        registry: registry.into(),
        why: why.into(),
    };
    failure.into()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use serde_json::{Value, json};

    use super::*;

    fn account(config: &Value, host: &str) -> anyhow::Result<Account> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        LoginArguments::default().account(host, Some(dir.path()))
    }

    fn logged_in(key: &str) -> Value {
        json!({"auths": {key: {"auth": STANDARD.encode("qnib-type1:secret:x")}}})
    }

    #[test]
    fn the_login_of_docker_is_found_by_the_registrys_host() {
        for key in ["hub.example:5000", "https://hub.example:5000/v1/"] {
            let account = account(&logged_in(key), "hub.example:5000").unwrap();

            assert_eq!(account.name, "qnib-type1");
            assert_eq!(account.password.expose_secret(), "secret:x");
        }
        assert!(account(&logged_in("hub.example"), "hub.example:5000").is_err());
    }

    #[test]
    fn a_credential_helper_is_named() {
        let config = json!({"auths": {"hub.example": {}}, "credsStore": "desktop"});

        let error = account(&config, "hub.example").unwrap_err();

        assert!(format!("{error:#}").contains("`desktop`"), "{error:#}");
    }

    #[test]
    fn without_settings_of_docker_it_says_so() {
        let dir = tempfile::tempdir().unwrap();

        let found = LoginArguments::default().account("hub.example", Some(dir.path()));

        assert!(found.unwrap_err().to_string().contains("hub.example"));
    }
}
