//! nginx as a file server, and nginx as a proxy.

use std::{fs, net::SocketAddr};

use metahub_tests::{authority::Authority, port::free_addr, process::Process, program::Program};
use tempfile::TempDir;

/// The paths of a big file and of a small one.
pub(crate) const BLOB: &str = "/v2/qnib/bench/blobs/blob";
pub(crate) const MANIFEST: &str = "/v2/qnib/bench/manifests/latest";
pub(crate) const BLOB_BYTES: usize = 256 << 20;
const MANIFEST_BYTES: usize = 1600;

const NGINX: Program = Program {
    name: "nginx",
    install: "install the Debian package nginx-light",
};

/// The buffer settings of a proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Buffers {
    /// nginx's defaults.
    Default,
    /// Large buffers, and no temporary files.
    Tuned,
}

/// An nginx of one process, until it is dropped.
#[derive(Debug)]
pub(crate) struct Nginx {
    process: Process,
    addr: SocketAddr,
    scheme: &'static str,
    _dir: TempDir,
}

impl Nginx {
    /// Starts nginx as a file server, with TLS if there is an `authority`.
    pub(crate) fn files(authority: Option<&Authority>) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        for (path, bytes) in [(BLOB, BLOB_BYTES), (MANIFEST, MANIFEST_BYTES)] {
            let file = dir.path().join(&path[1..]);
            fs::create_dir_all(file.parent().expect("it has one")).expect("it can be made");
            fs::write(file, vec![7; bytes]).expect("it can be written");
        }
        let (mut scheme, mut tls, mut option) = ("http", String::new(), "");
        if let Some(authority) = authority {
            let identity = authority.identity("127.0.0.1");
            let file = |name: &str, text: String| {
                let path = dir.path().join(name);
                fs::write(&path, text).expect("it can be written");
                path.display().to_string()
            };
            let certificate = file("certificate.pem", identity.certificate_pem());
            let key = file("key.pem", identity.key_pem());
            tls = format!("ssl_certificate {certificate}; ssl_certificate_key {key};");
            (scheme, option) = ("https", " ssl");
        }
        let root = dir.path().display().to_string();
        let server = |addr| {
            format!(
                "open_file_cache max=10; sendfile on; tcp_nopush on;
                 server {{ listen {addr}{option}; {tls} root {root}; }}"
            )
        };
        Self::start("files", scheme, dir, server)
    }

    /// Starts nginx as a proxy that forwards to `url`.
    pub(crate) fn proxy(url: &str, buffers: Buffers) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let (scheme, host) = url.split_once("://").expect("a URL");
        let buffers = match buffers {
            Buffers::Default => "",
            Buffers::Tuned => {
                "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k; \
                 proxy_max_temp_file_size 0;"
            }
        };
        let server = |addr| {
            format!(
                "upstream registry {{ server {host}; keepalive 32; }}
                 server {{ listen {addr}; location / {{
                     proxy_pass {scheme}://registry; proxy_http_version 1.1;
                     proxy_set_header Connection ''; proxy_set_header Host {host};
                     proxy_set_header Authorization 'Basic bWV0YWh1Yg==';
                     {buffers}
                 }} }}"
            )
        };
        Self::start("proxy", "http", dir, server)
    }

    fn start(
        name: &str,
        scheme: &'static str,
        dir: TempDir,
        server: impl Fn(SocketAddr) -> String,
    ) -> Self {
        let addr = free_addr();
        let root = dir.path().display();
        let config = format!(
            "daemon off; master_process off; pid {root}/pid; error_log {root}/errors;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    {}
}}
",
            server(addr)
        );
        let file = dir.path().join("nginx.conf");
        fs::write(&file, config).expect("the configuration can be written");
        let args = ["-c".as_ref(), file.as_os_str()];
        let process = Process::start(name, &NGINX.path(), args, dir.path());
        Self {
            process,
            addr,
            scheme,
            _dir: dir,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}
