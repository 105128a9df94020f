//! People sign in at the control plane's issuer, by OpenID Connect.
//!
//! The ID token is what metahubctl then calls the control plane with. It is
//! kept in a file that no one else can read, and made anew by the refresh
//! token when it is about to end.

mod device;
mod issuer;
mod store;

use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub(crate) use self::{
    device::Invitation,
    issuer::{Issuer, SignInError, Tokens, read_authorities},
    store::{Place, Session, Sessions},
};
use crate::failure::Failure;

/// An ID token that ends sooner is made anew before it is used.
const MARGIN: Duration = Duration::from_secs(30);

/// The sign-in at the control plane at `control`, with tokens that are made anew
/// if need be. `None`: no one has signed in there.
pub(crate) async fn current(sessions: &Sessions, control: &Url) -> anyhow::Result<Option<Session>> {
    let Some(session) = sessions.find(control)? else {
        return Ok(None);
    };
    if session.is_good() {
        return Ok(Some(session));
    }
    // Another metahubctl may do the same, and a refresh token may be good once.
    let _lock = sessions.lock().await?;
    let session = match sessions.find(control)? {
        Some(session) if session.is_good() => return Ok(Some(session)),
        Some(session) => session,
        None => return Ok(None),
    };
    match refreshed(&session).await {
        Ok(session) => {
            sessions.put(control, &session)?;
            Ok(Some(session))
        }
        Err(error) if error.ends_sign_in() => {
            sessions.remove(control)?;
            Err(Failure::SignedOut.into())
        }
        // It may do for this once.
        Err(_) if session.ends().is_some_and(|end| end > SystemTime::now()) => Ok(Some(session)),
        Err(error) => Err(anyhow::Error::from(error)
            .context("the sign-in cannot be renewed now; it is kept, so try again later")),
    }
}

async fn refreshed(session: &Session) -> Result<Session, SignInError> {
    let refresh_token = session.refresh_token.as_ref().ok_or(SignInError::Over)?;
    let issuer = Issuer::find(&session.place).await?;
    let mut tokens = issuer.refresh(refresh_token, None).await?;
    // An issuer may let the old one stand.
    let mut refresh_token = tokens
        .refresh_token
        .as_ref()
        .unwrap_or(refresh_token)
        .clone();
    if tokens.id_token.is_none() {
        // Some give one only to those who ask for it again.
        tokens = issuer.refresh(&refresh_token, Some("openid")).await?;
        refresh_token = tokens.refresh_token.clone().unwrap_or(refresh_token);
    }
    Session::of(session.place.clone(), tokens, Some(refresh_token))
}

/// Ends a sign-in here and, where that can be, at the issuer. Returns whether
/// there was one.
pub(crate) async fn end(sessions: &Sessions, control: &Url) -> anyhow::Result<bool> {
    let _lock = sessions.lock().await?;
    let Some(session) = sessions.find(control)? else {
        return Ok(false);
    };
    sessions.remove(control)?;
    if let Some(refresh_token) = &session.refresh_token {
        let issuer = Issuer::find(&session.place).await?;
        issuer.revoke(refresh_token).await?;
    }
    Ok(true)
}

impl Session {
    /// What a sign-in gave.
    pub(crate) fn of(
        place: Place,
        tokens: Tokens,
        refresh_token: Option<SecretString>,
    ) -> Result<Self, SignInError> {
        Ok(Self {
            place,
            access_until: tokens.access_until(),
            id_token: tokens.id_token.ok_or(SignInError::NoIdToken)?,
            access_token: tokens.access_token,
            refresh_token,
        })
    }

    /// When the ID token ends.
    fn ends(&self) -> Option<SystemTime> {
        issuer::expires(self.id_token.expose_secret())
    }

    fn is_good(&self) -> bool {
        let soon = SystemTime::now() + MARGIN;
        let can_renew = self.refresh_token.is_some();
        let access_is_over = self.access_until.is_some_and(|end| end <= soon);
        self.ends().is_some_and(|end| end > soon) && !(access_is_over && can_renew)
    }
}
