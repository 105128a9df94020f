//! One run of an outside program to its end.

use std::{
    ffi::OsStr,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// How long a program may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A program's end and all that it wrote.
#[derive(Clone, Debug)]
pub struct Outcome {
    command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout, byte for byte.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Outcome {
    /// What it wrote to stdout, for an outcome that must be good.
    #[track_caller]
    pub fn text(&self) -> String {
        assert!(
            self.status.success(),
            "{} failed\n{}",
            self.command,
            self.all()
        );
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What it wrote at all, for an outcome that must be bad.
    #[track_caller]
    pub fn complaint(&self) -> String {
        assert!(
            !self.status.success(),
            "{} did not fail\n{}",
            self.command,
            self.all()
        );
        self.all()
    }

    fn all(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.stdout), self.stderr)
    }
}

/// Runs `program` with `args` and nothing on stdin.
pub async fn run<I>(program: &Path, args: I) -> Outcome
where
    I: IntoIterator<Item: AsRef<OsStr>>,
{
    run_with_input(program, args, "").await
}

/// Runs `program` with `args` and `input` on stdin. Fails when it takes longer
/// than two minutes.
pub async fn run_with_input<I>(program: &Path, args: I, input: &str) -> Outcome
where
    I: IntoIterator<Item: AsRef<OsStr>>,
{
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let shown = format!("{:?}", command.as_std());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("{shown} does not start: {e}"));
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = timeout(LIMIT, child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("{shown} took longer than {LIMIT:?}"))
        .expect("a child can be waited for");
    Outcome {
        command: shown,
        status: output.status,
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
