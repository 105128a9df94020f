//! An outside program that runs until it is dropped.
//!
//! Each has a process group of its own, writes to a log file, and ends with the
//! test, whatever becomes of the test: by [`Drop`], or by the kernel when the
//! test's thread is gone.

use std::{
    fmt::Write as _,
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::program::ours;

/// How long a program may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(15);
/// How many lines of a log are shown when a test fails.
const TAIL: usize = 40;
/// How much of each line is shown.
const WIDTH: usize = 240;

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Whether it cleans up after itself when it is asked to end.
    cleans_up: bool,
}

impl Process {
    /// Starts `program` with `args`; its output goes to `<name>.log` in `dir`.
    pub fn start<I>(name: &str, program: &Path, args: I, dir: &Path) -> Self
    where
        I: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
    {
        let log = dir.join(format!("{name}.log"));
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("the log can be written");
        let err = out.try_clone().expect("the log can be opened twice");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        Self {
            name: name.into(),
            child,
            log,
            cleans_up: true,
        }
    }

    /// Starts a program of this workspace.
    pub(crate) fn start_ours<I>(name: &str, args: I, dir: &Path) -> Self
    where
        I: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
    {
        Self::start_careless(name, &ours(name), args, dir)
    }

    /// Starts one that leaves nothing behind, so that it can be killed when the
    /// test is over.
    pub(crate) fn start_careless<I>(name: &str, program: &Path, args: I, dir: &Path) -> Self
    where
        I: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
    {
        let mut process = Self::start(name, program, args, dir);
        process.cleans_up = false;
        process
    }

    /// The process id of the program, which leads its process group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How much memory the program has, in MiB, as proc(5) tells.
    pub fn rss_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the program runs");
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
        let kib = line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("a program has memory") / 1024
    }

    /// Whether the program has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether the program has a TCP connection from this port of its own, as
    /// proc(5) tells.
    pub fn has_port(&self, port: u16) -> bool {
        let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let local = format!(":{port:04X}");
        // Ports are the same at several addresses: more than one row may fit.
        let sockets: Vec<PathBuf> = table
            .lines()
            .map(|row| row.split_whitespace().collect::<Vec<_>>())
            .filter(|row| row.len() > 9 && row[1].ends_with(&local))
            .map(|row| PathBuf::from(format!("socket:[{}]", row[9])))
            .collect();
        let files = fs::read_dir(format!("/proc/{}/fd", self.pid()));
        files
            .into_iter()
            .flatten()
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|it| sockets.contains(&it)))
    }

    /// All that the program has written.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Sends SIGTERM to the program's group.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Stops the program's group where it is, until it goes on.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets the program's group go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Kills the program's group, and waits for the program.
    pub fn kill(&mut self) {
        self.signal("KILL");
        let _ = self.child.wait();
    }

    /// Sends SIGTERM and waits; kills what does not end by itself.
    fn stop(&mut self) {
        if self.is_running() {
            self.terminate();
        }
        let start = Instant::now();
        while self.is_running() && start.elapsed() < GRACE {
            thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }

    fn signal(&self, signal: &str) {
        let group = format!("-{}", self.pid());
        let _ = Command::new("kill")
            .args(["-s", signal, "--", &group])
            .stderr(Stdio::null())
            .status();
    }

    /// The end of the log, for people.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let mut text = format!("--- the end of {}'s log\n", self.name);
        for line in &lines[lines.len().saturating_sub(TAIL)..] {
            let line: String = line.chars().take(WIDTH).collect();
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

impl Drop for Process {
    #[expect(
        clippy::print_stderr,
        reason = "a failed test shows what its programs said"
    )]
    fn drop(&mut self) {
        if self.cleans_up {
            self.stop();
        } else {
            self.kill();
        }
        if thread::panicking() {
            eprint!("{}", self.tail());
        }
    }
}
