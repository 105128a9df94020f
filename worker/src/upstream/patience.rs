//! How long a client is held while an upstream is unwell.
//!
//! docker and containerd give up within milliseconds when they are told to
//! come again later, so it is the worker that waits.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Error, Why};

/// The first pause before an upstream that is unwell is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What is left of the time that a client may be held.
#[derive(Debug)]
pub(crate) struct Patience {
    ends: Instant,
    pause: Duration,
}

impl Patience {
    /// Lasts for `length` from now on.
    pub(crate) fn new(length: Duration) -> Self {
        Self {
            ends: Instant::now() + length,
            pause: FIRST_PAUSE,
        }
    }

    /// Whether `error` may have passed when this returns, and another attempt
    /// is worth it.
    pub(crate) async fn outlasts(&mut self, error: &Error) -> bool {
        let wait = wait_before_retry(error, self.pause);
        if !may_pass(error) || Instant::now() + wait > self.ends {
            return false;
        }
        sleep(wait).await;
        self.pause *= 2;
        true
    }
}

/// A certificate does not become trusted by waiting.
fn may_pass(error: &Error) -> bool {
    let is_certificate = matches!(
        error,
        Error::Unavailable {
            why: Why::Certificate(_) | Why::CertificateWanted | Why::NotTls,
            ..
        }
    );
    error.is_weather() && !is_certificate
}

/// What the upstream says, or a pause that differs from client to client.
fn wait_before_retry(error: &Error, pause: Duration) -> Duration {
    let jittered = pause.mul_f64(0.75 + fastrand::f64() / 2.0);
    match error {
        Error::RateLimited { retry_after, .. }
        | Error::Unavailable {
            why: Why::Resting,
            retry_after,
            ..
        } => jittered.max(*retry_after),
        _ => jittered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Place;

    #[tokio::test]
    async fn patience_ends_and_does_not_begin_for_what_will_not_pass() {
        let upstream = || "hub".into();
        let down = Error::Timeout {
            upstream: upstream(),
            place: Place::Upstream,
        };
        let gone = Error::NotFound {
            upstream: upstream(),
        };
        let limited = Error::RateLimited {
            upstream: upstream(),
            retry_after: Duration::from_secs(60),
        };

        assert!(!Patience::new(Duration::from_secs(9)).outlasts(&gone).await);
        assert!(
            !Patience::new(Duration::from_secs(9))
                .outlasts(&limited)
                .await
        );
        let mut short = Patience::new(Duration::from_millis(400));
        assert!(short.outlasts(&down).await);
        assert!(!short.outlasts(&down).await);
    }
}
