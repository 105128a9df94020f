//! Who may join as a worker, and who has joined.
//!
//! A use of a join token is spent by the same commit that admits the worker,
//! so a token for one worker admits one, whichever control plane is asked. A
//! worker that has not got the answer asks again with the same request, for
//! the same key: that spends nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Actor, Catalog, authority::check_issuer};
use crate::{
    Error, Result, Secret, names,
    policy::Policy,
    records::{JoinToken, JoinedWorker, Key},
    secrets,
    tls::{Issued, WorkerCertificate},
};

/// What every secret starts with, for scanners of leaked secrets.
pub(crate) const PREFIX: &str = "mh_join_";
/// The action of renewals, which are none of the audit's business.
pub(crate) const RENEWAL: &str = "worker.renew";
/// For how long what is over is kept, so that who comes late reads why.
const KEPT_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
const MOST_USES: u32 = 1_000_000;
const NO_SUCH_TOKEN: &str = "there is no such join token, or it was revoked";
const MAKE_ANOTHER: &str = "make another with `metahubctl worker token create`";

/// What a join token is to be.
#[derive(Clone, Debug)]
pub(crate) struct JoinTokenWish {
    /// Empty: any.
    pub(crate) name: String,
    /// `None`: it admits any number of workers.
    pub(crate) uses: Option<u32>,
    /// `None`: it is good until it is revoked.
    pub(crate) lifetime: Option<Duration>,
}

impl Catalog {
    /// Creates a join token. Also returns its secret, which is not kept.
    pub(crate) async fn create_join_token(
        &self,
        actor: &Actor,
        wish: JoinTokenWish,
    ) -> Result<(JoinToken, Secret)> {
        let secret = Secret::from(format!("{PREFIX}{}", secrets::generate().expose()));
        let name = match wish.name.is_empty() {
            true => format!("{:08x}", secrets::random_u64() >> 32),
            false => wish.name,
        };
        names::check_text("name", &name)?;
        if wish.uses.is_some_and(|uses| uses > MOST_USES) {
            return Err(Error::invalid("uses", "is more than a million"));
        }
        let token = JoinToken {
            name,
            secret_sha256: secrets::sha256_hex(&secret),
            uses_left: wish.uses,
            expires_unix_secs: wish.lifetime.map(|lifetime| now() + lifetime.as_secs()),
        };
        self.edit(actor, "join-token.create", |edit| {
            edit.create(token.clone())
        })
        .await?;
        Ok((token, secret))
    }

    /// Takes a secret that the operator keeps in a file for a join token that
    /// admits any number of workers.
    pub(crate) async fn take_join_secret(&self, secret: &Secret) -> Result<()> {
        let secret_sha256 = secrets::sha256_hex(secret);
        let name = format!("file-{}", &secret_sha256.expose()[..8]);
        let actor = Actor::on_its_own("start with a join token file");
        self.edit(&actor, "join-token.take", |edit| {
            edit.put(JoinToken {
                name: name.clone(),
                secret_sha256: secret_sha256.clone(),
                uses_left: None,
                expires_unix_secs: None,
            });
            Ok(())
        })
        .await
    }

    /// Revokes a join token. Workers that have joined stay.
    pub(crate) async fn revoke_join_token(&self, actor: &Actor, name: &str) -> Result<()> {
        self.edit(actor, "join-token.revoke", |edit| {
            edit.delete::<JoinToken>(Key::join_token(name))
        })
        .await
    }

    /// Spends a use of the join token with this secret, and notes that
    /// `worker` is in, with the certificate that was issued.
    pub(crate) async fn admit_worker(
        &self,
        actor: &Actor,
        secret: &Secret,
        worker: &WorkerCertificate,
        issued: &Issued,
    ) -> Result<()> {
        let hash = secrets::sha256_hex(secret);
        self.edit(actor, "worker.join", |edit| {
            let token = good_token(edit.base(), &hash)?;
            check_issuer(edit, issued)?;
            let known = edit.find::<JoinedWorker>(&Key::joined_worker(&worker.id));
            let is_in = known.is_some_and(|it| {
                it.token == token.name && it.request.as_ref() == Some(&issued.request)
            });
            if !is_in {
                edit.put(spent(&token)?);
            }
            edit.put(JoinedWorker {
                id: worker.id.clone(),
                membership: worker.membership.clone(),
                token: token.name.clone(),
                expires_unix_secs: unix_secs(issued.expires),
                authority: Some(issued.authority.clone()),
                request: Some(issued.request.clone()),
            });
            Ok(())
        })
        .await
    }

    /// Notes that a worker has another certificate, the one that was issued.
    pub(crate) async fn note_renewal(
        &self,
        actor: &Actor,
        worker: &WorkerCertificate,
        issued: &Issued,
    ) -> Result<()> {
        self.edit(actor, RENEWAL, |edit| {
            worker.check(edit.base())?;
            check_issuer(edit, issued)?;
            let key = Key::joined_worker(&worker.id);
            let joined = edit.need::<JoinedWorker>(&key)?;
            edit.put(JoinedWorker {
                expires_unix_secs: unix_secs(issued.expires),
                authority: Some(issued.authority.clone()),
                ..joined.clone()
            });
            Ok(())
        })
        .await
    }

    /// Refuses a secret that admits no one, before anything is made for it.
    pub(crate) fn check_join_secret(&self, secret: &Secret) -> Result<()> {
        let token = good_token(&self.policy(), &secrets::sha256_hex(secret))?;
        spent(&token).map(|_| ())
    }

    /// Removes a worker: none of its certificates is good from now on. With
    /// `is_foreign`, its certificate may be of the operator's own PKI, and its
    /// name is kept out. `false`: no such worker has joined.
    pub(crate) async fn remove_worker(
        &self,
        actor: &Actor,
        id: &str,
        is_foreign: bool,
    ) -> Result<bool> {
        let key = Key::joined_worker(id);
        self.edit(actor, "worker.remove", |edit| {
            match edit.find::<JoinedWorker>(&key) {
                Some(joined) if joined.membership.is_some() => edit.remove(key.clone()),
                None if is_foreign => edit.put(JoinedWorker {
                    id: id.to_owned(),
                    membership: None,
                    token: String::new(),
                    expires_unix_secs: u64::MAX,
                    authority: None,
                    request: None,
                }),
                Some(_) => {}
                None => return Ok(false),
            }
            Ok(true)
        })
        .await
    }

    /// Forgets tokens and workers that have been over for some time.
    pub(crate) async fn sweep_joins(&self) -> Result<()> {
        let oldest = now().saturating_sub(KEPT_AFTER.as_secs());
        let actor = Actor::on_its_own("retention");
        self.edit(&actor, "worker.sweep", |edit| {
            let base = edit.base();
            let tokens = base.all::<JoinToken>().filter(|token| {
                let is_spent = token.uses_left == Some(0) && token.expires_unix_secs.is_none();
                is_spent || token.expires_unix_secs.is_some_and(|end| end < oldest)
            });
            let workers = base.all::<JoinedWorker>();
            let workers = workers.filter(|worker| worker.expires_unix_secs < oldest);
            let over: Vec<Key> = tokens
                .map(|token| Key::join_token(&token.name))
                .chain(workers.map(|worker| Key::joined_worker(&worker.id)))
                .collect();
            over.into_iter().for_each(|key| edit.remove(key));
            Ok(())
        })
        .await
    }
}

impl WorkerCertificate {
    /// Refuses a worker that was removed, or that `policy` has never admitted.
    pub(crate) fn check(&self, policy: &Policy) -> Result<()> {
        let known = policy.find::<JoinedWorker>(&Key::joined_worker(&self.id));
        let is_in = match (&self.membership, known) {
            (Some(own), Some(known)) => known.membership.as_ref() == Some(own),
            (Some(_), None) => false,
            (None, Some(known)) => known.membership.is_some(),
            (None, None) => true,
        };
        if is_in {
            return Ok(());
        }
        let reason = format!(
            "the worker `{}` was removed, or another has joined under its name: give it a new \
             join token and an empty state directory, or another name",
            self.id
        );
        Err(Error::Unauthenticated { reason })
    }
}

/// The token with this hash, if it is good. Takes a time that tells nothing of
/// the secrets that there are.
fn good_token(policy: &Policy, hash: &Secret) -> Result<JoinToken> {
    let mut found = None;
    for token in policy.all::<JoinToken>() {
        if secrets::are_equal(token.secret_sha256.expose(), hash.expose()) {
            found = Some(token.clone());
        }
    }
    let token = found.ok_or_else(|| refused(NO_SUCH_TOKEN))?;
    if token.expires_unix_secs.is_some_and(|end| end <= now()) {
        let name = &token.name;
        return Err(refused(&format!("the join token `{name}` has expired")));
    }
    Ok(token)
}

/// The token after it has admitted one more, if it does.
fn spent(token: &JoinToken) -> Result<JoinToken> {
    let uses_left = match token.uses_left {
        Some(0) => {
            let name = &token.name;
            return Err(refused(&format!("the join token `{name}` is used up")));
        }
        Some(uses) => Some(uses - 1),
        None => None,
    };
    Ok(JoinToken {
        uses_left,
        ..token.clone()
    })
}

fn refused(reason: &str) -> Error {
    Error::Unauthenticated {
        reason: format!("{reason}: {MAKE_ANOTHER}"),
    }
}

fn now() -> u64 {
    unix_secs(SystemTime::now())
}

fn unix_secs(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor() -> Actor {
        Actor::on_its_own("test")
    }

    fn worker(id: &str, membership: &str) -> WorkerCertificate {
        WorkerCertificate {
            id: id.into(),
            membership: Some(membership.into()),
        }
    }

    /// A catalog with an authority.
    async fn catalog() -> Catalog {
        let catalog = Catalog::in_memory().await;
        catalog.authority().await.unwrap();
        catalog
    }

    async fn token(catalog: &Catalog, uses: u32, lifetime: Duration) -> Secret {
        let wish = JoinTokenWish {
            name: "one".into(),
            uses: Some(uses),
            lifetime: Some(lifetime),
        };
        catalog.create_join_token(&actor(), wish).await.unwrap().1
    }

    fn issued(catalog: &Catalog, request: &str) -> Issued {
        Issued {
            request: request.into(),
            certificate_pem: String::new(),
            expires: SystemTime::now() + HOUR,
            authority: catalog.trusted().unwrap().fingerprint,
        }
    }

    async fn join(catalog: &Catalog, secret: &Secret, id: &str) -> Result<()> {
        let (worker, issued) = (worker(id, "m"), issued(catalog, id));
        catalog
            .admit_worker(&actor(), secret, &worker, &issued)
            .await
    }

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[tokio::test]
    async fn a_token_admits_as_many_as_it_says() {
        let catalog = catalog().await;
        let secret = token(&catalog, 2, HOUR).await;

        join(&catalog, &secret, "a").await.unwrap();
        join(&catalog, &secret, "b").await.unwrap();
        let refused = join(&catalog, &secret, "c").await.unwrap_err();

        assert!(refused.to_string().contains("used up"), "{refused}");
        assert!(worker("c", "m").check(&catalog.policy()).is_err());
    }

    #[tokio::test]
    async fn a_token_that_is_over_or_revoked_admits_no_one() {
        let catalog = catalog().await;
        let secret = token(&catalog, 1, Duration::ZERO).await;

        let expired = join(&catalog, &secret, "a").await.unwrap_err();
        catalog.revoke_join_token(&actor(), "one").await.unwrap();
        let revoked = join(&catalog, &secret, "a").await.unwrap_err();

        assert!(expired.to_string().contains("expired"), "{expired}");
        assert!(revoked.to_string().contains("revoked"), "{revoked}");
    }

    #[tokio::test]
    async fn what_an_authority_has_issued_that_is_retired_spends_no_token() {
        let catalog = catalog().await;
        let secret = token(&catalog, 1, HOUR).await;
        let (worker, late) = (worker("a", "m"), issued(&catalog, "a"));
        let actor = actor();
        catalog.rotate_authority(&actor).await.unwrap();
        catalog.retire_authority(&actor, true).await.unwrap();

        let refused = catalog.admit_worker(&actor, &secret, &worker, &late).await;
        join(&catalog, &secret, "a").await.unwrap();
        let unrenewed = catalog.note_renewal(&actor, &worker, &late).await;

        for refused in [refused, unrenewed] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("try again"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_worker_that_joins_again_makes_its_former_certificates_worthless() {
        let catalog = catalog().await;
        let secret = token(&catalog, 2, HOUR).await;

        let actor = actor();
        for (membership, request) in [("1", "first"), ("2", "second")] {
            let (worker, issued) = (worker("a", membership), issued(&catalog, request));
            let joined = catalog.admit_worker(&actor, &secret, &worker, &issued);
            joined.await.unwrap();
        }

        assert!(worker("a", "1").check(&catalog.policy()).is_err());
        assert!(worker("a", "2").check(&catalog.policy()).is_ok());
    }

    #[tokio::test]
    async fn a_worker_whose_answer_got_lost_spends_one_use_and_another_in_its_place_one_more() {
        let catalog = catalog().await;
        let secret = token(&catalog, 2, HOUR).await;
        let ask = async |id: &str, request: &str| {
            let (worker, issued) = (worker(id, "m"), issued(&catalog, request));
            let actor = actor();
            let admitted = catalog.admit_worker(&actor, &secret, &worker, &issued);
            admitted.await
        };

        for _ in 0..3 {
            ask("a", "same").await.unwrap();
        }
        ask("a", "other").await.unwrap();

        assert!(ask("a", "same").await.is_err());
        assert!(ask("b", "other").await.is_err());
        assert!(ask("a", "other").await.is_ok());
    }

    #[tokio::test]
    async fn one_of_another_pki_is_in_until_its_name_is_removed() {
        let catalog = Catalog::in_memory().await;
        let foreign = WorkerCertificate {
            id: "a".into(),
            membership: None,
        };
        assert!(foreign.check(&catalog.policy()).is_ok());

        catalog.remove_worker(&actor(), "a", true).await.unwrap();

        assert!(foreign.check(&catalog.policy()).is_err());
    }
}
