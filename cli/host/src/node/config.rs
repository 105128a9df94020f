//! The settings of the node proxy, read once at start.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use crate::credential::DEFAULT_PATH;

/// Forwards the pulls of every engine on this host to MetaHub, with the host's
/// credential.
///
/// Each flag can be set by its environment variable instead. Every local
/// process that can connect pulls with this host's login.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "metahub-node", version)]
pub struct Config {
    /// The loopback address to listen on, or `none`.
    #[arg(long, env = "METAHUB_NODE_LISTEN", default_value = "127.0.0.1:5000")]
    pub listen: Listen,

    /// An additional port for one upstream, for engines that do not name the
    /// registry in their requests (docker before 29), for example
    /// `5001=ghcr.io`. Can be given several times, or with commas.
    #[arg(
        long = "upstream",
        env = "METAHUB_NODE_UPSTREAM",
        value_delimiter = ',',
        value_name = "PORT=HOST"
    )]
    pub upstreams: Vec<UpstreamPort>,

    /// A unix socket to listen on.
    #[arg(long, env = "METAHUB_NODE_UNIX_SOCKET", value_name = "PATH")]
    pub unix_socket: Option<PathBuf>,

    /// The user ids that may use the unix socket. Default: root and the user that
    /// runs the proxy. Can be given several times, or with commas.
    #[arg(
        long = "allow-uid",
        env = "METAHUB_NODE_ALLOW_UID",
        value_delimiter = ',',
        value_name = "UID",
        requires = "unix_socket"
    )]
    pub allowed_uids: Vec<u32>,

    /// The host's credential, as `metahubctl host login` writes it. Read again
    /// when it changes.
    #[arg(long, env = "METAHUB_HOST_CREDENTIAL", default_value = DEFAULT_PATH)]
    pub credential: PathBuf,

    /// Send the credential in plain text to a registry that is not on loopback.
    /// Only for networks with encryption below HTTP.
    #[arg(long, env = "METAHUB_NODE_PLAIN_HTTP")]
    pub plain_http: bool,

    /// The time limit for the workers to begin a response.
    #[arg(long, env = "METAHUB_NODE_ANSWER_TIMEOUT", default_value = "120s", value_parser = humantime::parse_duration)]
    pub answer_timeout: Duration,

    /// The time limit between two parts of a response of the workers.
    #[arg(long, env = "METAHUB_NODE_STALL_TIMEOUT", default_value = "60s", value_parser = humantime::parse_duration)]
    pub stall_timeout: Duration,

    /// The time limit for open requests after a signal to stop.
    #[arg(long, env = "METAHUB_NODE_DRAIN_TIMEOUT", default_value = "30s", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,

    /// The number of engines' connections to serve at a time. Further
    /// connections wait.
    #[arg(
        long,
        env = "METAHUB_NODE_MAX_CONNECTIONS",
        default_value_t = NonZeroUsize::new(1024).expect("it is not zero")
    )]
    pub max_connections: NonZeroUsize,

    /// The number of threads that forward. One thread fills a network of 10
    /// Gbit/s.
    #[arg(
        long,
        env = "METAHUB_NODE_THREADS",
        default_value_t = NonZeroUsize::MIN
    )]
    pub threads: NonZeroUsize,

    /// The log filter, for example `info` or `metahub_host=debug`.
    #[arg(long, env = "METAHUB_NODE_LOG", default_value = "info")]
    pub log: String,

    /// Log one JSON object per event.
    #[arg(long, env = "METAHUB_NODE_LOG_JSON")]
    pub log_json: bool,
}

/// The TCP address for engines, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// No TCP address, for a proxy with a unix socket.
    None,
    /// A loopback address.
    At(SocketAddr),
}

/// Reasons to reject a listen address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidListen {
    /// The text is not an address.
    #[error("write an address with a port, for example 127.0.0.1:5000, or none")]
    NoAddress,
    /// The address is reachable from other hosts.
    #[error(
        "other hosts would pull as this one: listen on loopback, or on a unix socket that containers mount"
    )]
    NotLoopback,
}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        if text == "none" {
            return Ok(Self::None);
        }
        let address: SocketAddr = text.parse().map_err(|_| InvalidListen::NoAddress)?;
        match address.ip().is_loopback() {
            true => Ok(Self::At(address)),
            false => Err(InvalidListen::NotLoopback),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// A port for one upstream: every name on it is a repository of that upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPort {
    /// The port.
    pub port: u16,
    /// The upstream's host, for example `ghcr.io`, sent as the value of `ns`.
    pub host: String,
}

/// The error for a text that is not an [`UpstreamPort`].
#[derive(Debug, thiserror::Error)]
#[error("write a port and the upstream's host, for example 5001=ghcr.io")]
pub struct InvalidUpstreamPort;

impl FromStr for UpstreamPort {
    type Err = InvalidUpstreamPort;

    fn from_str(text: &str) -> Result<Self, InvalidUpstreamPort> {
        let (port, host) = text.split_once('=').ok_or(InvalidUpstreamPort)?;
        let is_host = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
        if host.is_empty() || !host.bytes().all(is_host) {
            return Err(InvalidUpstreamPort);
        }
        let port = port.trim().parse().map_err(|_| InvalidUpstreamPort)?;
        Ok(Self {
            port,
            host: host.to_owned(),
        })
    }
}

impl fmt::Display for UpstreamPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.port, self.host)
    }
}

impl Config {
    /// The TCP addresses to bind, each with its upstream if it has one.
    pub(super) fn addresses(&self) -> Vec<(SocketAddr, Option<&str>)> {
        let (main, ip) = match self.listen {
            Listen::At(address) => (Some((address, None)), address.ip()),
            Listen::None => (None, Ipv4Addr::LOCALHOST.into()),
        };
        let upstreams = self.upstreams.iter();
        let upstreams = upstreams.map(|it| (SocketAddr::new(ip, it.port), Some(&*it.host)));
        main.into_iter().chain(upstreams).collect()
    }
}

/// Prints all settings.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            listen,
            upstreams,
            unix_socket,
            allowed_uids,
            credential,
            plain_http,
            answer_timeout,
            stall_timeout,
            drain_timeout,
            max_connections,
            threads,
            log,
            log_json,
        } = self;
        let upstreams: Vec<_> = upstreams.iter().map(UpstreamPort::to_string).collect();
        let unix_socket = unix_socket.as_ref().map(|it| it.display().to_string());
        let duration = humantime::format_duration;
        write!(
            f,
            "listen={listen} upstream={} unix_socket={} allow_uid={allowed_uids:?} credential={} \
             plain_http={plain_http} answer_timeout={} stall_timeout={} drain_timeout={} \
             max_connections={max_connections} threads={threads} log={log} log_json={log_json}",
            upstreams.join(","),
            unix_socket.as_deref().unwrap_or("none"),
            credential.display(),
            duration(*answer_timeout),
            duration(*stall_timeout),
            duration(*drain_timeout),
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn config(args: &[&str]) -> Result<Config, clap::Error> {
        Config::try_parse_from(["metahub-node"].iter().chain(args))
    }

    #[test]
    fn an_address_that_other_hosts_reach_is_refused() {
        for address in ["0.0.0.0:5000", "192.168.1.1:5000", "[::]:5000"] {
            let error = config(&["--listen", address]).unwrap_err().to_string();
            assert!(error.contains("other hosts"), "{address}: {error}");
        }
        for address in ["127.0.0.1:5000", "127.1.2.3:80", "[::1]:5000", "none"] {
            assert!(config(&["--listen", address]).is_ok(), "{address}");
        }
    }

    #[test]
    fn an_upstream_has_a_port_on_the_address_of_the_others() {
        let config = config(&[
            "--listen=127.0.0.2:5000",
            "--upstream=5001=ghcr.io,5002=a:1",
        ]);

        let config = config.unwrap();
        let shown: Vec<_> = config
            .addresses()
            .into_iter()
            .map(|(address, upstream)| format!("{address} {upstream:?}"))
            .collect();
        assert_eq!(
            shown,
            [
                "127.0.0.2:5000 None",
                "127.0.0.2:5001 Some(\"ghcr.io\")",
                "127.0.0.2:5002 Some(\"a:1\")"
            ]
        );
    }

    #[test]
    fn an_upstream_without_a_port_or_with_more_than_a_host_is_refused() {
        for wrong in [
            "ghcr.io",
            "5001=",
            "=ghcr.io",
            "70000=ghcr.io",
            "1=a&b",
            "1=a/b",
        ] {
            assert!(wrong.parse::<UpstreamPort>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn user_ids_without_a_unix_socket_are_refused() {
        assert!(config(&["--allow-uid=0"]).is_err());
        assert!(config(&["--allow-uid=0,1000", "--unix-socket=/run/s"]).is_ok());
    }
}
