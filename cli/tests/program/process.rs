//! Runs metahubctl, away from the settings of whoever runs the tests.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use tempfile::TempDir;

/// The program in an empty directory, without settings and environment.
pub(crate) fn metahubctl(home: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metahubctl"));
    command
        .args(arguments)
        .current_dir(home.path())
        .env_clear()
        .env("HOME", home.path())
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(home: &TempDir, arguments: &[&str]) -> Output {
    metahubctl(home, arguments).output().expect("it starts")
}

/// What it printed, for a run that must succeed.
#[track_caller]
pub(crate) fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", told(output));
    String::from_utf8(output.stdout.clone()).expect("it prints text")
}

/// What it told people on stderr.
pub(crate) fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// One that runs until it is stopped. It ends with the test at the latest.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(home: &TempDir, arguments: &[&str]) -> Self {
        let mut child = metahubctl(home, arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self { child, stdout }
    }

    /// What follows `label` on the first line that starts with it.
    pub(crate) fn value(&mut self, label: &str) -> String {
        let mut line = String::new();
        while self.stdout.read_line(&mut line).expect("it prints text") > 0 {
            if let Some(value) = line.trim().strip_prefix(label) {
                return value.trim().to_owned();
            }
            line.clear();
        }
        panic!("it ended without saying `{label}`");
    }

    /// Sends SIGTERM, and returns the exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill is there").success());
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
