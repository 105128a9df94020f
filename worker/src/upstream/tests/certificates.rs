//! Upstreams with certificates that the system knows nothing of.

use std::{net::SocketAddr, sync::Mutex};

use futures_util::future::join_all;
use http::Method;
use http_body_util::BodyExt;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::aws_lc_rs::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};
use url::Url;

use super::{blobs::large, *};
use crate::upstream::{
    BlobRequest, ClientIdentity, Judgement, ProxyEnvironment, Why, tls::CertificateFault,
};

/// A certificate and its key, as PEM.
struct Pair {
    pem: String,
    key: String,
}

impl Pair {
    /// One that is its own issuer.
    fn of(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let key = key.serialize_pem();
        Self { pem, key }
    }

    /// One of an issuer that nobody knows.
    fn issued(params: CertificateParams) -> Self {
        let issuer = Issuer::new(authority("authority"), KeyPair::generate().unwrap());
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &issuer).unwrap().pem();
        let key = key.serialize_pem();
        Self { pem, key }
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()
    }
}

fn named(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

/// As `openssl req -x509` makes it.
fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 1, 1);
    params
}

/// The protocol that each connection has agreed on.
type Protocols = Arc<Mutex<Vec<String>>>;

/// TLS in front of a bench's registry, with a certificate of its own.
pub(super) struct Front {
    address: SocketAddr,
    /// The certificate, which is its own authority, as PEM.
    pub(super) pem: Arc<str>,
    protocols: Protocols,
    _serving: JoinSet<()>,
}

impl Front {
    pub(super) async fn start(registry: &Registry) -> Self {
        Self::start_with(registry, &[]).await
    }

    /// One that offers these protocols.
    async fn start_with(registry: &Registry, protocols: &[&str]) -> Self {
        let own = Pair::of(named("127.0.0.1"));
        Self::start_as(registry, &own, None, protocols).await
    }

    /// One with this certificate, for clients with that of `client`.
    async fn start_as(
        registry: &Registry,
        own: &Pair,
        client: Option<&Pair>,
        protocols: &[&str],
    ) -> Self {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let mut roots = RootCertStore::empty();
                roots.add(client.der()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(vec![own.der()], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|it| (*it).into()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let behind = registry.url().socket_addrs(|| None).unwrap()[0];
        let mut serving = JoinSet::new();
        let agreed = Protocols::default();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        serving.spawn(serve(listener, acceptor, behind, agreed.clone()));
        Self {
            address,
            pem: own.pem.as_str().into(),
            protocols: agreed,
            _serving: serving,
        }
    }

    pub(super) fn url(&self) -> Url {
        format!("https://{}", self.address).parse().unwrap()
    }
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    behind: SocketAddr,
    agreed: Protocols,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, agreed) = (acceptor.clone(), agreed.clone());
        connections.spawn(async move {
            // A client that does not like the certificate goes away.
            let Ok(mut client) = acceptor.accept(stream).await else {
                return;
            };
            let protocol = client.get_ref().1.alpn_protocol().unwrap_or_default();
            let protocol = String::from_utf8_lossy(protocol).into_owned();
            agreed.lock().unwrap().push(protocol);
            let mut server = TcpStream::connect(behind).await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

/// A bench whose registry is behind TLS, and is judged like this.
async fn bench(judgement: impl FnOnce(&Front) -> Judgement) -> (Bench, Front) {
    let mut bench = Bench::new().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    let front = Front::start(&bench.registry).await;
    let upstream = Upstream::new("hub", front.url(), None, true).judged(judgement(&front));
    bench.upstream = Arc::new(upstream);
    (bench, front)
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (bench, _front) = bench(|_| Judgement::System).await;

    let refused = bench.pull("latest").await;

    let why = Why::Certificate(CertificateFault::UnknownIssuer);
    assert!(
        matches!(&refused, Err(Error::Unavailable { why: found, .. }) if *found == why),
        "{refused:?}"
    );
    assert_eq!(bench.registry.seen().len(), 0);
}

#[tokio::test]
async fn an_authority_of_its_own_vouches_for_an_upstream() {
    let (bench, _front) = bench(|front| Judgement::Authorities(front.pem.clone())).await;

    assert!(bench.pull("latest").await.is_ok());
}

/// Pulls from an upstream with this certificate, which is listed as trusted.
async fn pull_listed(own: Pair) -> Result<Arc<Source>, Error> {
    let mut bench = Bench::new().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    let front = Front::start_as(&bench.registry, &own, None, &[]).await;
    let judgement = Judgement::Authorities(front.pem.clone());
    let upstream = Upstream::new("hub", front.url(), None, true).judged(judgement);
    bench.upstream = Arc::new(upstream);
    bench.pull("latest").await
}

#[tokio::test]
async fn a_certificate_that_is_itself_listed_is_trusted_whatever_it_is() {
    for own in [
        Pair::of(authority("127.0.0.1")),
        Pair::of(named("127.0.0.1")),
        Pair::issued(named("127.0.0.1")),
        Pair::issued(authority("127.0.0.1")),
    ] {
        pull_listed(own).await.unwrap();
    }
}

#[tokio::test]
async fn a_listed_certificate_is_verified_for_its_name_and_its_dates() {
    for (own, fault) in [
        (
            Pair::of(authority("127.0.0.2")),
            CertificateFault::WrongName,
        ),
        (
            Pair::issued(named("127.0.0.2")),
            CertificateFault::WrongName,
        ),
        (
            Pair::of(expired(authority("127.0.0.1"))),
            CertificateFault::Expired,
        ),
        (
            Pair::issued(expired(named("127.0.0.1"))),
            CertificateFault::Expired,
        ),
    ] {
        let refused = pull_listed(own).await.unwrap_err();

        let expected = Why::Certificate(fault);
        assert!(
            matches!(refused, Error::Unavailable { why, .. } if why == expected),
            "{refused}"
        );
    }
}

/// Pulls from an upstream that wants to see a certificate. `judgement` is of
/// its own one.
async fn pull_presenting(
    identity: Option<&Pair>,
    judgement: impl FnOnce(&Front) -> Judgement,
) -> Result<Arc<Source>, Error> {
    let mut bench = Bench::new().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    let client = Pair::of(authority("authority"));
    let client = identity.unwrap_or(&client);
    let own = Pair::of(named("127.0.0.1"));
    let front = Front::start_as(&bench.registry, &own, Some(client), &[]).await;
    let upstream = Upstream::new("hub", front.url(), None, true).judged(judgement(&front));
    let identity = identity.map(|pair| ClientIdentity {
        cert_pem: pair.pem.as_str().into(),
        key_pem: pair.key.as_str().into(),
    });
    bench.upstream = Arc::new(upstream.presenting(identity));
    bench.pull("latest").await
}

#[tokio::test]
async fn a_client_certificate_is_presented_to_an_upstream_that_wants_one() {
    let worker = Pair::of(named("worker"));

    let listed = |front: &Front| Judgement::Authorities(front.pem.clone());
    pull_presenting(Some(&worker), listed).await.unwrap();
    let unjudged = |_: &Front| Judgement::None;
    pull_presenting(Some(&worker), unjudged).await.unwrap();
}

#[tokio::test]
async fn an_upstream_that_wants_a_client_certificate_is_named_as_such() {
    let listed = |front: &Front| Judgement::Authorities(front.pem.clone());

    let refused = pull_presenting(None, listed).await.unwrap_err();

    assert!(
        refused.to_string().contains("client certificate"),
        "{refused}"
    );
}

#[test]
fn a_client_certificate_goes_where_the_credential_may_go() {
    let url = |text: &str| text.parse::<Url>().unwrap();
    let upstream = Upstream::new("hub", url("https://r.example.com"), None, true);
    let upstream = upstream.presenting(Some(ClientIdentity {
        cert_pem: "certificate".into(),
        key_pem: "key".into(),
    }));
    let is_presented = |to: &str| {
        let transport = upstream.transport(&url(to), &ProxyEnvironment::default());
        transport.identity.is_some()
    };

    assert!(is_presented("https://r.example.com/v2/"));
    assert!(is_presented("https://auth.example.com/token"));
    assert!(!is_presented("https://cdn.example.net/blob"));
    assert!(!format!("{upstream:?}").contains("key\""));
}

#[tokio::test]
async fn the_authority_of_another_does_not() {
    let (other, front) = bench(|_| Judgement::System).await;
    drop(other);
    let (bench, _front) = bench(|_| Judgement::Authorities(front.pem.clone())).await;

    assert!(bench.pull("latest").await.is_err());
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_harms_its_own_upstream_only() {
    let broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let (bench, _front) = bench(|_| Judgement::Authorities(broken.into())).await;

    let refused = bench.pull("latest").await;

    assert!(matches!(refused, Err(Error::Unavailable { .. })));
}

#[tokio::test]
async fn an_insecure_upstream_need_not_prove_itself() {
    let (bench, _front) = bench(|_| Judgement::None).await;

    assert!(bench.pull("latest").await.is_ok());
}

#[tokio::test]
async fn each_blob_has_a_connection_of_its_own_where_one_could_carry_all() {
    let mut bench = Bench::new().await;
    let front = Front::start_with(&bench.registry, &["h2", "http/1.1"]).await;
    let upstream = Upstream::new("hub", front.url(), None, true).judged(Judgement::None);
    bench.upstream = Arc::new(upstream);
    let digests = [1, 2].map(|n| bench.registry.put_blob("app", large().slice(n..)));
    let open = async |digest| {
        let request = BlobRequest {
            repository: &app(),
            digest,
            method: &Method::GET,
            range: None,
            if_range: None,
            host: None,
        };
        bench.puller.blob(&bench.upstream, request).await.unwrap()
    };

    let bodies = join_all(digests.iter().map(open)).await;

    for body in bodies {
        assert!(body.into_body().collect().await.is_ok());
    }
    assert_eq!(*front.protocols.lock().unwrap(), ["http/1.1", "http/1.1"]);
}

#[test]
fn an_insecure_upstream_vouches_for_no_other_host() {
    let url = |text: &str| text.parse::<Url>().unwrap();
    let upstream = Upstream::new("hub", url("https://r.example:5000"), None, true);
    let upstream = upstream.judged(Judgement::None);

    let own = upstream.judgement(&url("https://r.example/token"));
    let other = upstream.judgement(&url("https://cdn.example/blob"));

    assert_eq!((own, other), (Judgement::None, Judgement::System));
}

#[test]
fn another_judgement_makes_caches_cold() {
    let upstream = Upstream::new("hub", "https://r.example".parse().unwrap(), None, true);
    let site = |judgement| upstream.clone().judged(judgement).site();

    assert!(site(Judgement::System) == upstream.site());
    assert!(site(Judgement::None) != upstream.site());
    assert!(site(Judgement::Authorities("a".into())) != site(Judgement::Authorities("b".into())));
}
