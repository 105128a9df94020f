//! Names that lead closer to the worker than what they belong to is.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use tokio::{net::UdpSocket, task::JoinSet};
use url::Url;

use super::*;
use crate::upstream::{
    dialer::{Dialer, Lane, Transport, is_too_close},
    reach::Reach,
    tokens::{Errand, Tokens},
    wire::Wire,
};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Where nobody answers (RFC 5737).
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A name server: the nth question gets the nth of some answers, the last one
/// again and again. No answer may be kept.
struct NameServer {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl NameServer {
    async fn start(answers: &[&[Ipv4Addr]]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut left: VecDeque<_> = answers.iter().map(|it| it.to_vec()).collect();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut question).await {
                let answer = answer(&question[..length], &left[0]);
                if is_for_v4(&question[..length]) && left.len() > 1 {
                    left.pop_front();
                }
                socket.send_to(&answer, peer).await.unwrap();
            }
        });
        Self {
            address,
            _serving: serving,
        }
    }

    fn wire(&self) -> Wire {
        self.wire_with(Settings::default().connect_timeout)
    }

    /// The same, with less patience: `connect_timeout` holds for the name, too.
    fn wire_with(&self, connect_timeout: Duration) -> Wire {
        let mut connection = ConnectionConfig::udp();
        connection.port = self.address.port();
        let server = NameServerConfig::new(self.address.ip(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let names = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let settings = Settings {
            connect_timeout,
            patience: Duration::ZERO,
            ..Settings::default()
        };
        let dialer = Dialer::with_names(&settings, names.build().unwrap()).unwrap();
        Wire::new(dialer, settings, Clock::default())
    }
}

/// Where the question's name ends, its length byte of zero included.
fn end_of_name(question: &[u8]) -> usize {
    let end = question[12..].iter().position(|byte| *byte == 0);
    12 + end.unwrap() + 1
}

fn is_for_v4(question: &[u8]) -> bool {
    let at = end_of_name(question);
    question[at..at + 2] == [0, 1]
}

/// RFC 1035, section 4.1.
fn answer(question: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    let addresses = if is_for_v4(question) { addresses } else { &[] };
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    answer.extend(&question[12..end_of_name(question) + 4]);
    for address in addresses {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}

/// `hub.test` at the port of `registry`.
fn named(registry: &Registry, scheme: &str, host: &str) -> Url {
    let port = registry.url().port().unwrap();
    format!("{scheme}://{host}:{port}/").parse().unwrap()
}

#[tokio::test]
async fn a_name_that_moves_to_this_link_is_refused_at_the_next_connection() {
    let registry = Registry::start().await;
    let server = NameServer::start(&[&[HERE], &[Ipv4Addr::UNSPECIFIED]]).await;
    let wire = server.wire();
    let ask = async |lane| {
        let url = named(&registry, "http", "hub.test");
        let client = wire
            .dialer
            .client(lane, &url, Reach::Loopback, Transport::default());
        client.unwrap().get(url).send().await
    };

    assert!(ask(Lane::Shared).await.is_ok());
    let moved = ask(Lane::Own).await.unwrap_err();

    assert!(is_too_close(&moved), "{moved:?}");
    assert_eq!(registry.seen().len(), 1);
}

#[tokio::test]
async fn of_a_names_addresses_only_those_far_enough_are_dialled() {
    let registry = Registry::start().await;
    let server = NameServer::start(&[&[HERE, FAR]]).await;
    let url = named(&registry, "http", "cdn.test");

    let wire = server.wire_with(Duration::from_secs(1));
    let client = wire
        .dialer
        .client(Lane::Own, &url, Reach::Public, Transport::default());
    let outcome = client.unwrap().get(url).send().await;

    assert!(!is_too_close(&outcome.unwrap_err()));
    assert_eq!(registry.seen().len(), 0);
}

#[tokio::test]
async fn an_upstreams_name_does_not_lead_to_this_host() {
    let registry = Registry::start().await;
    registry.put_manifest("app", "latest", EMPTY_INDEX);
    let server = NameServer::start(&[&[HERE]]).await;
    let puller = Puller::over(server.wire());
    let pull = async |host| {
        let url = named(&registry, "http", host);
        let upstream = Arc::new(Upstream::new("hub", url, None, true));
        puller
            .manifest(&upstream, &app(), &reference_of("latest"))
            .await
    };

    let refused = pull("hub.test").await;

    assert!(
        matches!(refused, Err(Error::Untrusted { .. })),
        "{refused:?}"
    );
    assert_eq!(registry.seen().len(), 0);
    assert!(pull("localhost").await.is_ok() && pull("127.0.0.1").await.is_ok());
}

#[tokio::test]
async fn a_realm_within_the_site_is_not_asked_for_an_upstream_outside() {
    let registry = Registry::start().await;
    for near in [HERE, Ipv4Addr::new(10, 0, 0, 1)] {
        let server = NameServer::start(&[&[near]]).await;
        let hub = Upstream::new("hub", "https://hub.test".parse().unwrap(), None, true);
        let errand = Errand {
            site: hub.site(),
            realm: named(&registry, "https", "auth.hub.test"),
            service: None,
            scope: "repository:app:pull".to_owned(),
            reach: Reach::Public,
        };

        let tokens = Arc::new(Tokens::new(Arc::new(server.wire())));
        let refused = tokens.fetch(&Arc::new(hub), &errand).await;

        assert!(
            matches!(refused, Err(Error::Untrusted { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(registry.seen().len(), 0);
}
