//! Checks the path to the registry below HTTP: its name, its port, its
//! certificate. Each step depends on the one before.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use hickory_resolver::TokioResolver;
use rustls_native_certs::load_native_certs;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, CertificateError, ClientConfig, RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        crypto::aws_lc_rs::default_provider,
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    },
};
use url::{Host, Url};

use super::finding::Finding;

/// The time limit of each step.
pub(super) const STEP: Duration = Duration::from_secs(3);
/// The remaining validity of a certificate that causes a warning.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// A time after the expiry of every certificate in use today.
const LATER: Duration = Duration::from_secs(200 * 365 * 24 * 60 * 60);
const DAY: u64 = 24 * 60 * 60;

/// Checks that the registry accepts connections, up to HTTP.
pub(super) async fn check(url: &Url, ca_pem: Option<&str>, findings: &mut Vec<Finding>) -> bool {
    let Some(addresses) = resolve(url, findings).await else {
        return false;
    };
    let Some(stream) = connect(url, &addresses, findings).await else {
        return false;
    };
    url.scheme() != "https" || handshake(url, ca_pem, stream, findings).await
}

/// The addresses of the host. A host that is an address adds no finding.
async fn resolve(url: &Url, findings: &mut Vec<Finding>) -> Option<Vec<SocketAddr>> {
    let port = url.port_or_known_default().unwrap_or(443);
    let name = match url.host()? {
        Host::Ipv4(ip) => return Some(vec![(ip, port).into()]),
        Host::Ipv6(ip) => return Some(vec![(ip, port).into()]),
        Host::Domain(name) => name,
    };
    let found = timeout(STEP, lookup(name)).await;
    let next = format!("getent hosts {name}; see /etc/resolv.conf and /etc/hosts");
    let what = match found {
        Ok(Ok(addresses)) if !addresses.is_empty() => {
            let shown: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            let what = format!("{name} is {}", shown.join(", "));
            findings.push(Finding::ok("dns", what));
            let addresses = addresses.into_iter().map(|ip| (ip, port).into());
            return Some(addresses.collect());
        }
        Ok(Ok(_)) => format!("{name} has no address"),
        Ok(Err(error)) => format!("{name} cannot be resolved: {error}"),
        Err(_) => format!("the name server does not answer for {name}"),
    };
    findings.push(Finding::fail("dns", what, next));
    None
}

/// Resolves a name without the C library, as the static programs on this host
/// do.
async fn lookup(name: &str) -> anyhow::Result<Vec<IpAddr>> {
    let resolver = TokioResolver::builder_tokio()?.build()?;
    let found = resolver.lookup_ip(name).await?;
    Ok(found.iter().collect())
}

/// A connection to one of the addresses. The finding names each address that
/// does not respond: engines try them in turn.
async fn connect(
    url: &Url,
    addresses: &[SocketAddr],
    findings: &mut Vec<Finding>,
) -> Option<TcpStream> {
    let tries = addresses.iter().map(async |address| {
        let connected = timeout(STEP, TcpStream::connect(address)).await;
        match connected {
            Ok(Ok(stream)) => (*address, Ok(stream)),
            Ok(Err(error)) => (*address, Err(error.to_string())),
            Err(_) => (*address, Err("no answer: a firewall?".to_owned())),
        }
    });
    let tried = futures_util::future::join_all(tries).await;
    let (open, closed): (Vec<_>, Vec<_>) = tried.into_iter().partition(|(_, it)| it.is_ok());
    let reasons = closed.iter().filter_map(|(address, it)| {
        let reason = it.as_ref().err()?;
        Some(format!("{address}: {reason}"))
    });
    let reasons: Vec<String> = reasons.collect();
    let next = format!("see whether the workers' balancer listens at {url}");
    let Some((address, Ok(stream))) = open.into_iter().next() else {
        let what = format!("no connection to {}", reasons.join("; "));
        findings.push(Finding::fail("tcp", what, next));
        return None;
    };
    findings.push(match reasons.is_empty() {
        true => Finding::ok("tcp", format!("{address} accepts connections")),
        false => {
            let what = format!(
                "some addresses accept no connection: {}",
                reasons.join("; ")
            );
            Finding::warn("tcp", what, next)
        }
    });
    Some(stream)
}

/// Checks that engines accept the certificate, and when it expires.
async fn handshake(
    url: &Url,
    ca_pem: Option<&str>,
    stream: TcpStream,
    findings: &mut Vec<Finding>,
) -> bool {
    let result = shake_hands(url, ca_pem, stream).await;
    let left = match result {
        Ok(left) => left,
        Err(failure) => {
            findings.push(failure);
            return false;
        }
    };
    let name = url.host_str().unwrap_or_default();
    findings.push(match left {
        Some(left) if left < SOON => {
            let days = left.as_secs() / DAY;
            let what = format!("the certificate of {name} expires in {days} days");
            Finding::warn("tls", what, "renew it where the workers' balancer has it")
        }
        Some(left) => {
            let days = left.as_secs() / DAY;
            Finding::ok(
                "tls",
                format!("the certificate of {name} is good for {days} days"),
            )
        }
        None => Finding::ok("tls", format!("the certificate of {name} is good")),
    });
    true
}

/// The remaining validity of the certificate.
async fn shake_hands(
    url: &Url,
    ca_pem: Option<&str>,
    stream: TcpStream,
) -> Result<Option<Duration>, Finding> {
    let broken = |why: String| {
        let what = format!("TLS with {url} cannot be set up: {why}");
        Finding::fail(
            "tls",
            what,
            "metahubctl host login again, with the registry's authority",
        )
    };
    let roots = roots(ca_pem).map_err(broken)?;
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|error| broken(error.to_string()))?;
    let provider = Arc::new(default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| broken(error.to_string()))?
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name.clone(), stream);
    let connected = match timeout(STEP, connecting).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) => {
            let cause = error.get_ref().and_then(|it| it.downcast_ref());
            return Err(match cause {
                Some(rustls::Error::InvalidCertificate(error)) => refused(url, error),
                _ => no_tls(url, &error.to_string()),
            });
        }
        Err(_) => return Err(no_tls(url, "no answer in time")),
    };
    let chain = connected.get_ref().1.peer_certificates();
    let Some([leaf, rest @ ..]) = chain else {
        return Ok(None);
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let verifier = verifier.map_err(|error| broken(error.to_string()))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default();
    // The verifier reports the end of the validity only for an expired
    // certificate.
    let later = UnixTime::since_unix_epoch(now + LATER);
    let verified = verifier.verify_server_cert(leaf, rest, &name, &[], later);
    Ok(match verified {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
            not_after,
            ..
        })) => Some(Duration::from_secs(not_after.as_secs()).saturating_sub(now)),
        _ => None,
    })
}

/// The system's authorities, and those of the host's credential.
fn roots(ca_pem: Option<&str>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(load_native_certs().certs);
    for certificate in CertificateDer::pem_slice_iter(ca_pem.unwrap_or_default().as_bytes()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    match roots.is_empty() {
        true => Err("neither this system nor the host's credential has an authority".into()),
        false => Ok(roots),
    }
}

fn no_tls(url: &Url, why: &str) -> Finding {
    let what = format!("{url} does not speak TLS as it should: {why}");
    let next = "see whether the port is the one for https";
    Finding::fail("tls", what, next)
}

fn refused(url: &Url, error: &CertificateError) -> Finding {
    let name = url.host_str().unwrap_or_default();
    let renew = "renew it where the workers' balancer has it, and see this host's clock: date -u";
    let (what, next) = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            format!("the certificate of {name} has expired"),
            renew.to_owned(),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            format!("the certificate of {name} is not valid yet"),
            "set this host's clock: date -u; systemctl status chronyd systemd-timesyncd".to_owned(),
        ),
        CertificateError::UnknownIssuer => (
            format!("no authority that this host trusts has signed the certificate of {name}"),
            "give the authority to metahubctl host login, or install it in the system".to_owned(),
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("the certificate that {url} shows is for another name than {name}"),
            "name the registry as its certificate does: metahubctl host login --registry URL"
                .to_owned(),
        ),
        error => (
            format!("the certificate of {name} is refused: {error}"),
            renew.to_owned(),
        ),
    };
    Finding::fail("tls", what, next)
}
