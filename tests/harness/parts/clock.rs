//! A clock for one program alone, which the test sets: what jumps is the time
//! of day, as when an operator or NTP sets it. Timers go on.
//!
//! libfaketime gives it, which reaches programs that are linked dynamically
//! only. `tests/run` builds those beside the static ones.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use crate::{process::Process, program::ours};

/// What libfaketime leaves when its program is killed, before a process id.
const LEFT_BEHIND: [&str; 2] = ["faketime_shm_", "sem.faketime_sem_"];
const SHARED_MEMORY: &str = "/dev/shm";

/// A clock, right until it is set.
#[derive(Debug)]
pub struct Clock {
    dir: TempDir,
}

impl Clock {
    /// A clock that is right.
    pub fn right() -> Self {
        sweep();
        let dir = TempDir::new().expect("a temporary directory");
        let clock = Self { dir };
        clock.set_right();
        clock
    }

    /// Sets it ahead of the right time.
    pub fn set_ahead(&self, by: Duration) {
        self.set('+', by);
    }

    /// Sets it behind the right time.
    pub fn set_behind(&self, by: Duration) {
        self.set('-', by);
    }

    /// Sets it right.
    pub fn set_right(&self) {
        self.set('+', Duration::ZERO);
    }

    fn set(&self, sign: char, by: Duration) {
        let next = self.dir.path().join("next");
        let written = fs::write(&next, format!("{sign}{}\n", by.as_secs()));
        written
            .and_then(|()| fs::rename(next, self.file()))
            .expect("a clock can be set");
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("clock")
    }

    /// Starts a program of this workspace that goes by this clock.
    pub fn start(&self, program: &str, args: Vec<String>, dir: &Path) -> Process {
        let mut all = vec![
            format!("LD_PRELOAD={}", library().display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file().display()),
            "FAKETIME_NO_CACHE=1".into(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
            dynamic(program).display().to_string(),
        ];
        all.extend(args);
        Process::start_careless(program, Path::new("env"), all, dir)
    }
}

/// Where the Debian package has it.
fn library() -> PathBuf {
    let machine = format!("{}-linux-gnu", env::consts::ARCH);
    let path = Path::new("/usr/lib").join(machine);
    let path = path.join("faketime/libfaketimeMT.so.1");
    assert!(
        path.is_file(),
        "this test needs {}: install the Debian package libfaketime",
        path.display()
    );
    path
}

/// A program of this workspace that is linked dynamically.
fn dynamic(name: &str) -> PathBuf {
    let dynamic = ours(name).with_file_name("dynamic").join(name);
    assert!(
        dynamic.is_file(),
        "this test needs {}: `tests/run` builds it",
        dynamic.display()
    );
    dynamic
}

/// Removes what programs that were killed have left.
fn sweep() {
    let entries = fs::read_dir(SHARED_MEMORY).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let pid = LEFT_BEHIND.iter().find_map(|it| name.strip_prefix(it));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
