//! Upstreams to and from their messages.

use metahub_proto::policy::v1 as proto;

use super::{known, missing};
use crate::{
    Error, Result, Secret,
    records::{Account, Blobs, ClientCertificate, Proxy, Upstream},
};

/// Without its secrets.
pub(crate) fn listed_upstream(it: &Upstream) -> proto::Upstream {
    proto::Upstream {
        password: String::new(),
        proxy_password: String::new(),
        client_key_pem: String::new(),
        ..upstream(it)
    }
}

pub(super) fn upstream(it: &Upstream) -> proto::Upstream {
    let account = it.account.as_ref();
    let certificate = it.client_certificate.as_ref();
    proto::Upstream {
        name: it.name.clone(),
        url: it.url.clone(),
        is_default: it.is_default,
        username: account.map(|it| it.username.clone()).unwrap_or_default(),
        password: exposed(account.map(|it| &it.password)),
        restricted: it.restricted,
        insecure: it.insecure,
        ca_pem: it.ca_pem.clone().unwrap_or_default(),
        blobs: match it.blobs {
            Blobs::Proxy => proto::Blobs::Proxy,
            Blobs::Redirect => proto::Blobs::Redirect,
        }
        .into(),
        hosts: it.hosts.clone(),
        http1: it.http1,
        fallback_urls: it.fallback_urls.clone(),
        proxy: it
            .proxy
            .as_ref()
            .map(|it| it.url.clone())
            .unwrap_or_default(),
        proxy_password: exposed(it.proxy.as_ref().and_then(|it| it.password.as_ref())),
        repository_prefix: it.repository_prefix.clone().unwrap_or_default(),
        token_hosts: it.token_hosts.clone(),
        client_cert_pem: certificate
            .map(|it| it.cert_pem.clone())
            .unwrap_or_default(),
        client_key_pem: exposed(certificate.map(|it| &it.key_pem)),
    }
}

pub(crate) fn upstream_from(message: Option<proto::Upstream>) -> Result<Upstream> {
    let message = message.ok_or_else(|| missing("upstream"))?;
    let blobs = message.blobs();
    known::<proto::Blobs>("upstream.blobs", message.blobs)?;
    let is_anonymous = message.username.is_empty();
    if is_anonymous && !message.password.is_empty() {
        return Err(Error::invalid(
            "upstream.username",
            "is empty, but there is a password: give both or none",
        ));
    }
    let cert_pem = given(message.client_cert_pem);
    if cert_pem.is_none() && !message.client_key_pem.is_empty() {
        return Err(Error::invalid(
            "upstream.client_cert_pem",
            "is empty, but there is a key: give both or none",
        ));
    }
    let proxy_password = given(message.proxy_password).map(Secret::from);
    Ok(Upstream {
        name: message.name,
        url: message.url,
        is_default: message.is_default,
        account: (!is_anonymous).then(|| Account {
            username: message.username,
            password: Secret::from(message.password),
        }),
        restricted: message.restricted,
        insecure: message.insecure,
        ca_pem: given(message.ca_pem),
        blobs: match blobs {
            proto::Blobs::Unspecified | proto::Blobs::Proxy => Blobs::Proxy,
            proto::Blobs::Redirect => Blobs::Redirect,
        },
        hosts: message.hosts,
        http1: message.http1,
        fallback_urls: message.fallback_urls,
        proxy: given(message.proxy).map(|url| Proxy::new(url, proxy_password)),
        repository_prefix: given(message.repository_prefix),
        token_hosts: message.token_hosts,
        client_certificate: cert_pem.map(|cert_pem| ClientCertificate {
            cert_pem,
            key_pem: Secret::from(message.client_key_pem),
        }),
    })
}

fn exposed(secret: Option<&Secret>) -> String {
    secret.map(|it| it.expose().to_owned()).unwrap_or_default()
}

fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
