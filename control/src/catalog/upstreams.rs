//! Upstreams: the registries that workers may dial.
//!
//! One upstream at most is the default. Making another one the default takes
//! it from the one before. The default cannot be deleted while it is that:
//! names without a host would go nowhere by accident.

use super::{Actor, Catalog, edit::Edit};
use url::{Host, Url};

use crate::{
    Error, Result, Secret, certificates, names,
    records::{Blobs, ClientCertificate, Key, Proxy, Upstream},
};

impl Catalog {
    /// Creates or replaces an upstream.
    ///
    /// A secret that is left empty stays the one that the upstream has, as long
    /// as what it belongs to stays: a password never moves to another address
    /// unseen.
    pub(crate) async fn put_upstream(&self, actor: &Actor, upstream: Upstream) -> Result<()> {
        let upstream = checked(upstream)?;
        self.edit(actor, "upstream.put", |edit| {
            let mut upstream = upstream.clone();
            check_other_names(&upstream, edit.base().all())?;
            fill_secrets(edit, &mut upstream)?;
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
        fallback_urls: Vec::new(),
        proxy: None,
        repository_prefix: None,
        token_hosts: Vec::new(),
        client_certificate: None,
    }
}

/// The upstream with its URL in the usual form.
pub(super) fn checked(upstream: Upstream) -> Result<Upstream> {
    names::check_upstream("name", &upstream.name)?;
    for host in &upstream.hosts {
        names::check_upstream("hosts", host)?;
    }
    let url = checked_url("url", &upstream.url, &upstream)?;
    let fallback_urls = upstream.fallback_urls.iter();
    let fallback_urls: Result<_> = fallback_urls
        .map(|url| checked_url("fallback_urls", url, &upstream))
        .collect();
    let token_hosts = upstream.token_hosts.iter();
    let token_hosts: Result<_> = token_hosts
        .map(|host| names::token_host("token_hosts", host))
        .collect();
    if let Some(prefix) = &upstream.repository_prefix {
        names::check_repository("repository_prefix", prefix)?;
    }
    if let Some(pem) = &upstream.ca_pem {
        certificates::check("ca_pem", pem)?;
    }
    if let Some(certificate) = &upstream.client_certificate {
        certificates::check_pair(certificate)?;
    }
    Ok(Upstream {
        url,
        fallback_urls: fallback_urls?,
        token_hosts: token_hosts?,
        proxy: upstream.proxy.map(checked_proxy).transpose()?,
        ..upstream
    })
}

fn checked_url(field: &str, url: &str, upstream: &Upstream) -> Result<String> {
    let url = names::upstream_url(field, url)?;
    if upstream.account.is_some() && !upstream.insecure && is_plain(&url) {
        return Err(Error::invalid(
            field,
            "would send the account's password in plain text: use https, or say that the registry is insecure",
        ));
    }
    Ok(url)
}

fn checked_proxy(proxy: Proxy) -> Result<Proxy> {
    let url = match proxy.url.as_str() {
        Proxy::NONE => Proxy::NONE.to_owned(),
        url => names::proxy_url("proxy", url)?,
    };
    let proxy = Proxy::new(url, proxy.password);
    if proxy.password.is_some() && Proxy::new(proxy.url.clone(), None).password.is_none() {
        return Err(Error::invalid(
            "proxy",
            "has a password, but no user name: write it like `http://user@proxy.example:3128`",
        ));
    }
    Ok(proxy)
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

/// What [`Upstream::secrets_mut`] are for, by their fields' names.
const SECRETS: [(&str, &str); 3] = [
    ("password", "a user name needs its password or token"),
    (
        "proxy_password",
        "a user name for a proxy needs its password",
    ),
    ("client_key_pem", "a certificate needs its key"),
];

/// Fills each secret that is left empty with the one that the upstream has.
pub(super) fn fill_secrets(edit: &Edit, upstream: &mut Upstream) -> Result<()> {
    let known = known_secrets(edit, upstream);
    for ((secret, known), (field, need)) in
        upstream.secrets_mut().into_iter().zip(known).zip(SECRETS)
    {
        if let Some(secret) = secret.filter(|it| it.expose().is_empty()) {
            let missing = || Error::invalid(field, format!("is empty: {need}"));
            *secret = known.ok_or_else(missing)?;
        }
    }
    Ok(())
}

/// The error for the first secret that is left empty.
pub(super) fn missing_secret(upstream: &mut Upstream) -> Option<Error> {
    let mut secrets = upstream.secrets_mut().into_iter().zip(SECRETS);
    secrets.find_map(|(secret, (field, need))| {
        let is_missing = secret?.expose().is_empty();
        is_missing.then(|| Error::invalid(field, format!("is missing: {need}")))
    })
}

/// Puts the secrets that the upstream has in place of all others. Returns the
/// fields of those that it has not: they are left as they are.
pub(super) fn take_known_secrets(edit: &Edit, upstream: &mut Upstream) -> Vec<&'static str> {
    let known = known_secrets(edit, upstream);
    let mut unknown = Vec::new();
    for ((secret, known), (field, _)) in upstream.secrets_mut().into_iter().zip(known).zip(SECRETS)
    {
        match (secret, known) {
            (Some(secret), Some(known)) => *secret = known,
            (Some(_), None) => unknown.push(field),
            (None, _) => {}
        }
    }
    unknown
}

/// The secrets that the upstream has, each as long as what it belongs to stays
/// and no address is new that it would be sent to.
fn known_secrets(edit: &Edit, upstream: &Upstream) -> [Option<Secret>; 3] {
    let Some(known) = edit.find::<Upstream>(&Key::upstream(&upstream.name)) else {
        return [None, None, None];
    };
    let mut known = known.clone();
    let goes_where_it_went = known.url == upstream.url
        && is_subset(&upstream.fallback_urls, &known.fallback_urls)
        && is_subset(&upstream.token_hosts, &known.token_hosts);
    let username = |it: &Upstream| it.account.as_ref().map(|it| it.username.clone());
    let proxy = |it: &Upstream| it.proxy.as_ref().map(|it| it.url.clone());
    let certificate = |it: &Upstream| {
        let certificate = it.client_certificate.as_ref();
        certificate.map(|it: &ClientCertificate| it.cert_pem.clone())
    };
    let stays = [
        goes_where_it_went && username(&known) == username(upstream),
        proxy(&known) == proxy(upstream),
        certificate(&known) == certificate(upstream),
    ];
    let [account, proxy, key] = known.secrets_mut();
    let [account_stays, proxy_stays, key_stays] = stays;
    [
        account.filter(|_| account_stays).cloned(),
        proxy.filter(|_| proxy_stays).cloned(),
        key.filter(|_| key_stays).cloned(),
    ]
}

fn is_subset(some: &[String], all: &[String]) -> bool {
    some.iter().all(|it| all.contains(it))
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
