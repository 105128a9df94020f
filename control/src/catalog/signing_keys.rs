//! Signing keys: made, rotated and deleted without anyone's doing.
//!
//! A new key is pushed to all workers some time before they sign with it, and
//! the one before it is kept until no token of it is good any more. So a token
//! that one worker gives is good at every other one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Actor, Catalog};
use crate::{
    Result,
    records::{Key, SigningKey},
    secrets,
};

/// For how long workers sign with a key.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// How long before its first use a key is pushed, and how long after its last
/// use it is kept. Longer than a token is good, and than clocks differ.
const MARGIN: Duration = Duration::from_secs(15 * 60);

impl Catalog {
    /// Makes the next key when it is time, and deletes those that are over.
    pub(crate) async fn rotate_signing_keys(&self, now: SystemTime) -> Result<()> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let actor = Actor::on_its_own("rotation");
        self.edit(&actor, "signing-key.rotate", |edit| {
            let keys: Vec<SigningKey> = edit.base().all().cloned().collect();
            keys.iter()
                .filter(|key| is_over(key, &keys, now))
                .for_each(|key| edit.remove(Key::signing_key(&key.id)));
            if let Some(signs_from_unix_secs) = next(&keys, now) {
                edit.put(SigningKey {
                    id: format!("{:016x}", secrets::random_u64()),
                    seed: secrets::generate(),
                    signs_from_unix_secs,
                });
            }
            Ok(())
        })
        .await
    }
}

/// When the next key's time begins, if it is to be made now. A key that a clock
/// has put into the far future does not keep others from being made.
fn next(keys: &[SigningKey], now: u64) -> Option<u64> {
    let soon = now + 2 * MARGIN.as_secs();
    let keys = keys.iter().filter(|key| key.signs_from_unix_secs <= soon);
    let newest = keys.map(|key| key.signs_from_unix_secs).max();
    match newest {
        None => Some(now),
        Some(newest) if newest + LIFETIME.as_secs() <= now => Some(now + MARGIN.as_secs()),
        Some(_) => None,
    }
}

/// Whether another key has been in use for long enough.
fn is_over(key: &SigningKey, keys: &[SigningKey], now: u64) -> bool {
    keys.iter().any(|other| {
        other.signs_from_unix_secs > key.signs_from_unix_secs
            && other.signs_from_unix_secs + MARGIN.as_secs() < now
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Declaration;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn starts(catalog: &Catalog) -> Vec<u64> {
        let policy = catalog.policy();
        let keys = policy.all::<SigningKey>();
        let mut starts: Vec<_> = keys.map(|key| key.signs_from_unix_secs).collect();
        starts.sort_unstable();
        starts
    }

    #[tokio::test]
    async fn the_first_key_is_used_at_once_and_kept_for_a_day() {
        let catalog = Catalog::in_memory().await;
        let now = UNIX_EPOCH + 100 * HOUR;

        catalog.rotate_signing_keys(now).await.unwrap();
        catalog.rotate_signing_keys(now + 23 * HOUR).await.unwrap();

        assert_eq!(starts(&catalog), [360_000]);
    }

    #[tokio::test]
    async fn a_key_is_pushed_before_it_is_used_and_kept_after() {
        let catalog = Catalog::in_memory().await;
        let (now, minute) = (UNIX_EPOCH + 100 * HOUR, HOUR / 60);
        catalog.rotate_signing_keys(now).await.unwrap();
        let day = now + 24 * HOUR;

        catalog.rotate_signing_keys(day).await.unwrap();
        let both = [360_000, 360_000 + 86_400 + 900];
        assert_eq!(starts(&catalog), both);
        catalog
            .rotate_signing_keys(day + 30 * minute)
            .await
            .unwrap();
        assert_eq!(starts(&catalog), both);

        catalog
            .rotate_signing_keys(day + 31 * minute)
            .await
            .unwrap();
        assert_eq!(starts(&catalog), both[1..]);
    }

    #[tokio::test]
    async fn a_rotation_that_is_not_due_changes_nothing() {
        let catalog = Catalog::in_memory().await;
        let now = UNIX_EPOCH + 100 * HOUR;
        catalog.rotate_signing_keys(now).await.unwrap();
        let revision = catalog.revision();

        catalog.rotate_signing_keys(now + HOUR).await.unwrap();

        assert_eq!(catalog.revision(), revision);
    }

    #[tokio::test]
    async fn a_clock_that_was_ahead_for_a_while_stops_no_rotation() {
        let catalog = Catalog::in_memory().await;
        let now = UNIX_EPOCH + 100 * HOUR;
        catalog.rotate_signing_keys(now).await.unwrap();
        let wrong = now + 10_000 * HOUR;
        catalog.rotate_signing_keys(wrong).await.unwrap();

        let day = now + 24 * HOUR;
        catalog.rotate_signing_keys(day).await.unwrap();

        let soon = 360_000 + 86_400 + 900;
        assert!(starts(&catalog).contains(&soon), "{:?}", starts(&catalog));
    }

    #[tokio::test]
    async fn a_clock_that_was_behind_for_a_while_makes_no_key_that_is_used() {
        let catalog = Catalog::in_memory().await;
        let now = UNIX_EPOCH + 100 * HOUR;
        catalog.rotate_signing_keys(now).await.unwrap();

        catalog.rotate_signing_keys(UNIX_EPOCH).await.unwrap();

        assert!(starts(&catalog).contains(&360_000));
    }

    #[tokio::test]
    async fn a_policy_from_a_file_leaves_the_keys_alone() {
        let catalog = Catalog::in_memory().await;
        let now = UNIX_EPOCH + 100 * HOUR;
        catalog.rotate_signing_keys(now).await.unwrap();

        catalog.apply(Declaration::default()).await.unwrap();

        assert_eq!(starts(&catalog).len(), 1);
    }
}
