//! Who asks: HTTP Basic against the logins of a snapshot, or a token that one
//! of the workers has given for it.
//!
//! One challenge only, since clients mix two up. Nothing here waits, and no
//! login is remembered: one that is not in the snapshot is refused at once.
//! Who guesses secrets is slowed down, and no login takes all there is.
//!
//! A client certificate is a login as well, if the request has no
//! `Authorization`: an `Authorization` header takes precedence, also if it is
//! wrong.
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
    peer::{Proxies, Secured},
    snapshot::{Kind, Login, Snapshot},
};

mod certificate;
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
    certificate::{ClientCertificate, Nameless},
    challenge::BASIC,
    place::{Open, Place},
    scope::Scope,
};

/// The longest credentials that are looked at, encoded.
const MAX_ENCODED: usize = 1024;

/// The reason that authentication fails. Does not distinguish a wrong secret
/// from a login that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It has not said who it is.
    NotLoggedIn,
    /// It is not who it says.
    Wrong,
    /// The client's certificate names no login.
    Nameless(Nameless),
    /// The client's certificate names a login that does not exist.
    NoSuchLogin(String),
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
    /// `None`: the client sent its secret or a certificate, not a token.
    token: Option<Arc<Known>>,
}

/// A login with the credential that authenticated the client.
#[derive(Clone)]
pub(crate) struct LoginKey {
    name: Box<str>,
    /// `None`: the client sent a certificate, not the secret.
    secret_sha256: Option<[u8; 32]>,
}

impl LoginKey {
    /// The login in `snapshot`, if it stands and its secret is still that one.
    pub(crate) fn find<'a>(&self, snapshot: &'a Snapshot) -> Option<Login<'a>> {
        let login = snapshot.login(&self.name)?;
        let is_same = |secret: [u8; 32]| *login.secret_sha256 == secret;
        self.secret_sha256.is_none_or(is_same).then_some(login)
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

/// The settings of authentication.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The proxies whose forwarded client addresses count.
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

    /// Authenticates a request: by its `Authorization` header or, without one,
    /// by the client certificate.
    pub(crate) fn admit(&self, snapshot: &Snapshot, request: &Parts) -> Result<Caller, Refused> {
        match self.admit_by_header(snapshot, request) {
            Err(Refused::NotLoggedIn) => {}
            admitted => return admitted,
        }
        let certificate = certificate(request).ok_or(Refused::NotLoggedIn)?;
        let (login, name) = certified(snapshot, certificate)?;
        let mut caller = self.caller(snapshot, login, name)?;
        caller.login.secret_sha256 = None;
        Ok(caller)
    }

    fn admit_by_header(&self, snapshot: &Snapshot, request: &Parts) -> Result<Caller, Refused> {
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
            Some(Password { name, secret }) => Ok(format!("{name}:{secret}")),
            None => authorization(request).and_then(basic),
        };
        let (login, name) = match &credentials {
            Ok(credentials) => {
                let given = Credentials::split(credentials).ok_or(Refused::Wrong)?;
                (self.check(snapshot, request, &given)?, given.name)
            }
            Err(Refused::NotLoggedIn) => {
                let certificate = certificate(request).ok_or(Refused::NotLoggedIn)?;
                certified(snapshot, certificate)?
            }
            Err(refused) => return Err(refused.clone()),
        };
        let name = self.caller(snapshot, login, name)?.name;
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
                secret_sha256: Some(*login.secret_sha256),
            },
            token: None,
        })
    }
}

/// The client certificate of the handshake.
fn certificate(request: &Parts) -> Option<&ClientCertificate> {
    request.extensions.get::<Secured>()?.certificate.as_deref()
}

/// The login that a certificate names, and its name with selectors.
fn certified<'a>(
    snapshot: &'a Snapshot,
    certificate: &'a ClientCertificate,
) -> Result<(Login<'a>, &'a str), Refused> {
    let name = certificate.login().map_err(Refused::Nameless)?;
    let login = snapshot.login(token::login(name));
    let login = login.ok_or_else(|| Refused::NoSuchLogin(name.to_owned()))?;
    Ok((login, name))
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
mod tests;
