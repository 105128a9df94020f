//! Where the state is kept, as the operator writes it.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use url::Url;

/// What keys in etcd start with unless the operator says otherwise.
const DEFAULT_PREFIX: &str = "/metahub";

/// Where the state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// `sqlite:PATH`: one SQLite file.
    Sqlite(PathBuf),
    /// `etcd:URL,URL…`: a cluster that any number of control planes share.
    Etcd(EtcdCluster),
    /// `memory`: nowhere. For the static mode and tests.
    Memory,
}

/// An etcd cluster, and the part of its keys that is MetaHub's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdCluster {
    /// At least one; `http` or `https`, without a path.
    pub(super) endpoints: Vec<String>,
    /// Starts with `/`, does not end with it.
    pub(super) prefix: String,
}

impl StoreLocation {
    /// Where the state is kept unless the operator says otherwise.
    pub(crate) fn within(data_dir: &Path) -> Self {
        Self::Sqlite(data_dir.join("metahub.db"))
    }

    /// Whether there are side files of a database, which outlive it when it is
    /// removed.
    pub(crate) fn has_remains(&self) -> bool {
        let beside = |path: &Path, suffix| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            Path::new(&name).exists()
        };
        match self {
            Self::Sqlite(path) => ["-wal", ".lock"].iter().any(|it| beside(path, it)),
            Self::Etcd(_) | Self::Memory => false,
        }
    }
}

impl FromStr for StoreLocation {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("etcd", urls)) => urls.parse().map(Self::Etcd),
            _ => Err("use `sqlite:PATH`, `etcd:URL,URL…` or `memory`"),
        }
    }
}

impl FromStr for EtcdCluster {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut endpoints = Vec::new();
        let mut prefix = "";
        let urls: Vec<&str> = text.split(',').collect();
        for (at, text) in urls.iter().enumerate() {
            let (endpoint, path) = split_path(text);
            check_endpoint(endpoint)?;
            endpoints.push(endpoint.to_owned());
            match path.trim_end_matches('/') {
                "" => {}
                path if at + 1 == urls.len() => prefix = path,
                _ => return Err("write the prefix of the keys once, after the last URL"),
            }
        }
        Ok(Self {
            endpoints,
            prefix: if prefix.is_empty() {
                DEFAULT_PREFIX
            } else {
                prefix
            }
            .to_owned(),
        })
    }
}

/// Cuts `https://host:2379/prefix` before the path.
fn split_path(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    let path = url[host..].find('/').map_or(url.len(), |at| host + at);
    url.split_at(path)
}

fn check_endpoint(endpoint: &str) -> Result<(), &'static str> {
    let bad = "write etcd's endpoints as `http://HOST:PORT` or `https://HOST:PORT`";
    let url = Url::parse(endpoint).map_err(|_| bad)?;
    let has_more = !url.username().is_empty() || url.query().is_some() || url.fragment().is_some();
    match url.scheme() {
        "http" | "https" if url.has_host() && !has_more => Ok(()),
        _ => Err(bad),
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Etcd(cluster) => {
                write!(f, "etcd:{}{}", cluster.endpoints.join(","), cluster.prefix)
            }
            Self::Memory => f.write_str("memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_endpoints_share_one_prefix() {
        let location: StoreLocation = "etcd:http://10.0.0.1:2379,http://10.0.0.2:2379/hub/a/"
            .parse()
            .unwrap();

        let expected = StoreLocation::Etcd(EtcdCluster {
            endpoints: vec!["http://10.0.0.1:2379".into(), "http://10.0.0.2:2379".into()],
            prefix: "/hub/a".into(),
        });
        assert_eq!(location, expected);
    }

    #[test]
    fn a_location_is_written_as_it_is_read() {
        for text in [
            "sqlite:/srv/metahub.db",
            "etcd:https://[::1]:2379/metahub",
            "memory",
        ] {
            let location: StoreLocation = text.parse().unwrap();

            assert_eq!(location.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "etcd:",
            "etcd:10.0.0.1:2379",
            "etcd:unix:///run/etcd",
            "etcd:http://a:2379/one,http://b:2379/two",
            "etcd:http://root:secret@a:2379",
        ] {
            assert!(text.parse::<StoreLocation>().is_err(), "{text}");
        }
    }
}
