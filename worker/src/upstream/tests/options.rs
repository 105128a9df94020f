//! Proxies, prefixes, token servers elsewhere and further addresses.

use http::header;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use url::Url;

use super::{certificates::Front, *};
use crate::upstream::{
    Judgement, Proxy, ProxyChoice, ProxyEnvironment, Why,
    error::Distrust,
    reach::Reach,
    testing::{Answer, INDEX, Seen},
};

/// Base64 of `robot:hunter2`.
const BASIC: &str = "Basic cm9ib3Q6aHVudGVyMg==";

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

/// A proxy that opens tunnels for `robot`, to where it is asked to. Ends with
/// the head of its first request.
async fn tunnel() -> (Proxy, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut client = BufReader::new(listener.accept().await.unwrap().0);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            client.read_line(&mut head).await.unwrap();
        }
        let target = head.split(' ').nth(1).unwrap();
        let mut server = TcpStream::connect(target).await.unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        head
    });
    let proxy = Proxy::parse(&format!("http://robot@{address}")).unwrap();
    (proxy.with_password("hunter2").unwrap(), serving)
}

#[tokio::test]
async fn an_upstream_over_plain_http_is_asked_through_the_proxy_of_the_environment() {
    let proxy = Registry::start().await;
    proxy.intercept(|_| Some(Answer::ok(EMPTY_INDEX).with("content-type", INDEX)));
    let address = proxy.url().to_string();
    let proxies = ProxyEnvironment::of(|name| (name == "http_proxy").then(|| address.clone()));
    let settings = Settings {
        proxies,
        ..Settings::default()
    };
    let mut bench = Bench::with(settings, None).await;
    let registry = url("http://registry.corp.example");
    bench.upstream = Arc::new(Upstream::new("hub", registry, None, true));

    bench.pull("latest").await.unwrap();

    let target = "GET http://registry.corp.example/v2/app/manifests/latest";
    assert_eq!(proxy.count(target), 1, "{:?}", proxy.seen());
}

#[tokio::test]
async fn an_upstream_over_tls_is_asked_through_a_tunnel_of_its_own_proxy() {
    let mut bench = Bench::new().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    let front = Front::start(&bench.registry).await;
    let (proxy, asked) = tunnel().await;
    let upstream = Upstream::new("hub", front.url(), None, true)
        .judged(Judgement::Authorities(front.pem.clone()))
        .proxied(ProxyChoice::Through(proxy));
    bench.upstream = Arc::new(upstream);

    bench.pull("latest").await.unwrap();

    let head = asked.await.unwrap().to_ascii_lowercase();
    let authority = front.url().socket_addrs(|| None).unwrap()[0];
    assert!(head.starts_with(&format!("connect {authority} ")), "{head}");
    let account = format!("proxy-authorization: {BASIC}").to_ascii_lowercase();
    assert!(head.contains(&account), "{head}");
}

#[tokio::test]
async fn a_proxy_that_cannot_be_reached_is_named_as_the_reason() {
    let mut bench = Bench::new().await;
    let upstream = (*bench.upstream).clone();
    let proxy = Proxy::parse("127.0.0.1:1").unwrap();
    bench.upstream = Arc::new(upstream.proxied(ProxyChoice::Through(proxy)));

    let failed = bench.pull("latest").await.unwrap_err();

    assert!(
        matches!(
            failed,
            Error::Unavailable {
                why: Why::Proxy,
                ..
            }
        ),
        "{failed}"
    );
}

#[tokio::test]
async fn a_registry_behind_a_proxy_does_not_lead_to_the_workers_own_network() {
    let proxy = Registry::start().await;
    let near = Registry::start().await;
    for target in [
        near.url(),
        url("http://localhost:1/"),
        url("http://10.0.0.1/"),
    ] {
        let location = target.to_string();
        proxy.intercept(move |_| Some(Answer::status(307).with("location", &location)));
        let mut bench = Bench::new().await;
        let through = Proxy::parse(proxy.url().as_str()).unwrap();
        let upstream = Upstream::new("hub", url("http://registry.example"), None, true);
        bench.upstream = Arc::new(upstream.proxied(ProxyChoice::Through(through)));

        let refused = bench.pull("latest").await.unwrap_err();

        assert!(matches!(refused, Error::Untrusted { .. }), "{refused}");
    }
    assert!(near.seen().is_empty());
    assert_eq!(proxy.seen().len(), 3);
}

#[tokio::test]
async fn a_prefix_comes_before_the_repository_in_paths_and_in_scopes_of_tokens() {
    let mut bench = Bench::new().await;
    let digest = bench
        .registry
        .put_manifest("hub/app", "latest", EMPTY_INDEX);
    let realm = bench.registry.url().join("/token").unwrap();
    bench.registry.intercept(move |seen| {
        if seen.target.starts_with("/token") {
            return Some(Answer::ok(r#"{"token":"t"}"#));
        }
        let challenge = format!(r#"Bearer realm="{realm}""#);
        let refused = Answer::status(401).with("www-authenticate", &challenge);
        seen.header(header::AUTHORIZATION)
            .is_empty()
            .then_some(refused)
    });
    let upstream = (*bench.upstream).clone().prefixed(Some("hub".into()));
    bench.upstream = Arc::new(upstream);

    let pulled = bench.pull("latest").await.unwrap();

    assert_eq!(pulled.digest, digest);
    assert_eq!(
        bench
            .registry
            .count("GET /token?scope=repository%3Ahub%2Fapp%3Apull"),
        1,
        "{:?}",
        bench.registry.seen()
    );
}

#[test]
fn another_prefix_makes_caches_cold() {
    let upstream = Upstream::new("hub", url("https://r.example"), None, true);
    let site = |prefix: &str| upstream.clone().prefixed(Some(prefix.into())).site();

    assert!(site("a") != site("b") && site("a") != upstream.site());
}

/// A registry that wants tokens from a server elsewhere, which gives them out.
async fn with_tokens_of(server: &Registry, password: Option<&str>) -> Bench {
    let bench = Bench::with_password(password).await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    server.intercept(|_| Some(Answer::ok(r#"{"token":"good"}"#)));
    challenge(&bench.registry, &server.url());
    bench
}

fn is_good(seen: &Seen) -> bool {
    seen.header(header::AUTHORIZATION) == "Bearer good"
}

/// Has `registry` take the token `good` of a server at `server` alone.
fn challenge(registry: &Registry, server: &Url) {
    let realm = server.join("/token").unwrap();
    registry.intercept(move |seen| {
        let challenge = format!(r#"Bearer realm="{realm}",service="other.test""#);
        let refused = Answer::status(401).with("www-authenticate", &challenge);
        (!is_good(seen)).then_some(refused)
    });
}

#[tokio::test]
async fn a_token_server_of_another_party_sees_the_credential_where_the_admin_allows_it() {
    let server = Registry::start_at("127.0.0.2").await;
    let mut bench = with_tokens_of(&server, Some("hunter2")).await;
    let refused = bench.pull("latest").await.unwrap_err();
    let expected = Distrust::AnotherParty;
    assert!(
        matches!(refused, Error::Untrusted { why, .. } if why == expected),
        "{refused}"
    );
    assert!(server.seen().is_empty());

    let port = server.url().port().unwrap();
    let upstream = (*bench.upstream).clone();
    let upstream = upstream.with_token_hosts([format!("127.0.0.2:{port}")]);
    bench.upstream = Arc::new(upstream);
    bench.pull("latest").await.unwrap();

    let form = String::from_utf8(server.seen()[0].body.to_vec()).unwrap();
    assert!(form.contains("password=hunter2"), "{form}");
}

#[tokio::test]
async fn an_anonymous_token_of_another_party_is_fetched_from_public_addresses_only() {
    let server = Registry::start_at("127.0.0.2").await;
    let bench = with_tokens_of(&server, None).await;

    let refused = bench.pull("latest").await.unwrap_err();

    let expected = Distrust::TooClose;
    assert!(
        matches!(refused, Error::Untrusted { why, .. } if why == expected),
        "{refused}"
    );
    assert!(server.seen().is_empty());
    let anonymous = Upstream::new("hub", url("https://r.example"), None, true);
    for (realm, reach) in [
        ("https://auth.other.example/token", Some(Reach::Public)),
        ("http://auth.other.example/token", None),
        ("https://u@auth.other.example/token", None),
    ] {
        assert_eq!(anonymous.realm_reach(&url(realm), Reach::Private), reach);
    }
}

#[test]
fn a_token_host_without_a_port_is_at_the_port_of_https() {
    let upstream = Upstream::new("hub", url("https://r.example"), None, true);
    let upstream = upstream.with_token_hosts(["auth.test".into(), "[2001:db8::1]:5001".into()]);

    for (realm, is_allowed) in [
        ("https://auth.test/token", true),
        ("https://auth.test:443/token", true),
        ("https://auth.test:5001/token", false),
        ("http://auth.test/token", false),
        ("https://[2001:db8::1]:5001/token", true),
        ("https://[2001:db8::1]/token", false),
    ] {
        assert_eq!(upstream.is_token_host(&url(realm)), is_allowed, "{realm}");
    }
}

#[tokio::test]
async fn the_challenge_of_a_registry_that_is_redirected_to_is_taken_up_there_anonymously() {
    let bench = Bench::with_password(Some("hunter2")).await;
    let back = Registry::start_at("127.0.0.2").await;
    let digest = back.put_manifest("app", "latest", EMPTY_INDEX);
    let realm = back.url().join("/token").unwrap();
    back.intercept(move |seen| {
        if seen.target.starts_with("/token") {
            return Some(Answer::ok(r#"{"token":"good"}"#));
        }
        let challenge = format!(r#"Bearer realm="{realm}",service="back.test""#);
        let refused = Answer::status(401).with("www-authenticate", &challenge);
        (!is_good(seen)).then_some(refused)
    });
    let base = back.url();
    bench.registry.intercept(move |seen| {
        let location = base.join(&seen.target).unwrap();
        Some(Answer::status(302).with("location", location.as_str()))
    });

    let pulled = bench.pull("latest").await.unwrap();

    assert_eq!(pulled.digest, digest);
    let is_secret = |seen: &Seen| {
        let shown = format!("{seen:?}");
        shown.contains("hunter2") || shown.contains(BASIC)
    };
    assert!(!back.seen().iter().any(is_secret));
}

#[tokio::test]
async fn a_registry_that_redirects_to_https_at_its_own_host_gets_the_credential_there() {
    let mut bench = Bench::new().await;
    let digest = bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.registry.intercept(|seen| {
        let refused = Answer::status(401).with("www-authenticate", "Basic realm=x");
        (seen.header(header::AUTHORIZATION) != BASIC).then_some(refused)
    });
    let front = Front::start(&bench.registry).await;
    let plain = Registry::start().await;
    let base = front.url();
    plain.intercept(move |seen| {
        let location = base.join(&seen.target).unwrap();
        Some(Answer::status(308).with("location", location.as_str()))
    });
    let credential = bench_credential();
    let upstream = Upstream::new("hub", plain.url(), Some(credential), true);
    let judgement = Judgement::Authorities(front.pem.clone());
    bench.upstream = Arc::new(upstream.judged(judgement));

    let pulled = bench.pull("latest").await.unwrap();

    assert_eq!(pulled.digest, digest);
    let shown = |seen: &Seen| seen.headers.contains_key(header::AUTHORIZATION);
    assert!(!plain.seen().iter().any(shown));
}

fn bench_credential() -> Credential {
    Credential {
        username: "robot".into(),
        password: "hunter2".into(),
    }
}

#[tokio::test]
async fn a_registry_that_takes_itself_for_plain_http_is_asked_over_https() {
    let mut bench = Bench::new().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    let front = Front::start(&bench.registry).await;
    let mut own = front.url();
    own.set_scheme("http").unwrap();
    bench.registry.intercept(move |seen| {
        if seen.target.starts_with("/token") {
            return Some(Answer::ok(r#"{"token":"good"}"#));
        }
        let challenge = format!(r#"Bearer realm="{own}token""#);
        let moved = format!("{own}moved{}", seen.target);
        if !is_good(seen) && !seen.target.starts_with("/moved") {
            return Some(Answer::status(401).with("www-authenticate", &challenge));
        }
        (seen.target == "/v2/app/manifests/latest")
            .then(|| Answer::status(307).with("location", &moved))
            .or_else(|| {
                seen.target
                    .starts_with("/moved")
                    .then(|| Answer::ok(EMPTY_INDEX).with("content-type", INDEX))
            })
    });
    let upstream = Upstream::new("hub", front.url(), Some(bench_credential()), true);
    let judgement = Judgement::Authorities(front.pem.clone());
    bench.upstream = Arc::new(upstream.judged(judgement));

    bench.pull("latest").await.unwrap();

    assert_eq!(bench.registry.count("GET /moved"), 1);
}

#[tokio::test]
async fn a_further_address_is_asked_when_the_first_fails_and_then_first_for_a_while() {
    let mut bench = Bench::new().await;
    for tag in ["a", "b", "c"] {
        bench.registry.put_manifest("app", tag, EMPTY_INDEX);
    }
    let broken = Registry::start().await;
    broken.intercept(|_| Some(Answer::status(503)));
    let upstream = Upstream::new("hub", broken.url(), None, true);
    let urls = [url("http://127.0.0.1:1"), bench.registry.url()];
    bench.upstream = Arc::new(upstream.falling_back_to(urls));

    bench.pull("a").await.unwrap();
    bench.pull("b").await.unwrap();
    assert_eq!(broken.seen().len(), 1);

    bench.clock.advance(Duration::from_secs(60));
    bench.pull("c").await.unwrap();
    assert_eq!(broken.seen().len(), 2);
}

#[tokio::test]
async fn what_an_address_denies_is_not_asked_for_at_the_next() {
    let mut bench = Bench::new().await;
    let second = Registry::start().await;
    let upstream = (*bench.upstream).clone().falling_back_to([second.url()]);
    bench.upstream = Arc::new(upstream);

    let missing = bench.pull("latest").await.unwrap_err();

    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    assert!(second.seen().is_empty());
}
