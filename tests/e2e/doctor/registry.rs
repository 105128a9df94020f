//! Faults between the host and the workers: the name, the port, the
//! certificate, the clock, and the answering server.

use std::{net::SocketAddr, time::Duration};

use metahub_host::credential::HostCredential;
use metahub_tests::{
    admin::Login,
    authority::{Authority, Identity},
    node,
    port::free_addr,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::stage::{Said, doctor, host_root, web_server};

const ASKS: &str =
    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"MetaHub\"\r\nContent-Length: 0";

/// A host whose credential names a registry.
struct Host(TempDir);

impl Host {
    fn of(registry: &str) -> Self {
        Self::with(registry, |_| ())
    }

    fn with(registry: &str, change: impl FnOnce(&mut HostCredential)) -> Self {
        let login = Login {
            name: "qnib-type1~node1".into(),
            secret: "hunter2-secret".into(),
        };
        let mut credential = node::credential(registry, &login);
        change(&mut credential);
        let root = host_root();
        let file = root.path().join("etc/metahub/host.json");
        credential.write(&file).expect("it can be written");
        Self(root)
    }

    async fn doctor(&self) -> Said {
        doctor(self.0.path(), free_addr(), &[]).await
    }
}

/// A server that does nothing after the TLS handshake.
async fn tls_server(identity: &Identity) -> SocketAddr {
    let acceptor = TlsAcceptor::from(identity.server_of(&[]));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    addr
}

async fn with_certificate(days: i64) -> Said {
    let authority = Authority::new();
    let addr = tls_server(&authority.identity_for_days("127.0.0.1", days)).await;
    let host = Host::with(&format!("https://{addr}"), |it| {
        it.registry_ca_pem = Some(authority.pem());
    });
    host.doctor().await
}

#[tokio::test]
async fn a_name_that_is_unknown_is_named() {
    let said = Host::of("https://registry.invalid").doctor().await;

    said.fails("dns", "registry.invalid", "/etc/resolv.conf");
    assert!(!said.has("tcp"), "{}", said.all());
}

#[tokio::test]
async fn a_port_that_is_closed_is_named() {
    let addr = free_addr();

    let said = Host::of(&format!("https://{addr}")).doctor().await;

    said.fails("tcp", &addr.to_string(), "the workers' balancer listens");
}

#[tokio::test]
async fn a_registry_that_says_nothing_ends_the_checks_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = format!("http://{}", listener.local_addr().unwrap());

    let host = Host::of(&registry);
    let said = timeout(Duration::from_secs(20), host.doctor()).await;
    let said = said.expect("it ends");

    said.fails("challenge", "does not answer", "the workers' balancer");
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_named() {
    let addr = tls_server(&Authority::new().identity("127.0.0.1")).await;

    let said = Host::of(&format!("https://{addr}")).doctor().await;

    said.fails(
        "tls",
        "no authority that this host trusts",
        "metahubctl host login",
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_named() {
    let authority = Authority::new();
    let addr = tls_server(&authority.identity("registry.example")).await;
    let host = Host::with(&format!("https://{addr}"), |it| {
        it.registry_ca_pem = Some(authority.pem());
    });

    let said = host.doctor().await;

    said.fails("tls", "is for another name", "host login --registry URL");
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_named() {
    let said = with_certificate(-1).await;

    said.fails("tls", "has expired", "renew it");
}

#[tokio::test]
async fn a_certificate_that_expires_within_two_weeks_is_warned_of() {
    let said = with_certificate(5).await;

    said.line("warn", "tls", "expires in 4 days", "renew it");
}

#[tokio::test]
async fn plain_http_behind_an_https_address_is_named() {
    let addr = web_server(ASKS).await;

    let said = Host::of(&format!("https://{addr}")).doctor().await;

    said.fails("tls", "does not speak TLS", "the one for https");
}

#[tokio::test]
async fn a_clock_that_is_off_is_warned_of() {
    let addr = web_server(&format!("{ASKS}\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT")).await;

    let said = Host::of(&format!("http://{addr}")).doctor().await;

    said.line("warn", "clock", "s ahead of the registry's", "timedatectl");
}

#[tokio::test]
async fn a_registry_that_asks_for_no_login_is_no_worker() {
    let addr = web_server("HTTP/1.1 200 OK\r\nContent-Length: 0").await;

    let said = Host::of(&format!("http://{addr}")).doctor().await;

    said.fails(
        "challenge",
        "it is not a worker of MetaHub",
        "host login --registry URL",
    );
    assert!(!said.has("login"), "{}", said.all());
}

#[tokio::test]
async fn a_balancer_without_workers_is_named() {
    let addr = web_server("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0").await;

    let said = Host::of(&format!("http://{addr}")).doctor().await;

    said.fails(
        "challenge",
        "no worker is behind it",
        "metahubctl worker list",
    );
}

#[tokio::test]
async fn another_web_server_at_the_address_is_named() {
    let addr = web_server("HTTP/1.1 404 Not Found\r\nContent-Length: 0").await;

    let said = Host::of(&format!("http://{addr}")).doctor().await;

    said.fails(
        "challenge",
        "not as a registry does",
        "host login --registry URL",
    );
}
