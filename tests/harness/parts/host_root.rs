//! The files of a host: this machine's `/etc` with a test's files over it.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::invocation::{Outcome, run};

/// Mounts `$1/etc` over `/etc`, only for this process and its children. Their
/// writes go to `$1/upper`.
const ENTER: &str = "mkdir -p $1/upper $1/work && \
    mount -t overlay overlay -o \"lowerdir=$1/etc:/etc,upperdir=$1/upper,workdir=$1/work\" /etc && \
    shift && exec \"$@\"";

/// A directory with the files that differ from this machine's.
#[derive(Debug)]
pub struct HostRoot {
    dir: TempDir,
}

impl HostRoot {
    /// A host that trusts only this authority (PEM).
    pub fn trusting(ca_pem: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let root = Self { dir };
        for name in ["etc", "root"] {
            std::fs::create_dir(root.path().join(name)).expect("it can be made");
        }
        std::fs::write(root.trusted(), ca_pem).expect("it can be written");
        root
    }

    /// The same host, which resolves `name` to `ip`.
    pub fn with_host(self, name: &str, ip: IpAddr) -> Self {
        let hosts = format!("127.0.0.1 localhost\n{ip} {name}\n");
        let path = self.path().join("etc/hosts");
        std::fs::write(path, hosts).expect("it can be written");
        self
    }

    /// The directory of the files.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a program with this host's files, as root.
    pub async fn run(&self, program: &Path, args: &[String]) -> Outcome {
        let home = self.path().join("root");
        let enter = ["--mount", "sh", "-c", ENTER, "sh"].map(String::from);
        let program = [
            self.path().display().to_string(),
            "env".into(),
            format!("HOME={}", home.display()),
            // Programs in Go read it as the system's authorities.
            format!("SSL_CERT_FILE={}", self.trusted().display()),
            program.display().to_string(),
        ];
        let args = enter.iter().chain(&program).chain(args);
        run(Path::new("unshare"), args).await
    }

    fn trusted(&self) -> PathBuf {
        self.path().join("trusted.pem")
    }
}
