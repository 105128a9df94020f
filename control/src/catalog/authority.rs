//! The authority: made at the first start, for every control plane of the
//! store. Another one takes its place in two steps: it is made and trusted
//! beside the former one, and later that one is trusted no more.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Actor, Catalog, edit::Edit};
use crate::{
    Error, Result,
    policy::Policy,
    records::{self, JoinedWorker, Key},
    tls::{Authority, Issued},
};

/// How many workers an error names.
const NAMED: usize = 5;

/// Who is trusted, and who would be shut out by the end of the former one.
#[derive(Clone, Debug)]
pub(crate) struct Trusted {
    pub(crate) fingerprint: String,
    /// `None`: one authority is trusted.
    pub(crate) former: Option<String>,
    /// The ids of workers that have no certificate of the newest one.
    pub(crate) behind: Vec<String>,
}

impl Catalog {
    /// The authority of this store, made if there is none.
    pub(crate) async fn authority(&self) -> Result<records::Authority> {
        let new = Authority::make(SystemTime::now()).map_err(unmade)?;
        let actor = Actor::on_its_own("first start with TLS");
        self.edit(&actor, "authority.make", |edit| {
            // Another control plane may have been faster.
            if let Some(known) = edit.find::<records::Authority>(&Key::authority()) {
                return Ok(known.clone());
            }
            edit.put(new.clone());
            Ok(new.clone())
        })
        .await
    }

    /// Who is trusted now.
    pub(crate) fn trusted(&self) -> Result<Trusted> {
        let policy = self.policy();
        let record = policy.find::<records::Authority>(&Key::authority());
        let authority = read(record.ok_or_else(none)?)?;
        Ok(Trusted {
            behind: behind(&policy, &authority)
                .map(|it| it.id.clone())
                .collect(),
            former: authority.former_fingerprint(),
            fingerprint: authority.fingerprint().to_owned(),
        })
    }

    /// Makes a new authority, for which the one that was there vouches.
    pub(crate) async fn rotate_authority(&self, actor: &Actor) -> Result<()> {
        self.edit(actor, "authority.rotate", |edit| {
            let authority = current(edit)?;
            if let Some(former) = authority.former_fingerprint() {
                return Err(Error::Blocked {
                    reason: format!(
                        "{former} is still trusted beside the authority that took its place: \
                         retire it first with `metahubctl authority retire`"
                    ),
                });
            }
            edit.put(authority.successor(SystemTime::now()).map_err(unmade)?);
            Ok(())
        })
        .await
    }

    /// Trusts the former authority no more. With `force` also when workers
    /// have certificates of it alone: these are taken for removed.
    pub(crate) async fn retire_authority(&self, actor: &Actor, force: bool) -> Result<()> {
        self.edit(actor, "authority.retire", |edit| {
            let authority = current(edit)?;
            let former = authority.former_fingerprint().ok_or_else(no_former)?;
            let left: Vec<String> = behind(edit.base(), &authority)
                .map(|it| it.id.clone())
                .collect();
            if !force && !left.is_empty() {
                return Err(still_needed(&former, &left));
            }
            for id in left {
                edit.remove(Key::joined_worker(&id));
            }
            let record = edit.need::<records::Authority>(&Key::authority())?;
            let alone = records::Authority {
                former: None,
                ..record.clone()
            };
            edit.put(alone);
            Ok(())
        })
        .await
    }
}

/// Refuses what an authority has issued that is trusted no more. Where it was
/// retired, certificates are from the newest one a moment later.
pub(super) fn check_issuer(edit: &Edit, issued: &Issued) -> Result<()> {
    let authority = current(edit)?;
    let former = authority.former_fingerprint();
    match authority.fingerprint() == issued.authority || former.as_ref() == Some(&issued.authority)
    {
        true => Ok(()),
        false => Err(Error::Blocked {
            reason: "the authority was retired just now: try again".into(),
        }),
    }
}

/// Workers that have joined, and whose certificate, which is still good, is not
/// from the newest authority.
fn behind<'a>(policy: &'a Policy, authority: &Authority) -> impl Iterator<Item = &'a JoinedWorker> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    let newest = authority.fingerprint().to_owned();
    policy.all::<JoinedWorker>().filter(move |it| {
        it.membership.is_some()
            && it.expires_unix_secs > now
            && it.authority.as_ref() != Some(&newest)
    })
}

fn current(edit: &Edit) -> Result<Authority> {
    let record = edit.find::<records::Authority>(&Key::authority());
    read(record.ok_or_else(none)?)
}

fn read(record: &records::Authority) -> Result<Authority> {
    Authority::of(record).map_err(|error| Error::Blocked {
        reason: format!("the stored authority is broken: {error:#}"),
    })
}

fn none() -> Error {
    Error::Blocked {
        reason: "there is no authority: it is made at the first start with TLS".into(),
    }
}

fn no_former() -> Error {
    Error::Blocked {
        reason: "one authority is trusted, and there is no former one to retire: make a new one \
                 first with `metahubctl authority rotate`"
            .into(),
    }
}

fn unmade(error: rcgen::Error) -> Error {
    Error::Blocked {
        reason: format!("cannot make an authority: {error}"),
    }
}

fn still_needed(former: &str, left: &[String]) -> Error {
    let names: Vec<String> = left
        .iter()
        .take(NAMED)
        .map(|id| format!("`{id}`"))
        .collect();
    let more = match left.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Error::Blocked {
        reason: format!(
            "workers have certificates of {former} alone: {}{more}. Those that are connected \
             renew them within seconds, others once they are back; with --force they have to \
             join anew",
            names.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{catalog::joins::JoinTokenWish, tls::WorkerCertificate};

    fn actor() -> Actor {
        Actor::on_its_own("test")
    }

    async fn join(catalog: &Catalog, id: &str, lifetime: Duration) {
        let wish = JoinTokenWish {
            name: id.into(),
            uses: None,
            lifetime: None,
        };
        let actor = actor();
        let created = catalog.create_join_token(&actor, wish).await;
        let secret = created.unwrap().1;
        let worker = WorkerCertificate {
            id: id.into(),
            membership: Some("m".into()),
        };
        let issued = Issued {
            certificate_pem: String::new(),
            expires: SystemTime::now() + lifetime,
            authority: catalog.trusted().unwrap().fingerprint,
            request: String::new(),
        };
        let admitted = catalog.admit_worker(&actor, &secret, &worker, &issued);
        admitted.await.unwrap();
    }

    #[tokio::test]
    async fn one_authority_is_trusted_until_another_is_made_and_again_once_it_is_retired() {
        let catalog = Catalog::in_memory().await;
        catalog.authority().await.unwrap();
        let first = catalog.trusted().unwrap();

        catalog.rotate_authority(&actor()).await.unwrap();
        let both = catalog.trusted().unwrap();
        let again = catalog.rotate_authority(&actor()).await.unwrap_err();
        catalog.retire_authority(&actor(), false).await.unwrap();
        let last = catalog.trusted().unwrap();
        let none = catalog.retire_authority(&actor(), true).await.unwrap_err();

        assert_eq!(first.former, None);
        assert_eq!(both.former, Some(first.fingerprint));
        assert!(again.to_string().contains("authority retire"), "{again}");
        assert_eq!((last.former, last.fingerprint), (None, both.fingerprint));
        assert!(none.to_string().contains("authority rotate"), "{none}");
    }

    #[tokio::test]
    async fn the_former_one_is_retired_by_force_while_a_worker_needs_it() {
        let catalog = Catalog::in_memory().await;
        catalog.authority().await.unwrap();
        join(&catalog, "former", Duration::from_secs(60)).await;
        join(&catalog, "expired", Duration::ZERO).await;
        catalog.rotate_authority(&actor()).await.unwrap();
        join(&catalog, "latter", Duration::from_secs(60)).await;

        let refused = catalog.retire_authority(&actor(), false).await.unwrap_err();
        catalog.retire_authority(&actor(), true).await.unwrap();

        let refused = refused.to_string();
        assert!(refused.contains("alone: `former`."), "{refused}");
        let policy = catalog.policy();
        let left = policy.all::<JoinedWorker>().map(|it| it.id.as_str());
        assert_eq!(left.collect::<Vec<_>>(), ["expired", "latter"]);
    }
}
