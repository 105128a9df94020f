//! Upstreams with certificates that the system knows nothing of.

use std::{net::SocketAddr, sync::Mutex};

use futures_util::future::join_all;
use http::Method;
use http_body_util::BodyExt;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs::default_provider, pki_types::PrivateKeyDer},
};
use url::Url;

use super::{blobs::large, *};
use crate::upstream::{BlobRequest, Judgement, Why};

/// The protocol that each connection has agreed on.
type Protocols = Arc<Mutex<Vec<String>>>;

/// TLS in front of a bench's registry, with a certificate of its own.
struct Front {
    address: SocketAddr,
    /// The certificate, which is its own authority, as PEM.
    pem: Arc<str>,
    protocols: Protocols,
    _serving: JoinSet<()>,
}

impl Front {
    async fn start(registry: &Registry) -> Self {
        Self::start_with(registry, &[]).await
    }

    /// One that offers these protocols.
    async fn start_with(registry: &Registry, protocols: &[&str]) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
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
            pem: cert.pem().into(),
            protocols: agreed,
            _serving: serving,
        }
    }

    fn url(&self) -> Url {
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

    let why = Why::Certificate;
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
