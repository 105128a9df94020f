//! Hosts that join: runs metahubctl as on each of them.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use crate::{
    admin::Login,
    control::Place,
    ctl::Ctl,
    invocation::{Outcome, run},
    program::ours,
};

/// The hosts of one site, each with its own credential file.
#[derive(Debug)]
pub struct JoiningHosts {
    control: String,
    registry: String,
    dir: TempDir,
}

impl JoiningHosts {
    /// Hosts that join at `control` with `token` and pull from `registry`.
    pub fn new(control: &Place, registry: &str, token: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        fs::write(dir.path().join("token"), token).expect("it can be written");
        Self {
            control: control.url(),
            registry: registry.to_owned(),
            dir,
        }
    }

    /// Hosts with a new token, which the admin creates with `flags`.
    pub async fn by_new_token(control: &Place, registry: &str, flags: &[&str]) -> Self {
        let create = ["host", "token", "create", "--user=qnib"];
        let created = Ctl::at(control).json(&[&create[..], flags].concat()).await;
        let token = created["secret"].as_str().expect("it has a secret");
        Self::new(control, registry, token)
    }

    /// Runs `host login` on the host `id` with the CPU `cpu`.
    pub async fn login(&self, id: &str, cpu: &str, more: &[&str]) -> Outcome {
        let args = [
            "host".to_owned(),
            "login".to_owned(),
            format!("--control={}", self.control),
            format!("--token-file={}", self.dir.path().join("token").display()),
            format!("--registry={}", self.registry),
            format!("--host-id={id}"),
            format!("--feature=cpu:{cpu}"),
            format!("--credential={}", self.credential_file(id).display()),
        ];
        let more = more.iter().map(|&it| it.to_owned());
        run(&ours("metahubctl"), args.into_iter().chain(more)).await
    }

    /// Runs `host report` on the host `id`.
    pub async fn report(&self, id: &str) -> Outcome {
        let file = format!("--credential={}", self.credential_file(id).display());
        run(&ours("metahubctl"), ["host", "report", &file]).await
    }

    /// The credential file of the host `id`.
    pub fn credential_file(&self, id: &str) -> PathBuf {
        self.dir.path().join(format!("{id}.json"))
    }

    /// The login of the host `id`.
    pub fn login_of(&self, id: &str) -> Login {
        let text = fs::read(self.credential_file(id)).expect("the host has a credential");
        let credential: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
        let text = |key: &str| credential[key].as_str().expect("it is there").to_owned();
        Login {
            name: text("login"),
            secret: text("secret"),
        }
    }
}
