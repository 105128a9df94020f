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
    issuer::{Issuer, SignInError, read_authorities},
    store::{Place, Session, Sessions},
};
use crate::failure::Failure;

/// An ID token that ends sooner is made anew before it is used.
const MARGIN: Duration = Duration::from_secs(30);

/// The ID token for the control plane at `control`, made anew if need be.
/// `None`: no one has signed in there.
pub(crate) async fn id_token(
    sessions: &Sessions,
    control: &Url,
) -> anyhow::Result<Option<SecretString>> {
    let Some(session) = sessions.find(control)? else {
        return Ok(None);
    };
    if session.is_good() {
        return Ok(Some(session.id_token));
    }
    // Another metahubctl may do the same, and a refresh token may be good once.
    let _lock = sessions.lock().await?;
    let session = match sessions.find(control)? {
        Some(session) if session.is_good() => return Ok(Some(session.id_token)),
        Some(session) => session,
        None => return Ok(None),
    };
    match refreshed(&session).await {
        Ok(session) => {
            sessions.put(control, &session)?;
            Ok(Some(session.id_token))
        }
        Err(SignInError::Refused { .. }) => {
            sessions.remove(control)?;
            Err(Failure::SignedOut.into())
        }
        Err(error) => Err(error.into()),
    }
}

async fn refreshed(session: &Session) -> Result<Session, SignInError> {
    let refused = || SignInError::Refused {
        error: "it gave no refresh token".into(),
    };
    let refresh_token = session.refresh_token.as_ref().ok_or_else(refused)?;
    let issuer = Issuer::find(&session.place).await?;
    let tokens = issuer.refresh(refresh_token).await?;
    Ok(Session {
        // An issuer may let the old one stand.
        refresh_token: tokens
            .refresh_token
            .or_else(|| session.refresh_token.clone()),
        id_token: tokens.id_token,
        ..session.clone()
    })
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
    fn is_good(&self) -> bool {
        let soon = SystemTime::now() + MARGIN;
        issuer::expires(self.id_token.expose_secret()).is_some_and(|end| end > soon)
    }
}
