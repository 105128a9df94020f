//! Logins by secret, by token and by certificate.

use http::Request;

use super::*;
use crate::{peer::Peer, snapshot::sample::Sample};

fn snapshot() -> Snapshot {
    Sample::new()
        .machine_type("type1", "{}", "secret:with:colons")
        .build()
}

fn gate() -> Gate {
    Gate::new(Settings {
        proxies: Proxies::default(),
        requests_per_login: 2,
        challenge: Challenge::Basic,
    })
}

fn request(address: &str, lines: &[&str]) -> Parts {
    let mut parts = Request::get("/v2/").body(()).unwrap().into_parts().0;
    for line in lines {
        let line = HeaderValue::from_str(line).unwrap();
        parts.headers.append(AUTHORIZATION, line);
    }
    parts.extensions.insert(Peer(address.parse().unwrap()));
    parts
}

fn login(lines: &[&str]) -> Result<String, Refused> {
    let caller = gate().admit(&snapshot(), &request("192.0.2.1", lines));
    caller.map(|caller| caller.kind.name.clone())
}

fn basic_of(credentials: impl AsRef<[u8]>) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

#[test]
fn a_login_with_its_secret_is_let_in_as_its_type() {
    let good = basic_of("qnib-type1:secret:with:colons");

    assert_eq!(login(&[&good]).unwrap(), "qnib-type1");
    assert_eq!(
        login(&[&good.replace("Basic", "bAsIc")]).unwrap(),
        "qnib-type1"
    );
}

#[test]
fn no_credentials_and_empty_ones_are_not_logged_in() {
    assert_eq!(login(&[]), Err(Refused::NotLoggedIn));
    assert_eq!(login(&[&basic_of(":")]), Err(Refused::NotLoggedIn));
}

#[test]
fn all_else_is_wrong_in_the_same_way() {
    let good = basic_of("qnib-type1:secret:with:colons");
    for line in [
        &basic_of("qnib-type1:secret"),
        &basic_of("qnib-type2:secret:with:colons"),
        &basic_of("qnib-type1:"),
        &basic_of("qnib-type1"),
        &basic_of(""),
        &basic_of([0xff, b':', 0xff]),
        &basic_of("a".repeat(4000)),
        &good.replace("Basic", "Digest"),
        "Basic",
        "Basic ????",
        "",
    ] {
        assert_eq!(login(&[line]), Err(Refused::Wrong), "{line}");
    }
    assert_eq!(login(&[&good, &good]), Err(Refused::Wrong));
}

#[test]
fn who_guesses_is_held_up_while_a_host_elsewhere_is_let_in() {
    let (gate, snapshot) = (gate(), snapshot());
    let wrong = request("192.0.2.1", &[&basic_of("qnib-type1:guess")]);
    let right = basic_of("qnib-type1:secret:with:colons");

    while matches!(gate.admit(&snapshot, &wrong), Err(Refused::Wrong)) {}

    for line in [&right, &basic_of("qnib-type1:guess")] {
        let refused = gate.admit(&snapshot, &request("192.0.2.1", &[line]));
        assert!(matches!(refused, Err(Refused::TooManyTries(_))));
    }
    let elsewhere = request("192.0.2.2", &[&right]);
    assert!(gate.admit(&snapshot, &elsewhere).is_ok());
}

#[test]
fn a_login_has_no_more_open_requests_than_it_may() {
    let (gate, snapshot) = (gate(), snapshot());
    let good = request("192.0.2.1", &[&basic_of("qnib-type1:secret:with:colons")]);

    let open = [gate.admit(&snapshot, &good), gate.admit(&snapshot, &good)];
    let third = gate.admit(&snapshot, &good);

    assert!(open.iter().all(Result::is_ok));
    assert_eq!(third.unwrap_err(), Refused::TooManyRequests);
    drop(open);
    assert!(gate.admit(&snapshot, &good).is_ok());
}

/// Authenticates with a token against `snapshot`.
fn with_token(snapshot: &Snapshot, token: &str) -> Result<Caller, Refused> {
    let line = format!("bearer {token}");
    gate().admit(snapshot, &request("192.0.2.1", &[&line]))
}

#[test]
fn a_token_of_yesterdays_key_is_good_at_every_worker_until_that_key_is_gone() {
    let now = unix_secs();
    let policy = || Sample::new().machine_type("type1", "{}", "secret");
    let yesterday = |sample| token::tests::key(sample, "a", 1, now - 86_400);
    let today = |sample, from| token::tests::key(sample, "b", 2, from);
    let before = yesterday(policy()).build();
    let pushed = today(yesterday(policy()), now + 900).build();
    let begun = today(yesterday(policy()), now - 60).build();
    let after = today(policy(), now - 960).build();
    let basic = request("192.0.2.1", &[&basic_of("qnib-type1:secret")]);
    let give = |snapshot| gate().grant(snapshot, &basic, None, Scope::default());

    let of_yesterday = give(&pushed).unwrap().token;
    let of_today = give(&begun).unwrap().token;

    for snapshot in [&before, &pushed, &begun] {
        assert!(with_token(snapshot, &of_yesterday).is_ok());
    }
    for snapshot in [&pushed, &begun, &after] {
        assert!(with_token(snapshot, &of_today).is_ok());
    }
    let ended = with_token(&after, &of_yesterday);
    assert_eq!(ended.unwrap_err(), Refused::Token);
}

#[test]
fn a_token_asks_for_its_own_repositories_and_a_password_for_all() {
    let snapshot = token::tests::snapshot();
    let login = snapshot.login("qnib-type1").unwrap();
    let scope = Scope::asked(["repository:a:pull"].into_iter());
    let token = token::give(&snapshot, ("qnib-type1", &login), scope, unix_secs()).unwrap();
    let ask = |name| with_token(&snapshot, &token).unwrap().asking_for(name);

    assert!(ask(Some("a")).is_ok() && ask(None).is_ok());
    assert_eq!(ask(Some("b")).unwrap_err(), Refused::Scope);
    let basic = request("192.0.2.1", &[&basic_of("qnib-type1:secret")]);
    let caller = gate().admit(&snapshot, &basic).unwrap();
    assert!(caller.asking_for(Some("b")).is_ok());
}

/// The machine type of a client with a certificate for `login` and these
/// `Authorization` lines.
fn with_certificate(login: &str, lines: &[&str]) -> Result<String, Refused> {
    let policy = Sample::new().machine_type("type1", "{}", "secret");
    let snapshot = policy.machine_type("type2", "{}", "secret2").build();
    let mut request = request("192.0.2.1", lines);
    request.extensions.insert(Secured {
        certificate: Some(Arc::new(ClientCertificate::naming(login))),
    });
    let caller = gate().admit(&snapshot, &request);
    caller.map(|caller| caller.kind.name.clone())
}

#[test]
fn a_certificate_is_a_login_of_the_name_that_it_has() {
    assert_eq!(with_certificate("qnib-type2", &[]).unwrap(), "qnib-type2");
    // podman sends these without a login.
    let empty = basic_of(":");
    assert_eq!(
        with_certificate("qnib-type2", &[&empty]).unwrap(),
        "qnib-type2"
    );
}

#[test]
fn an_authorization_that_is_there_counts_and_not_the_certificate() {
    let [right, wrong] = ["qnib-type1:secret", "qnib-type1:guess"].map(basic_of);

    let as_type2 = |line: &str| with_certificate("qnib-type2", &[line]);

    assert_eq!(as_type2(&right).unwrap(), "qnib-type1");
    assert_eq!(as_type2(&wrong), Err(Refused::Wrong));
    assert_eq!(as_type2("Bearer a.b.c"), Err(Refused::Token));
}

#[test]
fn a_certificate_that_names_no_login_is_refused_and_says_so() {
    let unknown = with_certificate("node17.example.com", &[]);
    let nameless = with_certificate("no login", &[]);

    let name = "node17.example.com".to_owned();
    assert_eq!(unknown, Err(Refused::NoSuchLogin(name)));
    assert_eq!(nameless, Err(Refused::Nameless(Nameless::None)));
}

#[test]
fn a_certificate_has_selectors_only_where_its_login_allows_them() {
    let refused = with_certificate("qnib-type1+nvcap:8.0", &[]);

    assert_eq!(refused, Err(Refused::NoSelectors));
}

#[test]
fn a_certificate_ends_with_its_login_and_not_with_the_logins_secret() {
    let policy = |secret| Sample::new().machine_type("type1", "{}", secret).build();
    let mut request = request("192.0.2.1", &[]);
    request.extensions.insert(Secured {
        certificate: Some(Arc::new(ClientCertificate::naming("qnib-type1"))),
    });

    let caller = gate().admit(&policy("secret"), &request).unwrap();

    assert!(caller.login.find(&policy("another")).is_some());
    assert!(caller.login.find(&Sample::new().build()).is_none());
}

#[test]
fn a_certificate_gets_a_token_for_the_login_that_it_names() {
    let policy = Sample::new().machine_type("type1", "{}", "secret");
    let snapshot = token::tests::key(policy, "a", 1, 0).build();
    let mut request = request("192.0.2.1", &[]);
    request.extensions.insert(Secured {
        certificate: Some(Arc::new(ClientCertificate::naming("qnib-type1"))),
    });
    let scope = Scope::asked(std::iter::empty());

    let granted = gate().grant(&snapshot, &request, None, scope).unwrap();

    assert_eq!(
        with_token(&snapshot, &granted.token).unwrap().name,
        "qnib-type1"
    );
}
