//! Who asks: HTTP Basic against the logins of a snapshot, or a token that one
//! of the workers has given for it.
//!
//! One challenge only, since clients mix two up. Nothing here waits, and no
//! login is remembered: one that is not in the snapshot is refused at once.
//! Who guesses secrets is slowed down, and no login takes all there is.
//!
//! A login that allows it may carry selectors: features that the host has
//! besides, or instead of, those of its machine type.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    header::{AUTHORIZATION, HeaderValue},
    request::Parts,
};
use subtle::ConstantTimeEq as _;

use self::{
    selectors::{Credentials, Selected},
    token::Known,
    tries::Tries,
    verified::Verified,
};
use crate::{
    Challenge,
    peer::Proxies,
    snapshot::{Kind, Login, Snapshot},
};

mod challenge;
mod place;
mod scope;
mod selectors;
mod token;
mod tries;
mod verified;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::challenge::bearer;
pub(crate) use self::{
    challenge::BASIC,
    place::{Open, Place},
    scope::Scope,
};

/// The longest credentials that are looked at, encoded.
const MAX_ENCODED: usize = 1024;

/// Why a client is not let in. Does not tell a wrong secret from a login that
/// does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It has not said who it is.
    NotLoggedIn,
    /// It is not who it says.
    Wrong,
    /// Its token is not good, or not any more.
    Token,
    /// Its token is good, but not for this repository.
    Scope,
    /// It is, but there is no key to sign a token with.
    NoKey,
    /// It has been wrong too often. It may try again after this time.
    TooManyTries(Duration),
    /// It is, but its login has too many open requests.
    TooManyRequests,
    /// It is, but its login allows no selectors.
    NoSelectors,
    /// It is, but its selectors cannot be used, for this reason.
    Selectors(String),
}

/// Who a client is.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The name that it logged in with, selectors included.
    pub(crate) name: String,
    /// Its machine type, with its selectors.
    pub(crate) kind: Arc<Kind>,
    /// Its place among the requests of its login.
    pub(crate) place: Place,
    /// The login, to look it up again.
    pub(crate) login: LoginKey,
    /// None: it has given its secret, not a token.
    token: Option<Arc<Known>>,
}

/// A login with the secret that a client was let in by.
#[derive(Clone)]
pub(crate) struct LoginKey {
    name: Box<str>,
    secret_sha256: [u8; 32],
}

impl LoginKey {
    /// The login in `snapshot`, if it stands and its secret is still that one.
    pub(crate) fn find<'a>(&self, snapshot: &'a Snapshot) -> Option<Login<'a>> {
        let login = snapshot.login(&self.name)?;
        (*login.secret_sha256 == self.secret_sha256).then_some(login)
    }
}

impl fmt::Display for LoginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Without what is derived from the secret.
impl fmt::Debug for LoginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoginKey({self})")
    }
}

impl Caller {
    /// Who it is, if it may ask about the repository that it calls `name`.
    pub(crate) fn asking_for(self, name: Option<&str>) -> Result<Self, Refused> {
        let is_outside = |(token, name): (&Arc<Known>, _)| !token.scope.has(name);
        match self.token.as_ref().zip(name).is_some_and(is_outside) {
            true => Err(Refused::Scope),
            false => Ok(self),
        }
    }
}

/// What a client logs in with in a form.
#[derive(Debug)]
pub(crate) struct Password {
    /// The login's name, selectors included.
    pub(crate) name: String,
    pub(crate) secret: String,
}

/// A token for a client that has logged in.
#[derive(Debug)]
pub(crate) struct Granted {
    /// The name that it logged in with.
    pub(crate) name: String,
    pub(crate) token: String,
    /// When it was given, in seconds since 1970.
    pub(crate) issued: u64,
    /// How long it is good.
    pub(crate) lifetime_secs: u64,
}

/// Lets clients in.
#[derive(Debug)]
pub(crate) struct Gate {
    settings: Settings,
    /// What selectors make of machine types, never who asked.
    selected: Selected,
    tries: Tries,
    verified: Verified,
}

/// How clients are let in.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The proxies that tell whom they speak for.
    pub(crate) proxies: Proxies,
    /// How many requests of a login may be open at a time.
    pub(crate) requests_per_login: usize,
    /// How they are asked who they are.
    pub(crate) challenge: Challenge,
}

impl Gate {
    /// A gate that knows of no tries yet.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            selected: Selected::default(),
            tries: Tries::default(),
            verified: Verified::default(),
        }
    }

    /// Finds out who asks.
    pub(crate) fn admit(&self, snapshot: &Snapshot, request: &Parts) -> Result<Caller, Refused> {
        let value = authorization(request)?;
        if let Some(token) = after_scheme(value, "bearer") {
            let found = self.verified.find(snapshot, token, unix_secs());
            let (known, login) = found.ok_or(Refused::Token)?;
            let caller = self.caller(snapshot, login, &known.name)?;
            return Ok(Caller {
                token: Some(known),
                ..caller
            });
        }
        let credentials = basic(value)?;
        let given = Credentials::split(&credentials).ok_or(Refused::Wrong)?;
        let login = self.check(snapshot, request, &given)?;
        self.caller(snapshot, login, given.name)
    }

    /// Gives a token for `scope` to a client that logs in, by Basic or by
    /// `password`.
    pub(crate) fn grant(
        &self,
        snapshot: &Snapshot,
        request: &Parts,
        password: Option<Password>,
        scope: Scope,
    ) -> Result<Granted, Refused> {
        let credentials = match password {
            Some(Password { name, secret }) => format!("{name}:{secret}"),
            None => basic(authorization(request)?)?,
        };
        let given = Credentials::split(&credentials).ok_or(Refused::Wrong)?;
        let login = self.check(snapshot, request, &given)?;
        let name = self.caller(snapshot, login, given.name)?.name;
        let issued = unix_secs();
        let token = token::give(snapshot, (&name, &login), scope, issued);
        let token = token.ok_or(Refused::NoKey)?;
        Ok(Granted {
            name,
            token,
            issued,
            lifetime_secs: token::LIFETIME_SECS,
        })
    }

    /// The worker as the client knows it: a host, optionally with a port.
    pub(crate) fn host<'a>(&self, request: &'a Parts) -> Option<Cow<'a, str>> {
        self.settings.proxies.host(request)
    }

    /// How a client that has been refused is asked who it is. By Basic as long
    /// as there is no way to a token.
    pub(crate) fn challenge(
        &self,
        snapshot: &Snapshot,
        request: &Parts,
        scope: Option<String>,
        refused: &Refused,
    ) -> HeaderValue {
        let origin = match self.settings.challenge {
            Challenge::Bearer if !snapshot.signing_keys().is_empty() => {
                self.settings.proxies.origin(request)
            }
            _ => None,
        };
        match origin {
            Some(origin) => challenge::bearer(&origin, scope.as_deref(), refused),
            None => BASIC,
        }
    }

    /// The login that was given, if its secret was.
    fn check<'a>(
        &self,
        snapshot: &'a Snapshot,
        request: &Parts,
        given: &Credentials<'_>,
    ) -> Result<Login<'a>, Refused> {
        let (client, now) = (self.settings.proxies.client(request), Instant::now());
        if let Some(wait) = self.tries.wait(given.login, client, now) {
            return Err(Refused::TooManyTries(wait));
        }
        let presented = digest(&SHA256, given.secret.as_bytes());
        let is_right = |login: &Login<'_>| presented.as_ref().ct_eq(login.secret_sha256).into();
        snapshot.login(given.login).filter(is_right).ok_or_else(|| {
            self.tries.failed(given.login, client, now);
            Refused::Wrong
        })
    }

    fn caller(&self, snapshot: &Snapshot, login: Login<'_>, name: &str) -> Result<Caller, Refused> {
        let place = login.open.place(self.settings.requests_per_login);
        let place = place.ok_or(Refused::TooManyRequests)?;
        let kind = match name.split_once('+') {
            None => login.kind.clone(),
            Some(_) if !login.allow_selectors => return Err(Refused::NoSelectors),
            Some((_, selectors)) => self.selected.kind(snapshot, login.kind, selectors)?,
        };
        Ok(Caller {
            name: name.to_owned(),
            kind,
            place,
            login: LoginKey {
                name: token::login(name).into(),
                secret_sha256: *login.secret_sha256,
            },
            token: None,
        })
    }
}

/// The one value of the header.
fn authorization(request: &Parts) -> Result<&HeaderValue, Refused> {
    let mut given = request.headers.get_all(AUTHORIZATION).iter();
    match (given.next(), given.next()) {
        (None, _) => Err(Refused::NotLoggedIn),
        (Some(value), None) => Ok(value),
        (Some(_), Some(_)) => Err(Refused::Wrong),
    }
}

/// What Basic credentials are: `name:secret`.
fn basic(value: &HeaderValue) -> Result<String, Refused> {
    let encoded = after_scheme(value, "basic").ok_or(Refused::Wrong)?;
    if encoded.len() > MAX_ENCODED {
        return Err(Refused::Wrong);
    }
    let decoded = STANDARD.decode(encoded).ok();
    let text = decoded.and_then(|it| String::from_utf8(it).ok());
    match text {
        // podman sends these when it has none.
        Some(text) if text == ":" => Err(Refused::NotLoggedIn),
        text => text.ok_or(Refused::Wrong),
    }
}

fn after_scheme<'a>(value: &'a HeaderValue, scheme: &str) -> Option<&'a str> {
    let (given, rest) = value.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

fn unix_secs() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
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

    /// Asks a worker that has `snapshot` with a token.
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
}
