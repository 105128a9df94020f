//! Traefik in front of workers: round robin, health checks, retry.

use std::{fmt::Write as _, fs, net::SocketAddr};

use tempfile::TempDir;

use crate::{parts::http_answers, port::free_addr, process::Process, program, wait::eventually};

/// A traefik on a free port.
#[derive(Debug)]
pub struct Traefik {
    process: Process,
    addr: SocketAddr,
    api: SocketAddr,
    _dir: TempDir,
}

/// How traefik learns whether a server takes requests.
#[derive(Clone, Copy, Debug)]
pub struct HealthCheck {
    /// The port, the same at every server. `None`: the server's own.
    pub port: Option<u16>,
    /// The path that answers 200.
    pub path: &'static str,
}

impl Traefik {
    /// Starts one that balances over `servers`, and waits until it has taken
    /// them up.
    pub async fn start(servers: &[SocketAddr], health: HealthCheck) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let (addr, api) = (free_addr(), free_addr());
        let file = dir.path().join("traefik.yml");
        fs::write(&file, fixed(addr, api)).expect("the configuration can be written");
        fs::write(dir.path().join("dynamic.yml"), routes(servers, health))
            .expect("the routes can be written");
        let args = [format!("--configFile={}", file.display())];
        let mut process = Process::start("traefik", &program::traefik(), args, dir.path());
        http_answers(&mut process, &format!("http://{api}/ping")).await;
        let traefik = Self {
            process,
            addr,
            api,
            _dir: dir,
        };
        for server in servers {
            traefik.sees(*server, "UP").await;
        }
        traefik
    }

    /// Where it serves.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until it finds `server` to be `UP` or `DOWN`.
    pub async fn sees(&self, server: SocketAddr, state: &str) {
        let url = format!("http://{}/api/http/services/registry@file", self.api);
        let key = format!("http://{server}");
        eventually(&format!("traefik sees {server} {state}"), async || {
            let Ok(answer) = reqwest::get(&url).await else {
                return false;
            };
            let service: serde_json::Value = answer.json().await.unwrap_or_default();
            service["serverStatus"][&key] == state
        })
        .await;
    }

    /// What it has logged, one line for each request.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

fn fixed(addr: SocketAddr, api: SocketAddr) -> String {
    format!(
        "entryPoints: {{web: {{address: '{addr}'}}, traefik: {{address: '{api}'}}}}
providers: {{file: {{filename: dynamic.yml}}}}
api: {{insecure: true, dashboard: false}}
ping: {{}}
log: {{level: INFO}}
accessLog: {{fields: {{headers: {{names: {{User-Agent: keep}}}}}}}}
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
"
    )
}

/// Docker tries TLS first, also on a plain port. Traefik completes that TLS by
/// itself, so the same routes must exist behind it: hence the second router.
/// Its certificate is self-made, and newer engines verify that of a token
/// endpoint: hence the header, by which workers name the endpoint with http.
fn routes(servers: &[SocketAddr], health: HealthCheck) -> String {
    let mut text = String::from(
        "http:
  routers:
    plain: {rule: 'PathPrefix(`/v2`) || Path(`/token`)', entryPoints: [web], service: registry, middlewares: [again]}
    tls: {rule: 'PathPrefix(`/v2`) || Path(`/token`)', entryPoints: [web], service: registry, middlewares: [again, token-scheme], tls: {}}
  middlewares:
    again: {retry: {attempts: 3, initialInterval: 20ms}}
    token-scheme: {headers: {customRequestHeaders: {X-Forwarded-Proto: http}}}
  services:
    registry:
      loadBalancer:
",
    );
    let port = health
        .port
        .map(|p| format!(", port: {p}"))
        .unwrap_or_default();
    let path = health.path;
    // A server is down when it says so or does not listen, not when it is slow.
    let _ = writeln!(
        text,
        "        healthCheck: {{path: '{path}'{port}, interval: 500ms, timeout: 10s}}\n        servers:"
    );
    for server in servers {
        let _ = writeln!(text, "          - url: 'http://{server}'");
    }
    text
}
