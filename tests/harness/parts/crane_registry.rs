//! The registry of go-containerregistry, as `crane` serves it from memory.

use std::net::SocketAddr;

use tempfile::TempDir;

use crate::{parts::http_answers, port::free_addr, process::Process, program::Program};

const PROGRAM: Program = Program {
    name: "crane",
    install: "run `tests/run --engines sid`",
};

/// A registry on a free port, empty at first.
#[derive(Debug)]
pub struct CraneRegistry {
    _process: Process,
    addr: SocketAddr,
    _dir: TempDir,
}

impl CraneRegistry {
    /// Starts one, and waits until it answers.
    pub async fn start() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let addr = free_addr();
        let args = ["registry", "serve", "--address", &addr.to_string()].map(String::from);
        let mut process = Process::start("crane", &PROGRAM.path(), args, dir.path());
        http_answers(&mut process, &format!("http://{addr}/v2/")).await;
        Self {
            _process: process,
            addr,
            _dir: dir,
        }
    }

    /// Where it serves, as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}
