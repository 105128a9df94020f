//! Purges: cached content that all workers are to drop.
//!
//! Each is a record, so that a worker gets it like any other change, also when
//! it was not connected at that moment. Records are kept for longer than workers
//! believe in what they keep.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Actor, Catalog};
use crate::{
    Error, Result, names,
    records::{Kept as _, Key, Kind, Purge, Upstream},
};

/// How long a purge is there for workers that are away.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How many there are at most; the oldest make room.
const MOST_KEPT: usize = 1_000;

/// What to drop: what fits all that is given. Empty texts stand for any.
#[derive(Clone, Debug)]
pub(crate) struct PurgeWish {
    pub(crate) upstream: String,
    /// With the upstream's name in front, unless that is given by itself.
    pub(crate) repository: String,
    pub(crate) digest: String,
}

impl Catalog {
    /// Makes all workers drop what `wish` says.
    pub(crate) async fn purge_cache(&self, actor: &Actor, wish: PurgeWish) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        self.edit(actor, "cache.purge", |edit| {
            let names = edit.base().all::<Upstream>().map(|it| it.name.as_str());
            let (upstream, repository) = checked(&wish, names.collect())?;
            // In the order of time.
            let id = format!("{:013}-{:08x}", now.as_millis(), fastrand::u32(..));
            let known: Vec<Key> = edit
                .base()
                .of_kind(Kind::Purge)
                .map(|it| it.0.clone())
                .collect();
            let too_many = (known.len() + 1).saturating_sub(MOST_KEPT);
            known
                .into_iter()
                .take(too_many)
                .for_each(|key| edit.remove(key));
            edit.put(Purge {
                id,
                upstream,
                repository,
                digest: wish.digest.clone(),
                requested_unix_secs: now.as_secs(),
            });
            Ok(())
        })
        .await
    }

    /// Deletes the purges that no worker needs any more.
    pub(crate) async fn sweep_purges(&self) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let oldest = now.unwrap_or_default().saturating_sub(RETENTION).as_secs();
        let actor = Actor::on_its_own("retention");
        self.edit(&actor, "cache.sweep", |edit| {
            let purges = edit.base().of_kind(Kind::Purge);
            let old: Vec<Key> = purges
                .filter(|(_, it)| Purge::of(it).is_some_and(|it| it.requested_unix_secs < oldest))
                .map(|(key, _)| key.clone())
                .collect();
            old.into_iter().for_each(|key| edit.remove(key));
            Ok(())
        })
        .await
    }
}

/// The upstream and the repository there, of which `wish` may name both in one.
fn checked(wish: &PurgeWish, upstreams: Vec<&str>) -> Result<(String, String)> {
    let PurgeWish {
        upstream,
        repository,
        digest,
    } = wish;
    let is_known = |name: &str| upstreams.contains(&name);
    if repository.is_empty() && digest.is_empty() {
        return Err(Error::invalid(
            "repository",
            "name a repository or a digest",
        ));
    }
    if !digest.is_empty() {
        names::check_digest("digest", digest)?;
    }
    let (upstream, repository) = match repository.split_once('/') {
        Some((first, rest)) if upstream.is_empty() && is_known(first) => (first, rest),
        _ => (upstream.as_str(), repository.as_str()),
    };
    if !repository.is_empty() {
        names::check_repository("repository", repository)?;
        if upstream.is_empty() {
            let reason = format!(
                "`{repository}` does not say at which upstream: write UPSTREAM/REPOSITORY, for \
                 example docker.io/library/nginx, or give --upstream"
            );
            return Err(Error::invalid("repository", reason));
        }
    }
    match upstream.is_empty() || is_known(upstream) {
        true => Ok((upstream.to_owned(), repository.to_owned())),
        false => Err(Error::not_found(Kind::Upstream, upstream)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(upstream: &str, repository: &str, digest: &str) -> PurgeWish {
        PurgeWish {
            upstream: upstream.into(),
            repository: repository.into(),
            digest: digest.into(),
        }
    }

    async fn purged(wish: PurgeWish) -> std::result::Result<(String, String), String> {
        let catalog = Catalog::in_memory().await;
        let purged = catalog.purge_cache(&Actor::on_its_own("test"), wish).await;
        purged.map_err(|error| error.to_string())?;
        let policy = catalog.policy();
        let purge = policy.all::<Purge>().next().expect("a purge");
        Ok((purge.upstream.clone(), purge.repository.clone()))
    }

    #[tokio::test]
    async fn a_repository_is_named_with_its_upstream_in_either_way() {
        let expected = Ok(("docker.io".to_owned(), "library/nginx".to_owned()));

        let together = purged(wish("", "docker.io/library/nginx", "")).await;
        let apart = purged(wish("docker.io", "library/nginx", "")).await;

        assert_eq!((together, apart), (expected.clone(), expected));
    }

    #[tokio::test]
    async fn a_purge_that_says_too_little_or_names_no_upstream_is_refused() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (wish, word) in [
            (wish("", "", ""), "name a repository or a digest"),
            (wish("", "library/nginx", ""), "UPSTREAM/REPOSITORY"),
            (wish("other.test", "", &digest), "other.test"),
            (wish("", "", "sha256:short"), "digest"),
        ] {
            let refused = purged(wish).await.unwrap_err();
            assert!(refused.contains(word), "{refused}");
        }
        assert!(purged(wish("", "", &digest)).await.is_ok());
    }

    #[tokio::test]
    async fn the_oldest_purges_make_room_for_new_ones() {
        let catalog = Catalog::in_memory().await;
        let actor = Actor::on_its_own("test");
        let old = Purge {
            id: "0000000000001-00000000".into(),
            upstream: String::new(),
            repository: String::new(),
            digest: format!("sha256:{}", "0a".repeat(32)),
            requested_unix_secs: 1,
        };
        let all = (0..MOST_KEPT).map(|n| Purge {
            id: format!("{n:013}-00000000"),
            ..old.clone()
        });
        let all: Vec<_> = all.collect();
        let put = catalog.edit(&actor, "test", |edit| {
            all.iter().cloned().for_each(|it| edit.put(it));
            Ok(())
        });
        put.await.unwrap();

        let wish = wish("", "docker.io/library/nginx", "");
        catalog.purge_cache(&actor, wish).await.unwrap();
        let policy = catalog.policy();

        assert_eq!(policy.count(Kind::Purge), MOST_KEPT);
        assert!(policy.find::<Purge>(&Key::purge(&all[0].id)).is_none());
        catalog.sweep_purges().await.unwrap();
        assert_eq!(catalog.policy().count(Kind::Purge), 1);
    }
}
