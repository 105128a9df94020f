//! Runs metahubctl inside the test, away from the settings of whoever runs it.

use std::path::Path;

use clap::Parser as _;
use metahub_cli::{Cli, exit_code};
use tempfile::TempDir;

/// One person's metahubctl.
#[derive(Debug)]
pub struct Metahubctl {
    home: TempDir,
    control: String,
}

/// What it printed, and whether it did what it was told.
#[derive(Debug)]
pub struct Said {
    is_done: bool,
    out: String,
    notes: String,
}

impl Metahubctl {
    /// One for the control plane at `control`, without any token.
    pub fn new(control: &str) -> Self {
        Self {
            home: TempDir::new().expect("a temporary directory"),
            control: control.into(),
        }
    }

    /// Where it keeps what is the person's.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs one command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Said {
        let home = self.home.path().display();
        let globals = [
            "metahubctl".to_owned(),
            format!("--control={}", self.control),
            format!("--xdg-config-home={home}"),
        ];
        let arguments = arguments.iter().map(|it| (*it).to_owned());
        let cli = Cli::try_parse_from(globals.into_iter().chain(arguments));
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let result = metahub_cli::run(cli.expect("a command"), &mut out, &mut notes).await;
        let is_done = result.is_ok();
        exit_code(result, &mut notes);
        Said {
            is_done,
            out: String::from_utf8_lossy(&out).into_owned(),
            notes: String::from_utf8_lossy(&notes).into_owned(),
        }
    }

    /// The same, with the token in a file.
    pub async fn run_with(&self, token: &str, arguments: &[&str]) -> Said {
        let path = self.home.path().join("token");
        std::fs::write(&path, token).expect("there is room");
        let flag = format!("--token-file={}", path.display());
        let arguments: Vec<&str> = [flag.as_str()]
            .into_iter()
            .chain(arguments.to_vec())
            .collect();
        self.run(&arguments).await
    }
}

impl Said {
    /// What it printed, for a command that must do as it is told.
    #[track_caller]
    pub fn text(&self) -> &str {
        assert!(self.is_done, "{}", self.notes);
        &self.out
    }

    /// What it told people, for a command that must fail.
    #[track_caller]
    pub fn complaint(&self) -> &str {
        assert!(!self.is_done, "{}", self.out);
        &self.notes
    }

    /// Whether it failed and told people this.
    pub fn failed_with(&self, text: &str) -> bool {
        !self.is_done && self.notes.contains(text)
    }

    /// What it printed for programs.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.text()).expect("JSON")
    }
}
