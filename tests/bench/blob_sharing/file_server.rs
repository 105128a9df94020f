//! nginx over the directory that a worker keeps blobs in.

use std::{fs, net::SocketAddr, path::Path};

use metahub_tests::{port::free_addr, process::Process, program::Program, wait::eventually};
use tempfile::TempDir;
use tokio::net::TcpStream;

const NGINX: Program = Program {
    name: "nginx",
    install: "install the Debian package nginx-light",
};

/// A server of files, until it is dropped.
#[derive(Debug)]
pub(crate) struct FileServer {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    _dir: TempDir,
}

impl FileServer {
    /// Serves the blobs below `blobs`, to anybody. None: it is not installed.
    pub(crate) async fn start(blobs: &Path) -> Option<Self> {
        if !NGINX.is_installed() {
            return None;
        }
        let dir = TempDir::new().expect("a temporary directory");
        let addr = free_addr();
        let (root, blobs) = (dir.path().display(), blobs.display());
        let config = format!(
            r#"daemon off; master_process off; pid {root}/pid; error_log {root}/errors;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    server {{
        listen {addr};
        location ~ "/blobs/sha256:(..)(.*)$" {{ alias {blobs}/sha256/$1/$1$2; }}
    }}
}}
"#
        );
        let file = dir.path().join("nginx.conf");
        fs::write(&file, config).expect("the file can be written");
        let args = ["-c".as_ref(), file.as_os_str()];
        let process = Process::start("nginx", &NGINX.path(), args, dir.path());
        eventually("nginx answers", async || {
            TcpStream::connect(addr).await.is_ok()
        })
        .await;
        Some(Self {
            process,
            addr,
            _dir: dir,
        })
    }
}
