//! Upstreams: the registries that workers may dial.
//!
//! One upstream at most is the default. Making another one the default takes
//! it from the one before. The default cannot be deleted while it is that:
//! names without a host would go nowhere by accident.

use super::{Actor, Catalog, edit::Edit};
use url::{Host, Url};

use crate::{
    Error, Result, certificates, names,
    records::{Account, Blobs, Key, Upstream},
};

impl Catalog {
    /// Creates or replaces an upstream.
    ///
    /// An account without a password keeps the one that the upstream has, as
    /// long as its user name and URL stay: a password never moves to another
    /// address unseen.
    pub(crate) async fn put_upstream(&self, actor: &Actor, upstream: Upstream) -> Result<()> {
        let upstream = checked(upstream)?;
        self.edit(actor, "upstream.put", |edit| {
            let mut upstream = upstream.clone();
            check_other_names(&upstream, edit.base().all())?;
            upstream.account = with_password(edit, &upstream)?;
            if upstream.is_default {
                unset_default(edit);
            }
            edit.put(upstream);
            Ok(())
        })
        .await
    }

    /// Deletes an upstream that is not the default.
    pub(crate) async fn delete_upstream(&self, actor: &Actor, name: &str) -> Result<()> {
        self.edit(actor, "upstream.delete", |edit| {
            let key = Key::upstream(name);
            if edit.need::<Upstream>(&key)?.is_default {
                return Err(Error::Blocked {
                    reason: format!(
                        "`{name}` is the default upstream: make another one the default first, or put it again as no default"
                    ),
                });
            }
            edit.delete::<Upstream>(key)
        })
        .await
    }
}

/// What a new store starts with.
pub(super) fn docker_hub() -> Upstream {
    Upstream {
        name: "docker.io".into(),
        url: "https://registry-1.docker.io".into(),
        is_default: true,
        account: None,
        restricted: false,
        insecure: false,
        ca_pem: None,
        blobs: Blobs::Proxy,
        hosts: Vec::new(),
        http1: false,
    }
}

/// The upstream with its URL in the usual form.
pub(super) fn checked(upstream: Upstream) -> Result<Upstream> {
    names::check_upstream("name", &upstream.name)?;
    for host in &upstream.hosts {
        names::check_upstream("hosts", host)?;
    }
    let url = names::upstream_url("url", &upstream.url)?;
    if upstream.account.is_some() && !upstream.insecure && is_plain(&url) {
        return Err(Error::invalid(
            "url",
            "would send the account's password in plain text: use https, or say that the registry is insecure",
        ));
    }
    if let Some(pem) = &upstream.ca_pem {
        certificates::check("ca_pem", pem)?;
    }
    Ok(Upstream { url, ..upstream })
}

/// Refuses a name that would stand for two upstreams.
pub(super) fn check_other_names<'a>(
    upstream: &Upstream,
    all: impl Iterator<Item = &'a Upstream>,
) -> Result<()> {
    let taken = |field, name: &str, other: &Upstream| {
        let reason = format!(
            "`{name}` stands for the upstream `{}` already: take it from there first",
            other.name
        );
        Error::invalid(field, reason)
    };
    for other in all.filter(|it| it.name != upstream.name) {
        if other.hosts.contains(&upstream.name) {
            return Err(taken("name", &upstream.name, other));
        }
        let is_taken = |host: &&String| **host == other.name || other.hosts.contains(host);
        if let Some(host) = upstream.hosts.iter().find(is_taken) {
            return Err(taken("hosts", host, other));
        }
    }
    Ok(())
}

/// Whether others can read what is sent to `url`.
fn is_plain(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else {
        return true;
    };
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !is_here
}

/// The account with its password: the one that is given, or else the one that
/// the upstream has.
pub(super) fn with_password(edit: &Edit, upstream: &Upstream) -> Result<Option<Account>> {
    let Some(account) = &upstream.account else {
        return Ok(None);
    };
    if !account.password.expose().is_empty() {
        return Ok(Some(account.clone()));
    }
    match known_account(edit, upstream) {
        Some(kept) => Ok(Some(kept)),
        None => Err(Error::invalid(
            "password",
            "is empty: a user name needs its password or token",
        )),
    }
}

/// The account that the upstream has, if it is for the same user name and URL.
pub(super) fn known_account(edit: &Edit, upstream: &Upstream) -> Option<Account> {
    let username = &upstream.account.as_ref()?.username;
    let known = edit.find::<Upstream>(&Key::upstream(&upstream.name))?;
    let account = known.account.clone().filter(|_| known.url == upstream.url);
    account.filter(|account| account.username == *username)
}

pub(super) fn unset_default(edit: &mut Edit) {
    let defaults = edit.base().all::<Upstream>().filter(|it| it.is_default);
    let unset: Vec<Upstream> = defaults
        .map(|it| Upstream {
            is_default: false,
            ..it.clone()
        })
        .collect();
    for upstream in unset {
        edit.put(upstream);
    }
}
