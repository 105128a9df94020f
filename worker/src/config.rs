//! The worker's settings, read once at start.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;
use url::Url;

mod blobs;
mod limits;
mod tls;

pub use self::{blobs::BlobConfig, limits::LimitConfig, tls::TlsConfig};
use crate::trust::Fingerprint;

/// Runs a MetaHub worker.
///
/// Each flag can be set by its environment variable instead.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "metahub-worker", version)]
pub struct Config {
    /// Where to serve the registry API.
    #[arg(long, env = "METAHUB_REGISTRY_ADDR", default_value = "127.0.0.1:7480")]
    pub registry_addr: SocketAddr,

    /// Where to serve health and metrics.
    #[arg(
        long,
        env = "METAHUB_WORKER_ADMIN_ADDR",
        default_value = "127.0.0.1:7481"
    )]
    pub admin_addr: SocketAddr,

    /// The TLS settings of the registry API.
    #[command(flatten)]
    pub tls: TlsConfig,

    /// The control plane, or several replicas of it with commas between: one
    /// is followed, and when it is lost the next.
    #[arg(
        long,
        env = "METAHUB_CONTROL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7400"
    )]
    pub control: Vec<Url>,

    /// The file that holds the worker token. Read at each connect.
    #[arg(
        long,
        alias = "worker-token-file",
        env = "METAHUB_WORKER_TOKEN_FILE",
        default_value = "metahub-data/worker-token"
    )]
    pub token_file: PathBuf,

    /// What the certificate of an https:// control plane is rooted in, as its
    /// log shows it: `sha256:` and 64 hex digits.
    #[arg(long, env = "METAHUB_FINGERPRINT")]
    pub fingerprint: Option<Fingerprint>,

    /// Authorities to trust for an https:// control plane instead, as PEM.
    /// Read at each connect.
    #[arg(long, env = "METAHUB_CA_FILE")]
    pub ca_file: Option<PathBuf>,

    /// The file that holds a join token: a secret that admits this worker once,
    /// and whom to trust for the control plane. Read when it joins.
    #[arg(long, env = "METAHUB_JOIN_TOKEN_FILE")]
    pub join_token_file: Option<PathBuf>,

    /// The directory that keeps the certificate that this worker gets when it
    /// joins, so that a restart needs no join token.
    #[arg(long, env = "METAHUB_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// A certificate of your own PKI to show to the control plane instead, as
    /// PEM. Read at each connect. The certificate for clients is `--tls-cert`.
    #[arg(long, env = "METAHUB_WORKER_CERT_FILE", requires = "tls_key_file")]
    pub tls_cert_file: Option<PathBuf>,

    /// The key of that certificate, as PEM.
    #[arg(long, env = "METAHUB_WORKER_KEY_FILE", requires = "tls_cert_file")]
    pub tls_key_file: Option<PathBuf>,

    /// A name for this worker that outlives it. Default: its host's name and
    /// registry address.
    #[arg(long, env = "METAHUB_WORKER_ID")]
    pub worker_id: Option<String>,

    /// For how long restricted repositories stay open while the worker gets no
    /// message of the control plane. What is open to all is served for ever.
    #[arg(long, env = "METAHUB_MAX_POLICY_AGE", default_value = "24h", value_parser = humantime::parse_duration)]
    pub max_policy_age: Duration,

    /// A file that keeps the last good policy, sealed, so that this worker can
    /// start without the control plane. Default: none is kept.
    #[arg(long, env = "METAHUB_SNAPSHOT_FILE", requires = "snapshot_key_file")]
    pub snapshot_file: Option<PathBuf>,

    /// The file with the key that seals the snapshot file: 32 random bytes as
    /// base64. Made unless it is there. Keep it where the snapshot file is not.
    #[arg(long, env = "METAHUB_SNAPSHOT_KEY_FILE", requires = "snapshot_file")]
    pub snapshot_key_file: Option<PathBuf>,

    /// How much memory the caches of manifests and of answers may take,
    /// together.
    #[arg(long, env = "METAHUB_CACHE_SIZE", default_value = "256MiB")]
    pub cache_size: ByteSize,

    /// How blobs are kept and shared.
    #[command(flatten)]
    pub blobs: BlobConfig,

    /// For how long an upstream's tag is taken to be unchanged.
    #[arg(long, env = "METAHUB_TAG_TTL", default_value = "15s", value_parser = humantime::parse_duration)]
    pub tag_ttl: Duration,

    /// For how long a manifest in memory is served by its digest without asking
    /// its upstream whether it still has it, which it may have deleted.
    #[arg(long, env = "METAHUB_DIGEST_TTL", default_value = "7days", value_parser = humantime::parse_duration)]
    pub digest_ttl: Duration,

    /// For how long it is remembered that an upstream has no such content, or
    /// denies it. No longer than a tag is taken to be unchanged.
    #[arg(long, env = "METAHUB_NOT_FOUND_TTL", default_value = "5s", value_parser = humantime::parse_duration)]
    pub not_found_ttl: Duration,

    /// What upstreams may take of this worker.
    #[command(flatten)]
    pub limits: LimitConfig,

    /// How long an upstream may be silent, before an answer and within it. A
    /// manifest or a list as a whole may take twice that, a blob any time.
    #[arg(long, env = "METAHUB_UPSTREAM_TIMEOUT", default_value = "30s", value_parser = humantime::parse_duration)]
    pub upstream_timeout: Duration,

    /// How many requests a second each upstream gets from this worker, blobs
    /// aside. What is over waits a few seconds, or is served from the cache.
    /// Default: any number.
    #[arg(long, env = "METAHUB_UPSTREAM_RATE", value_name = "N")]
    pub upstream_rate: Option<NonZeroU32>,

    /// How long to accept connections still once the worker is told to stop
    /// and `/readyz` says so: what a load balancer without retries needs to
    /// notice.
    #[arg(long, env = "METAHUB_DRAIN_DELAY", default_value = "0s", value_parser = humantime::parse_duration)]
    pub drain_delay: Duration,

    /// How long open requests may take once the worker is told to stop.
    #[arg(long, env = "METAHUB_DRAIN_TIMEOUT", default_value = "30s", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,

    /// How long a client may take to send a request's head, and how long an
    /// idle connection is kept.
    #[arg(long, env = "METAHUB_HEADER_TIMEOUT", default_value = "30s", value_parser = humantime::parse_duration)]
    pub header_timeout: Duration,

    /// How long a client may read nothing of an answer before it is cut off,
    /// and how long an idle HTTP/2 connection is kept.
    #[arg(long, env = "METAHUB_STALL_TIMEOUT", default_value = "60s", value_parser = humantime::parse_duration)]
    pub stall_timeout: Duration,

    /// How many connections are served at a time. More wait.
    #[arg(long, env = "METAHUB_MAX_CONNECTIONS", default_value_t = 10_000)]
    pub max_connections: usize,

    /// How many connections one address may have at a time; for IPv6, one /64
    /// network. More are refused. Those of trusted proxies are not counted.
    #[arg(
        long,
        env = "METAHUB_MAX_CONNECTIONS_PER_ADDRESS",
        default_value_t = 5_000
    )]
    pub max_connections_per_address: usize,

    /// How many requests of one login are answered at a time. More get 429.
    #[arg(long, env = "METAHUB_MAX_REQUESTS_PER_LOGIN", default_value_t = 5_000)]
    pub max_requests_per_login: usize,

    /// The addresses or networks of load balancers, for example
    /// `10.0.0.0/8,192.168.7.1`. Only their `X-Forwarded-For`, `Forwarded` and
    /// the like count. Can be given several times, or with commas.
    #[arg(
        long = "trusted-proxy",
        env = "METAHUB_TRUSTED_PROXY",
        value_delimiter = ',',
        value_name = "CIDR",
        value_parser = parse_network
    )]
    pub trusted_proxies: Vec<IpNet>,

    /// Expect the PROXY protocol, version 1 or 2, on the registry API's port:
    /// each connection of a trusted proxy begins with a header that names the
    /// client. Connections from other addresses have none.
    #[arg(long, env = "METAHUB_PROXY_PROTOCOL", requires = "trusted_proxies")]
    pub proxy_protocol: bool,

    /// How clients are asked who they are: for a password at each request, or
    /// once for a token that is good for five minutes. Both are always taken.
    #[arg(long, env = "METAHUB_CHALLENGE", value_enum, default_value_t = Challenge::Basic)]
    pub challenge: Challenge,

    /// What to log, for example `info` or `metahub_worker=debug`.
    #[arg(long, env = "METAHUB_LOG", default_value = "info")]
    pub log: String,

    /// Log one JSON object an event.
    #[arg(long, env = "METAHUB_LOG_JSON")]
    pub log_json: bool,

    /// Where to send OpenTelemetry spans by gRPC, for example
    /// `http://collector:4317`. Default: nowhere.
    #[arg(long, env = "METAHUB_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<Url>,
}

/// How clients are asked who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Challenge {
    /// HTTP Basic.
    Basic,
    /// Docker's token authentication.
    Bearer,
}

/// Everything that is set, without secrets.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            registry_addr,
            admin_addr,
            tls,
            token_file,
            cache_size,
            blobs,
            limits,
            max_connections,
            max_connections_per_address,
            max_requests_per_login,
            snapshot_file,
            trusted_proxies,
            proxy_protocol,
            challenge,
            log,
            log_json,
            ..
        } = self;
        let control: Vec<_> = self.control.iter().map(origin).collect();
        let control = control.join(",");
        let otlp_endpoint = self.otlp_endpoint.as_ref().map_or("none".into(), origin);
        let duration = humantime::format_duration;
        let tag_ttl = duration(self.tag_ttl);
        let digest_ttl = duration(self.digest_ttl);
        let not_found_ttl = duration(self.not_found_ttl);
        let upstream_timeout = duration(self.upstream_timeout);
        let upstream_rate = self.upstream_rate.map_or("any".into(), |it| it.to_string());
        let drain_delay = duration(self.drain_delay);
        let drain_timeout = duration(self.drain_timeout);
        let header_timeout = duration(self.header_timeout);
        let stall_timeout = duration(self.stall_timeout);
        let max_policy_age = duration(self.max_policy_age);
        let snapshot_file = snapshot_file.as_ref();
        let snapshot_file = snapshot_file.map_or("none".into(), |it| it.display().to_string());
        write!(
            f,
            "registry_addr={registry_addr} admin_addr={admin_addr} {tls} control={control} \
             token_file={} cache_size={cache_size} {blobs} {limits} tag_ttl={tag_ttl} \
             digest_ttl={digest_ttl} not_found_ttl={not_found_ttl} \
             upstream_timeout={upstream_timeout} upstream_rate={upstream_rate} \
             max_policy_age={max_policy_age} \
             snapshot_file={snapshot_file} \
             drain_delay={drain_delay} drain_timeout={drain_timeout} header_timeout={header_timeout} \
             stall_timeout={stall_timeout} max_connections={max_connections} \
             max_connections_per_address={max_connections_per_address} \
             max_requests_per_login={max_requests_per_login} \
             trusted_proxies={trusted_proxies:?} proxy_protocol={proxy_protocol} challenge={challenge:?} log={log} log_json={log_json} \
             otlp_endpoint={otlp_endpoint}",
            token_file.display()
        )
    }
}

/// A network, or an address, which is a network of its own.
fn parse_network(text: &str) -> Result<IpNet, &'static str> {
    let text = text.trim();
    let address = |_| text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().or_else(address);
    network.map_err(|_| "write an address, or a network such as 10.0.0.0/8")
}

/// An address without what may be secret in it.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// A number of bytes, written with an optional unit, for example `256MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A text that is not a [`ByteSize`].
#[derive(Debug, thiserror::Error)]
#[error("write a whole number with KiB, MiB, GiB or no unit, for example 256MiB")]
pub struct InvalidByteSize;

const UNITS: [(&str, u64); 4] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("", 1),
];

impl FromStr for ByteSize {
    type Err = InvalidByteSize;

    fn from_str(text: &str) -> Result<Self, InvalidByteSize> {
        let (number, unit) = UNITS
            .iter()
            .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))
            .ok_or(InvalidByteSize)?;
        let number: u64 = number.trim_end().parse().map_err(|_| InvalidByteSize)?;
        number.checked_mul(*unit).map(Self).ok_or(InvalidByteSize)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let largest = UNITS
            .iter()
            .rev()
            .filter(|(_, unit)| self.0.is_multiple_of(*unit))
            .max_by_key(|(_, unit)| *unit);
        let (suffix, unit) = largest.unwrap_or(&("", 1));
        write!(f, "{}{suffix}", self.0 / unit)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn every_flag_has_a_default() {
        assert!(Config::try_parse_from(["metahub-worker"]).is_ok());
    }

    #[test]
    fn settings_are_shown_without_secrets() {
        let args = [
            "metahub-worker",
            "--control=http://user:hunter2@here:1/?hunter2",
        ];
        let shown = Config::try_parse_from(args).unwrap().to_string();

        assert!(shown.contains("control=http://here:1 "), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn proxies_are_networks_or_addresses_with_commas_between_them() {
        let proxies = |list: &str| {
            let flag = format!("--trusted-proxy={list}");
            let config = Config::try_parse_from(["metahub-worker", &flag]).ok()?;
            let shown = config.trusted_proxies.iter().map(IpNet::to_string);
            Some(shown.collect::<Vec<_>>().join(" "))
        };

        let documented = proxies("10.0.0.0/8,192.168.7.1");
        assert_eq!(documented.unwrap(), "10.0.0.0/8 192.168.7.1/32");
        let spaced = proxies("fd00::/8, 2001:db8::1").unwrap();
        assert_eq!(spaced, "fd00::/8 2001:db8::1/128");
        for wrong in ["10.0.0.0/33", "proxy.example", "10.0.0", ""] {
            assert_eq!(proxies(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_size_reads_back_as_it_was_written() {
        for text in ["0GiB", "7", "3KiB", "256MiB", "2GiB"] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.to_string(), text);
        }
    }

    #[test]
    fn a_size_that_is_none_is_refused() {
        for text in ["", "MiB", "-1", "1MB", "1.5GiB", "99999999999GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text} was taken");
        }
    }
}
