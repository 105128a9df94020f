//! Signing in on another device, with a code (RFC 8628).

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};

use super::issuer::{Issuer, SignInError, Tokens};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// How long to wait between tries, if the issuer does not say.
const DEFAULT_INTERVAL_SECS: u64 = 5;
/// How much longer to wait when the issuer says that it is asked too often.
const SLOWER: Duration = Duration::from_secs(5);

/// What a person needs to confirm a sign-in.
#[derive(Debug, Deserialize)]
pub(crate) struct Invitation {
    device_code: SecretString,
    pub(crate) user_code: String,
    pub(crate) verification_uri: String,
    /// The same with the code in it.
    pub(crate) verification_uri_complete: Option<String>,
    pub(crate) expires_in: u64,
    #[serde(default = "default_interval")]
    interval: u64,
}

fn default_interval() -> u64 {
    DEFAULT_INTERVAL_SECS
}

/// What to do after a refused try.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Try again, after so long.
    After(Duration),
    GiveUp,
}

impl Issuer {
    /// Begins a sign-in.
    pub(crate) async fn invite(&self, scopes: &[String]) -> Result<Invitation, SignInError> {
        let scope = scopes.join(" ");
        self.post(self.device_endpoint()?, &[("scope", &scope)])
            .await
    }

    /// Waits until the person has confirmed.
    pub(crate) async fn accepted(&self, invitation: &Invitation) -> Result<Tokens, SignInError> {
        let end = Instant::now() + Duration::from_secs(invitation.expires_in);
        let polling = timeout_at(end, self.poll(invitation));
        polling.await.unwrap_or(Err(SignInError::TooLate))
    }

    async fn poll(&self, invitation: &Invitation) -> Result<Tokens, SignInError> {
        let code = invitation.device_code.expose_secret();
        let grant = [("grant_type", GRANT), ("device_code", code)];
        let mut interval = Duration::from_secs(invitation.interval.max(1));
        loop {
            sleep(interval).await;
            let refused = match self.tokens(&grant).await {
                Ok(tokens) => return Ok(tokens),
                Err(error) => error,
            };
            match next(&refused, interval) {
                Next::After(longer) => interval = longer,
                Next::GiveUp => return Err(refused),
            }
        }
    }
}

fn next(refused: &SignInError, interval: Duration) -> Next {
    match refused {
        SignInError::Refused { error } if error == "authorization_pending" => Next::After(interval),
        SignInError::Refused { error } if error == "slow_down" => Next::After(interval + SLOWER),
        // A try may get lost; the next ones come more slowly (section 3.5).
        SignInError::Unreachable { .. } | SignInError::Failed { .. } => Next::After(interval * 2),
        _ => Next::GiveUp,
    }
}

impl Invitation {
    /// Whether all texts can be shown: nothing in them moves the cursor.
    pub(crate) fn is_printable(&self) -> bool {
        let texts = [
            Some(&self.user_code),
            Some(&self.verification_uri),
            self.verification_uri_complete.as_ref(),
        ];
        let mut texts = texts.into_iter().flatten();
        texts.all(|text| !text.chars().any(char::is_control))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(error: &str) -> SignInError {
        SignInError::Refused {
            error: error.into(),
        }
    }

    #[test]
    fn one_who_is_told_to_slow_down_does() {
        let interval = Duration::from_secs(5);

        let pending = next(&refused("authorization_pending"), interval);
        let slower = next(&refused("slow_down"), interval);

        assert_eq!(pending, Next::After(interval));
        assert_eq!(slower, Next::After(Duration::from_secs(10)));
    }

    #[test]
    fn one_who_is_refused_gives_up() {
        for error in ["access_denied", "expired_token", "invalid_grant"] {
            assert_eq!(next(&refused(error), SLOWER), Next::GiveUp, "{error}");
        }
    }
}
