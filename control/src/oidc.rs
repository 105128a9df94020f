//! People who signed in at an OpenID Connect issuer: their ID tokens are
//! checked, and their claims give them a role.
//!
//! The issuer is asked for its keys, which are kept, and fetched again when they
//! are old or a token names one that is new; and for what it says of a person at
//! its userinfo endpoint only.

mod claims;
mod issuer;
mod keys;
mod settings;
mod userinfo;

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};

pub use self::settings::{InvalidRoleRule, OidcSettings, RoleRule};
use self::{claims::Claims, issuer::Client, keys::KeyRing, userinfo::Userinfo};
use crate::{Error, Result, access::Caller};

/// How tokens may be signed. Neither `none` nor a shared secret is among them.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// What ID tokens say that they are in their header, if anything.
const TYPES: [&str; 2] = ["JWT", "application/jwt"];
/// How far the clocks of the issuer and of this host may differ.
const LEEWAY_SECS: u64 = 30;
/// A longer token is none of a person.
const LONGEST_TOKEN: usize = 40 << 10;

/// Why the issuer gives no keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// It does not answer, or not as it should.
    #[error("{url} does not answer")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },

    /// It says what does not fit.
    #[error("{url} is not what an issuer gives: {reason}")]
    Unfit {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },

    /// It was asked only just now.
    #[error("the issuer was asked only just now")]
    TooOften,
}

/// The issuer that people sign in at.
#[derive(Debug)]
pub(crate) struct SignIn {
    settings: OidcSettings,
    keys: KeyRing,
    userinfo: Userinfo,
}

impl SignIn {
    /// The issuer of the settings. Asks it nothing yet.
    pub(crate) fn new(settings: OidcSettings) -> anyhow::Result<Option<Self>> {
        let Some(issuer) = settings.checked_issuer()? else {
            return Ok(None);
        };
        let client = Arc::new(Client::new(issuer, settings.oidc_ca_file.clone())?);
        Ok(Some(Self {
            settings,
            keys: KeyRing::new(client.clone()),
            userinfo: Userinfo::new(client),
        }))
    }

    /// Whether a token looks like one of an issuer.
    pub(crate) fn may_be_for(token: &str) -> bool {
        token.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    pub(crate) fn settings(&self) -> &OidcSettings {
        &self.settings
    }

    /// Whose token it is, if the issuer gave it to this MetaHub, it is good
    /// now, and its claims give a role. Where they give none, the issuer is asked
    /// for more with the access token: many name groups at the userinfo endpoint
    /// only.
    pub(crate) async fn caller(&self, token: &str, access_token: Option<&str>) -> Result<Caller> {
        let mut claims = self.verified(token).await?;
        if let Some(access_token) = access_token.filter(|_| !self.settings.has_role(&claims)) {
            self.userinfo.add(&mut claims, token, access_token).await?;
        }
        let standing = self.settings.standing(&claims)?;
        let expires = claims.expires().map(Duration::from_secs);
        Ok(Caller {
            name: claims.name(),
            standing,
            expires: expires.and_then(|end| UNIX_EPOCH.checked_add(end)),
        })
    }

    async fn verified(&self, token: &str) -> Result<Claims> {
        if token.len() > LONGEST_TOKEN {
            return Err(refused("it is too long"));
        }
        let header = decode_header(token).map_err(|_| refused("it cannot be read"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(refused("it is signed in a way that is not accepted"));
        }
        // RFC 9068 and others give tokens of other kinds a type of their own.
        let is_jwt = |typ: &str| TYPES.iter().any(|own| typ.eq_ignore_ascii_case(own));
        if !header.typ.as_deref().is_none_or(is_jwt) {
            return Err(refused("it is a token of another kind"));
        }
        let key = self.keys.find(header.kid.as_deref()).await?;
        if key.algorithm.is_some_and(|it| it != header.alg) {
            return Err(refused("it is signed in another way than its key is for"));
        }
        let client_id = self.settings.client_id();
        let mut validation = Validation::new(header.alg);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // With or without the slash at its end, it is the same.
        let issuer = self.settings.issuer().trim_end_matches('/');
        validation.set_issuer(&[issuer, &format!("{issuer}/")]);
        validation.set_audience(&[client_id]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_SECS;
        let decoded = decode::<Claims>(token, &key.key, &validation);
        let claims = decoded.map_err(|error| refusal(error.kind()))?.claims;
        if !claims.are_of_an_id_token() {
            return Err(refused("it is a token of another kind"));
        }
        match claims.is_for(client_id) {
            true => Ok(claims),
            false => Err(refused("it was given to another client")),
        }
    }
}

fn refusal(kind: &ErrorKind) -> Error {
    match kind {
        ErrorKind::ExpiredSignature => Error::Unauthenticated {
            reason: "the sign-in has ended: run `metahubctl auth login`".into(),
        },
        ErrorKind::ImmatureSignature => refused("it is not good yet"),
        ErrorKind::InvalidAudience => refused("it is for another audience"),
        ErrorKind::InvalidIssuer => refused("it is of another issuer"),
        ErrorKind::InvalidSignature => refused("its signature is wrong"),
        ErrorKind::MissingRequiredClaim(_) => refused("it lacks exp, iss, aud or sub"),
        _ => refused("it is not what the issuer gives"),
    }
}

/// The token itself never shows.
fn refused(why: &str) -> Error {
    Error::Unauthenticated {
        reason: format!("the ID token is refused, {why}: run `metahubctl auth login`"),
    }
}
