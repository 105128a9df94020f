//! The HTTP clients that dial upstreams.
//!
//! What an address may be is checked after the name has been resolved, for
//! the very addresses that are dialled, so that a name which moves between a
//! check and a connection wins nothing. A proxy resolves names itself: behind
//! one, only addresses that are spelled out are checked.

use std::{
    error::Error as StdError,
    io,
    iter::successors,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use reqwest::{
    Client, ClientBuilder,
    dns::{Addrs, Name, Resolve, Resolving},
};
use tokio_rustls::rustls::{self, AlertDescription, pki_types::pem};
use url::{Host, Url};

use super::{
    BuildError, Settings,
    proxy::Proxy,
    reach::Reach,
    tls::{CertificateFault, ClientIdentity, configured},
};
use crate::cache::Cache;

/// Connections that are kept idle for one upstream.
const IDLE_CONNECTIONS: usize = 32;
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest header list that is taken over HTTP/2, in bytes.
const MAX_HEADER_BYTES: u32 = 64 << 10;

/// What special clients may weigh, and what one does, about, in bytes.
const SPECIAL_CAPACITY: u64 = 16 << 20;
const CLIENT_WEIGHT: usize = 64 << 10;

/// How a request shares connections with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// For small answers: one connection carries many, where the host speaks
    /// HTTP/2.
    Shared,
    /// For blobs: each has a connection of HTTP/1.1, and a congestion window,
    /// of its own.
    Own,
    /// For a request that is sent again: a new connection of HTTP/1.1 for each,
    /// since the idle ones may all have been closed by their host.
    Once,
}

/// All HTTP clients of a worker: one for each lane and reach, made when it is
/// first needed, since each reads the system's certificates.
#[derive(Debug)]
pub(crate) struct Dialer {
    settings: Settings,
    names: TokioResolver,
    shared: [OnceLock<Client>; Reach::ALL.len()],
    own: [OnceLock<Client>; Reach::ALL.len()],
    once: [OnceLock<Client>; Reach::ALL.len()],
    /// Those with a transport of their upstream's own.
    special: Cache<(Transport, Lane, Reach), Client>,
}

/// How connections to a host are made. By default directly, judged by the
/// system's authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Transport {
    pub(crate) judgement: Judgement,
    pub(crate) proxy: Option<Proxy>,
    /// What the worker presents.
    pub(crate) identity: Option<ClientIdentity>,
}

/// How the certificate of a host is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Judgement {
    /// By the system's authorities.
    #[default]
    System,
    /// By these, in PEM, and the system's.
    Authorities(Arc<str>),
    /// Not at all.
    None,
}

/// Why there is no client for an address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CannotDial {
    /// It must not be dialled.
    #[error(transparent)]
    TooClose(#[from] TooClose),
    /// The client cannot be made.
    #[error("cannot set up the HTTP client")]
    Client(#[from] reqwest::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// A certificate or key is none.
    #[error("cannot read a certificate or its key")]
    Pem(#[from] pem::Error),
}

/// An address that must not be dialled.
#[derive(Debug, thiserror::Error)]
#[error("the address is too close to the worker")]
pub(crate) struct TooClose;

impl Dialer {
    /// Sets up what every upstream needs. Dials nobody.
    pub(crate) fn new(settings: &Settings) -> Result<Self, BuildError> {
        Self::with_names(settings, resolver()?)
    }

    /// The same, with names resolved by `names`.
    pub(super) fn with_names(
        settings: &Settings,
        names: TokioResolver,
    ) -> Result<Self, BuildError> {
        let dialer = Self {
            settings: settings.clone(),
            names,
            shared: Default::default(),
            own: Default::default(),
            once: Default::default(),
            special: Cache::new(SPECIAL_CAPACITY, |_, _| CLIENT_WEIGHT),
        };
        // What cannot be made should be known at the start.
        dialer.made(Lane::Shared, Reach::Link)?;
        Ok(dialer)
    }

    /// A client for `url` that dials no address closer than `reach`.
    pub(crate) fn client(
        &self,
        lane: Lane,
        url: &Url,
        reach: Reach,
        transport: Transport,
    ) -> Result<Client, CannotDial> {
        // The resolver is not asked for an address that is spelled out, and a
        // proxy resolves names itself.
        let is_proxys_host = transport.proxy.is_some() && url.host_str() == Some("localhost");
        if is_spelled_closer(url, reach) || (is_proxys_host && reach < Reach::Loopback) {
            return Err(TooClose.into());
        }
        if transport == Transport::default() {
            return Ok(self.made(lane, reach)?.clone());
        }
        // What is dialled is the proxy then: the admin says where that is.
        let dialled = transport.proxy.as_ref().map_or(reach, |_| Reach::Link);
        self.special(transport, lane, dialled)
    }

    fn special(
        &self,
        transport: Transport,
        lane: Lane,
        reach: Reach,
    ) -> Result<Client, CannotDial> {
        let key = (transport, lane, reach);
        if let Some(client) = self.special.get(&key) {
            return Ok(client);
        }
        let Transport {
            judgement,
            proxy,
            identity,
        } = &key.0;
        let builder = builder(&self.settings, self.names.clone(), lane, reach);
        let mut builder = configured(builder, judgement, identity.as_ref(), lane)?;
        if let Some(proxy) = proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy.url().clone())?);
        }
        let client = builder.build()?;
        self.special.insert(key, client.clone());
        Ok(client)
    }

    fn made(&self, lane: Lane, reach: Reach) -> Result<&Client, reqwest::Error> {
        let clients = match lane {
            Lane::Shared => &self.shared,
            Lane::Own => &self.own,
            Lane::Once => &self.once,
        };
        let place = &clients[reach as usize];
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let client = builder(&self.settings, self.names.clone(), lane, reach).build()?;
        Ok(place.get_or_init(|| client))
    }
}

/// Whether `error` is a refusal to dial.
pub(crate) fn is_too_close(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| cause.is::<TooClose>())
}

/// Whether `error` is a connection that closed before an answer came. It may
/// have been idle for as long as its host keeps such connections.
pub(crate) fn is_lost_connection(error: &reqwest::Error) -> bool {
    let has_answered = || {
        causes(error).any(|cause| {
            let http = cause.downcast_ref::<hyper::Error>();
            http.is_some_and(|http| http.is_parse())
        })
    };
    error.is_request() && !error.is_connect() && !error.is_timeout() && !has_answered()
}

/// Why TLS was not agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsFault {
    /// The host's certificate is not accepted.
    Certificate(CertificateFault),
    /// The host wants to see one of the worker.
    CertificateWanted,
    /// The host answers in something else.
    NotTls,
}

/// The TLS fault that caused `error`, if one did.
pub(crate) fn tls_fault(error: &reqwest::Error) -> Option<TlsFault> {
    let mut faults = causes(error).filter_map(|cause| cause.downcast_ref());
    faults.find_map(|fault| match fault {
        rustls::Error::InvalidCertificate(error) => Some(TlsFault::Certificate(error.into())),
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::BadCertificate,
        ) => Some(TlsFault::CertificateWanted),
        rustls::Error::InvalidMessage(_) => Some(TlsFault::NotTls),
        _ => None,
    })
}

/// What led to `error`, also what an I/O error holds but does not name.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    successors(error.source(), |&cause| {
        let held = cause.downcast_ref().and_then(io::Error::get_ref);
        match held {
            Some(held) => Some(held),
            None => cause.source(),
        }
    })
}

/// Whether `url` spells an address out that is closer than `reach`.
pub(crate) fn is_spelled_closer(url: &Url, reach: Reach) -> bool {
    spelled(url).is_some_and(|spelled| spelled > reach)
}

/// The reach of the address that `url` spells out. None: its host is a name.
pub(crate) fn spelled(url: &Url) -> Option<Reach> {
    match url.host()? {
        Host::Ipv4(v4) => Some(Reach::of(v4.into())),
        Host::Ipv6(v6) => Some(Reach::of(v6.into())),
        Host::Domain(_) => None,
    }
}

fn builder(
    settings: &Settings,
    resolver: TokioResolver,
    lane: Lane,
    reach: Reach,
) -> ClientBuilder {
    let builder = Client::builder()
        .user_agent(concat!("metahub/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(settings.connect_timeout)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .dns_resolver(Arc::new(Names { resolver, reach }));
    match lane {
        Lane::Shared => builder
            .http2_adaptive_window(true)
            .http2_max_header_list_size(MAX_HEADER_BYTES),
        Lane::Own => builder.http1_only(),
        Lane::Once => builder.http1_only().pool_max_idle_per_host(0),
    }
}

/// The system's resolver. Without a configuration only addresses and the hosts
/// file work.
fn resolver() -> Result<TokioResolver, BuildError> {
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot read the DNS configuration; names will not resolve");
        TokioResolver::builder_with_config(
            ResolverConfig::default(),
            TokioRuntimeProvider::default(),
        )
    });
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    Ok(builder.build()?)
}

/// Resolves names to addresses that are far enough.
struct Names {
    resolver: TokioResolver,
    reach: Reach,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, reach) = (self.resolver.clone(), self.reach);
        Box::pin(async move {
            let found = resolver.lookup_ip(name.as_str()).await?;
            let far_enough: Vec<_> = found
                .iter()
                .filter(|address| Reach::of(*address) <= reach)
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if far_enough.is_empty() {
                return Err(TooClose.into());
            }
            Ok::<Addrs, _>(Box::new(far_enough.into_iter()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialer() -> Dialer {
        Dialer::new(&Settings::default()).unwrap()
    }

    #[tokio::test]
    async fn an_address_closer_than_the_reach_is_refused() {
        let dialer = dialer();

        for (url, reach, allowed) in [
            ("http://169.254.169.254/", Reach::Loopback, false),
            ("http://127.0.0.1/", Reach::Private, false),
            ("http://[::ffff:10.0.0.1]/", Reach::Public, false),
            ("http://10.0.0.1/", Reach::Private, true),
            ("http://10.0.0.1/", Reach::Loopback, true),
        ] {
            let url = url.parse().unwrap();
            let client = dialer.client(Lane::Own, &url, reach, Transport::default());
            assert_eq!(client.is_ok(), allowed, "{url} from {reach:?}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_too_close_is_refused_when_it_is_dialled() {
        let dialer = dialer();
        let url: Url = "http://localhost:1/".parse().unwrap();
        let client = dialer.client(Lane::Shared, &url, Reach::Public, Transport::default());
        let client = client.unwrap();

        let error = client.get(url).send().await.unwrap_err();

        assert!(is_too_close(&error), "{error:?}");
    }
}
