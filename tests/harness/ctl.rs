//! metahubctl, as an admin runs it.

use std::path::{Path, PathBuf};

use crate::{
    control::Place,
    invocation::{Outcome, run_with_input},
    process::Process,
    program::ours,
};

/// metahubctl with the settings for one control plane.
#[derive(Clone, Debug)]
pub struct Ctl {
    url: String,
    token_file: PathBuf,
}

impl Ctl {
    /// Talks to the control plane at `place`, with its admin token.
    pub fn at(place: &Place) -> Self {
        Self {
            url: place.url(),
            token_file: place.admin_token_file(),
        }
    }

    /// The same with another token.
    pub fn with_token_file(self, token_file: &Path) -> Self {
        Self {
            token_file: token_file.to_owned(),
            ..self
        }
    }

    /// Runs it to its end.
    pub async fn run(&self, args: &[&str]) -> Outcome {
        self.run_with_input(args, "").await
    }

    /// Runs it with `input` on stdin.
    pub async fn run_with_input(&self, args: &[&str], input: &str) -> Outcome {
        let settings = [
            format!("--control={}", self.url),
            format!("--token-file={}", self.token_file.display()),
        ];
        let args = settings.into_iter().chain(args.iter().map(|&it| it.into()));
        run_with_input(&ours("metahubctl"), args, input).await
    }

    /// What it prints for programs.
    pub async fn json(&self, args: &[&str]) -> serde_json::Value {
        let text = self.run(&[args, &["-o", "json"]].concat()).await.text();
        serde_json::from_str(&text).expect("it prints JSON")
    }
}

/// Starts `audit tail --follow` at the control plane at `place`.
pub fn follow_audit(place: &Place) -> Process {
    let args = [
        format!("--control={}", place.url()),
        format!("--token-file={}", place.admin_token_file().display()),
        "audit".into(),
        "tail".into(),
        "--follow".into(),
    ];
    Process::start("follower", &ours("metahubctl"), args, place.dir())
}
