//! Tests of connections with TLS.

use std::{io::ErrorKind, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use tempfile::TempDir;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
        crypto::aws_lc_rs::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        version::{TLS12, TLS13},
    },
};

use super::*;
use crate::{
    TlsConfig,
    peer::Secured,
    server::tls::tests::{config_in, write_pair},
};

/// A TLS server that answers with the client's certificate and HTTP version.
struct Site {
    addr: SocketAddr,
    tls: Arc<Tls>,
    dir: TempDir,
    task: JoinHandle<()>,
    stop: tokio_util::sync::DropGuard,
}

impl Site {
    async fn start() -> Self {
        Self::start_with(LIMITS, |config, _| config).await
    }

    async fn start_with(limits: Limits, set: impl Fn(TlsConfig, &Path) -> TlsConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_pair(dir.path());
        let config = set(config_in(dir.path()), dir.path());
        let tls = Arc::new(Tls::open(&config).unwrap().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let service = |request: Request<Incoming>| {
            let secured = request.extensions().get::<Secured>();
            let told = format!("{:?} {secured:?}", request.version());
            std::future::ready(Response::new(Full::new(Bytes::from(told))))
        };
        let port = Port {
            tls: Some(tls.clone()),
            ..Port::from(listener)
        };
        let task = tokio::spawn(serve(port, limits, service, shutdown.clone()));
        Self {
            addr,
            tls,
            dir,
            task,
            stop: shutdown.drop_guard(),
        }
    }

    /// The server's current certificate.
    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.dir.path().join("tls.crt")).unwrap()
    }

    fn client(&self, versions: &[&'static SupportedProtocolVersion], shown: Shown) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()).unwrap();
        let config = ClientConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match shown {
            Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key),
            None => Ok(config.with_no_client_auth()),
        };
        TlsConnector::from(Arc::new(config.unwrap()))
    }

    async fn connect(&self, client: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.addr).await?;
        let name = "localhost".try_into().unwrap();
        timeout(PATIENCE, client.connect(name, stream))
            .await
            .unwrap()
    }

    /// The answer to a client with this certificate.
    async fn heard(&self, shown: Shown) -> std::io::Result<String> {
        let mut stream = self.connect(&self.client(&[&TLS13], shown)).await?;
        stream.write_all(REQUEST).await?;
        let mut heard = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut heard))
            .await
            .unwrap()?;
        Ok(heard)
    }
}

/// The certificate and key of a client. `None`: no certificate.
type Shown = Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>;

/// An issuer of client certificates.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), pem)
    }

    fn client(&self, name: &str) -> Shown {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Some((CertificateDer::clone(certificate.der()), key))
    }
}

#[tokio::test]
async fn both_versions_of_tls_and_of_http_are_spoken() {
    let site = Site::start().await;

    for (tls, version) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let stream = site.connect(&site.client(&[tls], None)).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version));
    }
    for (only_http1, version) in [(true, "HTTP/1.1"), (false, "HTTP/2.0")] {
        let pem = site.certificate();
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_der(&pem).unwrap()])
            .resolve("localhost", site.addr);
        let client = if only_http1 {
            client.http1_only()
        } else {
            client
        };
        let url = format!("https://localhost:{}/", site.addr.port());
        let answer = client.build().unwrap().get(url).send().await.unwrap();
        let told = answer.text().await.unwrap();
        assert!(told.starts_with(version), "{told}");
        assert!(told.contains("certificate: None"), "{told}");
    }
}

#[tokio::test]
async fn a_client_that_speaks_plain_text_hears_that_tls_is_spoken() {
    let site = Site::start().await;

    let heard = hear(say(site.addr, REQUEST).await).await;

    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
    assert!(heard.contains("use https"), "{heard}");
}

#[tokio::test]
async fn a_handshake_that_is_not_completed_is_cut_off() {
    let site = Site::start().await;

    for begun in [
        &b""[..],
        b"\x16",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc",
        b"\0\x01",
    ] {
        assert_eq!(hear(say(site.addr, begun).await).await.len() / 100, 0);
    }
}

#[tokio::test]
async fn a_handshake_that_stands_still_gives_its_turn_to_the_next() {
    let limits = Limits {
        connections: 100,
        handshakes: 1,
        silent_grace: Duration::ZERO,
        header_timeout: 2 * PATIENCE,
        ..LIMITS
    };
    let site = Site::start_with(limits, |config, _| config).await;
    let silent = say(site.addr, b"").await;
    let stalled = say(site.addr, b"\x16\x03\x01\x02\0").await;

    let heard = site.heard(None).await.unwrap();

    assert!(heard.contains("HTTP/1.1 200"), "{heard}");
    assert_eq!(hear(stalled).await, "");
    drop(silent);
}

#[tokio::test]
async fn a_certificate_of_the_authority_is_told_and_none_is_demanded() {
    let authority = Authority::new("known");
    let site = Site::start_with(LIMITS, |config, dir| {
        std::fs::write(dir.join("ca.crt"), &authority.1).unwrap();
        TlsConfig {
            tls_client_ca: Some(dir.join("ca.crt")),
            ..config
        }
    })
    .await;

    let shown = site.heard(authority.client("qnib-type1")).await.unwrap();
    let none = site.heard(None).await.unwrap();
    let strange = site
        .heard(Authority::new("strange").client("qnib-type1"))
        .await;

    assert!(shown.contains(r#"Ok("qnib-type1")"#), "{shown}");
    assert!(none.contains("certificate: None"), "{none}");
    let error = strange.unwrap_err().to_string();
    assert!(
        error.contains("UnknownCA") || error.contains("reset"),
        "{error}"
    );
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_to_the_next_and_open_connections_go_on() {
    let site = Site::start().await;
    let mut open = site.connect(&site.client(&[&TLS13], None)).await.unwrap();

    write_pair(site.dir.path());
    site.tls.look().unwrap();

    // The new client trusts only the new certificate.
    assert!(site.heard(None).await.unwrap().contains("200 OK"));
    open.write_all(REQUEST).await.unwrap();
    let mut heard = String::new();
    open.read_to_string(&mut heard).await.unwrap();
    assert!(heard.contains("200 OK"), "{heard}");
}

#[tokio::test]
async fn a_client_that_is_in_its_handshake_at_the_stop_is_answered() {
    let limits = Limits {
        connections: 100,
        ..LIMITS
    };
    let site = Site::start_with(limits, |config, _| config).await;
    let client = site.client(&[&TLS12], None);
    let begun = TcpStream::connect(site.addr).await.unwrap();
    // The server accepts connections in order: the first is accepted by now.
    site.heard(None).await.unwrap();

    drop(site.stop);
    let name = "localhost".try_into().unwrap();
    let mut stream = client.connect(name, begun).await.unwrap();
    // The delay of a slow network.
    sleep(ABOUT_TO_ASK / 5).await;
    stream.write_all(REQUEST).await.unwrap();

    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    assert!(heard.contains("200 OK"), "{heard}");
}

#[tokio::test]
async fn a_connection_without_a_handshake_does_not_hold_up_the_stop() {
    let limits = Limits {
        connections: 100,
        header_timeout: 4 * PATIENCE,
        drain_timeout: 4 * PATIENCE,
        ..LIMITS
    };
    let site = Site::start_with(limits, |config, _| config).await;
    let silent = say(site.addr, b"").await;
    site.heard(None).await.unwrap();

    drop(site.stop);

    let stopped = timeout(Duration::from_secs(5), site.task).await;
    assert!(stopped.is_ok(), "it waits");
    drop(silent);
}

#[tokio::test]
async fn a_client_that_stops_reading_over_tls_is_cut_off_and_not_told_that_it_has_all() {
    let dir = tempfile::tempdir().unwrap();
    write_pair(dir.path());
    let tls = Tls::open(&config_in(dir.path())).unwrap().map(Arc::new);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let large = |_| {
        let body = Full::new(Bytes::from(vec![0; LARGE]));
        std::future::ready(Response::new(body))
    };
    let port = Port {
        tls: tls.clone(),
        ..Port::from(listener)
    };
    let site = Site {
        addr,
        tls: tls.unwrap(),
        dir,
        task: tokio::spawn(serve(port, LIMITS, large, shutdown.clone())),
        stop: shutdown.drop_guard(),
    };

    let mut stream = site.connect(&site.client(&[&TLS13], None)).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    sleep_past(4 * LIMITS.stall_timeout).await;
    let mut heard = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut heard)).await;

    let kind = read.expect("it ends in time").unwrap_err().kind();
    let is_cut_off = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&kind);
    assert!(is_cut_off && heard.len() < LARGE, "{kind}");
}
