//! Load balancers that forward bytes and send the client's address by the PROXY
//! protocol.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use reqwest::StatusCode;
use tempfile::TempDir;

use crate::{
    parts::answers,
    port::free_addr_at,
    process::Process,
    program::{self, Program},
};

const HAPROXY: Program = Program {
    name: "haproxy",
    install: "install the Debian package haproxy",
};
const NGINX: Program = Program {
    name: "nginx",
    install: "install the Debian packages nginx and libnginx-mod-stream",
};
/// nginx's stream module, from the Debian package libnginx-mod-stream.
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A load balancer on a free port.
#[derive(Debug)]
pub struct StreamProxy {
    _process: Process,
    addr: SocketAddr,
    _dir: TempDir,
}

/// The load balancer's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balancer {
    /// HAProxy, version 2 of the protocol with all optional fields, and health
    /// checks without a client's address.
    Haproxy,
    /// nginx, version 1.
    Nginx,
    /// Traefik, version 2.
    Traefik,
}

impl StreamProxy {
    /// Starts a load balancer at `ip` that forwards to the TLS server `server`.
    pub async fn start(balancer: Balancer, ip: impl Into<IpAddr>, server: SocketAddr) -> Self {
        let ip = match ip.into() {
            IpAddr::V4(ip) => ip,
            IpAddr::V6(_) => panic!("tests use IPv4"),
        };
        let (addr, dir) = (free_addr_at(ip), TempDir::new().expect("a directory"));
        let (program, args) = match balancer {
            Balancer::Haproxy => haproxy(addr, server, dir.path()),
            Balancer::Nginx => nginx(addr, server, dir.path()),
            Balancer::Traefik => traefik(addr, server, dir.path()),
        };
        let mut process = Process::start("balancer", &program, args, dir.path());
        // The balancer may listen before it has the server's address, and answer
        // by itself: on such a connection it always does.
        let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
        let client = client
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client without surprises");
        let url = format!("https://{addr}/v2/");
        let is_worker = |answer: reqwest::Response| answer.status() == StatusCode::UNAUTHORIZED;
        answers(&mut process, async || {
            client.get(&url).send().await.is_ok_and(is_worker)
        })
        .await;
        Self {
            _process: process,
            addr,
            _dir: dir,
        }
    }

    /// The balancer's address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

type Command = (PathBuf, Vec<String>);

fn haproxy(addr: SocketAddr, server: SocketAddr, dir: &Path) -> Command {
    let config = format!(
        "defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout check 10s
frontend registry
    bind {addr}
    default_backend workers
backend workers
    option httpchk
    http-check send meth GET uri /v2/
    http-check expect status 401
    server worker {server} send-proxy-v2 proxy-v2-options ssl,cert-cn,crc32c,unique-id check check-ssl verify none check-send-proxy inter 500ms
"
    );
    let file = write(dir, "haproxy.cfg", &config);
    (HAPROXY.path(), vec!["-db".into(), "-f".into(), file])
}

fn nginx(addr: SocketAddr, server: SocketAddr, dir: &Path) -> Command {
    assert!(Path::new(NGINX_STREAM).is_file(), "{}", NGINX.install);
    let place = dir.display();
    let config = format!(
        "load_module {NGINX_STREAM};
daemon off;
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{}}
stream {{ server {{ listen {addr}; proxy_pass {server}; proxy_protocol on; }} }}
"
    );
    let file = write(dir, "nginx.conf", &config);
    (NGINX.path(), vec!["-c".into(), file])
}

fn traefik(addr: SocketAddr, server: SocketAddr, dir: &Path) -> Command {
    let routes = write(
        dir,
        "dynamic.yml",
        &format!(
            "tcp:
  routers:
    registry: {{rule: 'HostSNI(`*`)', entryPoints: [registry], service: workers, tls: {{passthrough: true}}}}
  services:
    workers: {{loadBalancer: {{serversTransport: named, servers: [{{address: '{server}'}}]}}}}
  serversTransports:
    named: {{proxyProtocol: {{version: 2}}}}
"
        ),
    );
    let config = format!(
        "entryPoints: {{registry: {{address: '{addr}'}}}}
providers: {{file: {{filename: '{routes}'}}}}
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
"
    );
    let file = write(dir, "traefik.yml", &config);
    (program::traefik(), vec![format!("--configFile={file}")])
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let file = dir.join(name);
    fs::write(&file, text).expect("the configuration can be written");
    file.display().to_string()
}
