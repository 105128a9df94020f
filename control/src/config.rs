//! The control plane's settings, read once at start.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use url::Url;

use crate::{EtcdAccess, OidcSettings, Pattern, StoreLocation, store::OnEmpty, tls};

/// Runs the MetaHub control plane.
///
/// Each flag can be set by its environment variable instead.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "metahub-control", version)]
pub struct Config {
    /// Where to serve gRPC, for workers and admins.
    #[arg(long, env = "METAHUB_GRPC_ADDR", default_value = "127.0.0.1:7400")]
    pub grpc_addr: SocketAddr,

    /// The directory that keeps the state and the tokens.
    #[arg(long, env = "METAHUB_DATA_DIR", default_value = "metahub-data")]
    pub data_dir: PathBuf,

    /// Where to keep the state: `sqlite:PATH`, `etcd:URL,URL…` with an optional
    /// prefix of the keys at the end, or `memory`. By default `metahub.db` in
    /// the data directory.
    #[arg(long, env = "METAHUB_STORE")]
    pub store: Option<StoreLocation>,

    #[command(flatten)]
    pub(crate) etcd: EtcdAccess,

    /// Begin a new MetaHub where the store that was used before is empty or
    /// gone. Workers serve what they hold until the new one has a login.
    #[arg(long, env = "METAHUB_START_ANEW")]
    pub start_anew: bool,

    /// The file with the token that admins present, made at the first start
    /// unless it is there. By default `admin-token` in the data directory.
    #[arg(long, env = "METAHUB_ADMIN_TOKEN_FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// The file with the token that workers present, made at the first start
    /// unless it is there. By default `worker-token` in the data directory.
    #[arg(long, env = "METAHUB_WORKER_TOKEN_FILE")]
    pub worker_token_file: Option<PathBuf>,

    /// How people sign in.
    #[command(flatten)]
    pub oidc: OidcSettings,

    /// Serve plain text on other addresses than loopback.
    #[arg(long, env = "METAHUB_INSECURE", conflicts_with = "tls")]
    pub insecure: bool,

    /// Serve TLS on loopback, too. On other addresses TLS is the default.
    #[arg(long, env = "METAHUB_TLS")]
    pub tls: bool,

    /// A name or an address by which callers know this control plane, for the
    /// certificate that it makes. Can be given several times, or with commas.
    #[arg(
        long = "tls-name",
        env = "METAHUB_TLS_NAME",
        value_delimiter = ',',
        value_name = "NAME",
        value_parser = parse_name
    )]
    pub tls_names: Vec<String>,

    /// A certificate to serve TLS with, and its chain, as PEM. Read again when
    /// it changes. By default the control plane makes one.
    #[arg(
        long,
        env = "METAHUB_TLS_CERT_FILE",
        requires = "tls_key_file",
        conflicts_with = "insecure"
    )]
    pub tls_cert_file: Option<PathBuf>,

    /// The key of that certificate, as PEM.
    #[arg(long, env = "METAHUB_TLS_KEY_FILE", requires = "tls_cert_file")]
    pub tls_key_file: Option<PathBuf>,

    /// Authorities of your own whose certificates workers may show, as PEM.
    #[arg(long, env = "METAHUB_TLS_CLIENT_CA_FILE", requires = "tls_cert_file")]
    pub tls_client_ca_file: Option<PathBuf>,

    /// A worker's name that these certificates may have. One `*` stands for any
    /// text: `*.workers.example.com`. Can be given several times, or with
    /// commas. Default: any name.
    #[arg(
        long = "tls-client-name",
        env = "METAHUB_TLS_CLIENT_NAME",
        value_delimiter = ',',
        value_name = "NAME",
        requires = "tls_client_ca_file"
    )]
    pub tls_client_names: Vec<Pattern>,

    /// A file with a join token for any number of workers, made at the first
    /// start unless it is there. By default there is none. Wants TLS.
    #[arg(long, env = "METAHUB_JOIN_TOKEN_FILE")]
    pub join_token_file: Option<PathBuf>,

    /// How long a worker's certificate is good. Workers renew theirs when two
    /// thirds of that are over.
    #[arg(long, env = "METAHUB_WORKER_CERTIFICATE_LIFETIME", default_value = "24h", value_parser = humantime::parse_duration)]
    pub worker_certificate_lifetime: Duration,

    /// The workers' URL as hosts reach it, for example
    /// `https://metahub.example`. Hosts get it when they join.
    #[arg(long, env = "METAHUB_REGISTRY_URL", value_name = "URL")]
    pub registry_url: Option<Url>,

    /// Address for Prometheus metrics, on `/metrics`, in plain text and without
    /// a login. By default there is none.
    #[arg(long, env = "METAHUB_CONTROL_METRICS_ADDR")]
    pub metrics_addr: Option<SocketAddr>,

    /// How long to keep recipes of trimmed indexes that no one uses.
    #[arg(long, env = "METAHUB_RECIPE_RETENTION", default_value = "90d", value_parser = humantime::parse_duration)]
    pub recipe_retention: Duration,

    /// How long to keep the audit of changes.
    #[arg(long, env = "METAHUB_AUDIT_RETENTION", default_value = "365d", value_parser = humantime::parse_duration)]
    pub audit_retention: Duration,

    /// To how many workers a whole policy is sent at a time. More wait, and
    /// those that hold the newest policy never do.
    #[arg(long, env = "METAHUB_MAX_SNAPSHOTS", default_value_t = 32)]
    pub max_snapshots: usize,

    /// How many connections may be open. More are closed at once.
    #[arg(
        long,
        env = "METAHUB_MAX_CONTROL_CONNECTIONS",
        default_value_t = 16_384
    )]
    pub max_connections: usize,

    /// How many of them may come from one address. Raise it where workers come
    /// through a balancer or NAT.
    #[arg(
        long,
        env = "METAHUB_MAX_CONTROL_CONNECTIONS_PER_ADDRESS",
        default_value_t = 4_096
    )]
    pub max_connections_per_address: usize,

    /// How long a worker's stream lasts, give or take a fifth, so that workers
    /// spread over control planes that come later. `0s`: for ever.
    #[arg(long, env = "METAHUB_MAX_STREAM_AGE", default_value = "1h", value_parser = humantime::parse_duration)]
    pub max_stream_age: Duration,

    /// How long open calls get at shutdown.
    #[arg(long, env = "METAHUB_DRAIN_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,

    /// What to log, for example `info` or `metahub_control=debug,info`.
    #[arg(long, env = "METAHUB_LOG", default_value = "info")]
    pub log: String,

    /// Log JSON lines.
    #[arg(long, env = "METAHUB_LOG_JSON")]
    pub log_json: bool,
}

impl Config {
    /// Where the state is kept.
    pub(crate) fn store_location(&self) -> StoreLocation {
        let chosen = self.store.clone();
        chosen.unwrap_or_else(|| StoreLocation::within(&self.data_dir))
    }

    /// What to do with a store that is empty. One that was used before should
    /// not be.
    pub(crate) fn on_empty(&self) -> OnEmpty {
        let was_used = self.used_mark().exists() || self.store_location().has_remains();
        match was_used && !self.start_anew {
            true => OnEmpty::Refuse,
            false => OnEmpty::Begin,
        }
    }

    /// The file that says that a store was used from this data directory.
    pub(crate) fn used_mark(&self) -> PathBuf {
        self.data_dir.join("store-in-use")
    }

    /// Whether the port serves TLS.
    pub(crate) fn serves_tls(&self) -> bool {
        let is_open = !self.grpc_addr.ip().is_loopback();
        !self.insecure && (is_open || self.tls || self.tls_cert_file.is_some())
    }
}

fn parse_name(text: &str) -> Result<String, &'static str> {
    match tls::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("it is the name of no host, and no address"),
    }
}

/// One line for the log at start. There is no secret in it: those are in files.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = |brought: bool| if brought { "*** (own)" } else { "***" };
        write!(
            f,
            "grpc_addr={} store={} tls={} recipe_retention={:?} audit_retention={:?} drain_timeout={:?} admin_token={} worker_token={}",
            self.grpc_addr,
            self.store_location(),
            self.serves_tls(),
            self.recipe_retention,
            self.audit_retention,
            self.drain_timeout,
            token(self.admin_token_file.is_some()),
            token(self.worker_token_file.is_some()),
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Config::command().debug_assert();
    }

    #[test]
    fn defaults_bind_to_loopback() {
        let config = Config::parse_from(["metahub-control"]);

        assert!(config.grpc_addr.ip().is_loopback());
    }

    #[test]
    fn plain_text_leaves_this_host_only_when_it_is_asked_to() {
        let tls = |args: &[&str]| {
            let program = ["metahub-control"].iter();
            Config::parse_from(program.chain(args)).serves_tls()
        };

        assert!(!tls(&[]) && tls(&["--tls"]));
        assert!(tls(&["--grpc-addr=0.0.0.0:7400"]));
        assert!(!tls(&["--grpc-addr=0.0.0.0:7400", "--insecure"]));
    }

    #[test]
    fn a_store_of_no_known_kind_is_refused() {
        let parsed = Config::try_parse_from(["metahub-control", "--store", "postgres:a"]);

        assert!(parsed.is_err());
    }

    #[test]
    fn a_store_that_was_used_may_not_be_empty_unless_the_operator_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let on_empty = |flags: &[&str]| {
            let dir = format!("--data-dir={}", dir.path().display());
            let args = ["metahub-control", &dir].into_iter();
            Config::parse_from(args.chain(flags.iter().copied())).on_empty()
        };
        assert_eq!(on_empty(&[]), OnEmpty::Begin);

        std::fs::write(dir.path().join("store-in-use"), "").unwrap();

        assert_eq!(on_empty(&[]), OnEmpty::Refuse);
        assert_eq!(on_empty(&["--start-anew"]), OnEmpty::Begin);
    }

    #[test]
    fn the_state_is_kept_in_the_data_directory() {
        let config = Config::parse_from(["metahub-control", "--data-dir", "/srv/metahub"]);

        let expected = StoreLocation::Sqlite("/srv/metahub/metahub.db".into());
        assert_eq!(config.store_location(), expected);
    }
}
