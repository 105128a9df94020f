//! Counters of the way to the upstreams.

use std::fmt::Write;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::{Error, blob::CacheMetrics};

/// What happens on the way to the upstreams, for Prometheus. Labels are
/// configured names and the enums below, never what a client sends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    revalidations: Family<RevalidationLabels, Counter>,
    ratelimit_remaining: Family<UpstreamLabels, Gauge>,
    /// Requests for a manifest or token that waited for another's answer.
    pub(crate) joins: Counter,
    /// Tags answered from the cache because their upstream could not be asked.
    pub(crate) stale_served: Counter,
    /// Blob bytes received.
    pub(crate) blob_bytes: Counter,
    /// Requests for a blob that shared a reading of it.
    pub(crate) blob_joins: Counter,
    /// Blobs that broke off and were taken up again.
    pub(crate) blob_resumes: Counter,
    /// Blobs and manifests that were not what their digest promises.
    pub(crate) digest_mismatches: Counter,
    /// What the cached manifests weigh.
    pub(crate) cached_bytes: Gauge,
    /// Requests that were refused since the worker was at one of its limits.
    pub(crate) overloads: Counter,
    /// Requests to upstreams that have no answer yet.
    pub(crate) in_flight: Gauge,
    /// Memory for bodies that are being read, in bytes.
    pub(crate) small_bodies: Gauge,
    /// What happens to blobs on disk.
    pub(crate) blob_cache: CacheMetrics,
}

/// What a request to an upstream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A manifest or index.
    Manifest,
    /// A blob, or a part of one.
    Blob,
    /// A token to ask with.
    Token,
    /// A page of tags.
    Tags,
    /// A page of referrers.
    Referrers,
}

/// How asking whether a tag still means the same ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Revalidation {
    /// It does.
    Confirmed,
    /// It means something else now.
    Changed,
    /// It is gone, or no longer to be had.
    Gone,
    /// The upstream could not be asked.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    upstream: String,
    kind: Kind,
    status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RevalidationLabels {
    outcome: Revalidation,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    upstream: String,
}

/// How a single exchange ended: a status code, folded, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Status {
    Code(u16),
    Other(u16),
    Timeout,
    Failed,
}

impl Metrics {
    /// Adds all of them to `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.blob_cache.register(registry);
        let registry = registry.sub_registry_with_prefix("upstream");
        registry.register(
            "requests",
            "Requests to upstreams, each redirect counted",
            self.requests.clone(),
        );
        registry.register(
            "revalidations",
            "Tags whose upstream was asked again after their time to live",
            self.revalidations.clone(),
        );
        registry.register(
            "ratelimit_remaining",
            "What an upstream says is left of its quota",
            self.ratelimit_remaining.clone(),
        );
        self.register_counters(registry);
        registry.register_with_unit(
            "cached",
            "What the cached manifests weigh",
            Unit::Bytes,
            self.cached_bytes.clone(),
        );
        registry.register_with_unit(
            "small_bodies",
            "Memory for manifests, lists and tokens that are being read",
            Unit::Bytes,
            self.small_bodies.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests to upstreams that have no answer yet",
            self.in_flight.clone(),
        );
    }

    fn register_counters(&self, registry: &mut Registry) {
        for (name, help, counter) in [
            (
                "joins",
                "Requests that waited for another's answer",
                &self.joins,
            ),
            (
                "stale_served",
                "Tags answered from the cache because their upstream could not be asked",
                &self.stale_served,
            ),
            ("blob_bytes", "Blob bytes received", &self.blob_bytes),
            (
                "blob_joins",
                "Requests for a blob that shared a reading of it",
                &self.blob_joins,
            ),
            (
                "blob_resumes",
                "Blobs that broke off and were taken up again",
                &self.blob_resumes,
            ),
            (
                "digest_mismatches",
                "Blobs and manifests that were not what their digest promises",
                &self.digest_mismatches,
            ),
            (
                "overloads",
                "Requests to upstreams that were refused at one of the worker's limits",
                &self.overloads,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
    }

    /// Counts an exchange that ended with a status code.
    pub(crate) fn answered(&self, upstream: &str, kind: Kind, code: u16) {
        let status = match code {
            200 | 206 | 304 | 307 | 401 | 403 | 404 | 416 | 429 | 500 | 502 | 503 | 504 => {
                Status::Code(code)
            }
            _ => Status::Other(code / 100),
        };
        self.count(upstream, kind, status);
    }

    /// Counts an exchange that ended without an answer.
    pub(crate) fn failed(&self, upstream: &str, kind: Kind, error: &Error) {
        let status = match error {
            Error::Timeout { .. } => Status::Timeout,
            _ => Status::Failed,
        };
        self.count(upstream, kind, status);
    }

    /// Counts a revalidation.
    pub(crate) fn revalidated(&self, outcome: Revalidation) {
        let labels = RevalidationLabels { outcome };
        self.revalidations.get_or_create(&labels).inc();
    }

    /// Notes what an upstream says is left of its quota.
    pub(crate) fn ratelimit_remaining(&self, upstream: &str, remaining: i64) {
        let upstream = upstream.to_owned();
        self.ratelimit_remaining
            .get_or_create(&UpstreamLabels { upstream })
            .set(remaining);
    }

    fn count(&self, upstream: &str, kind: Kind, status: Status) {
        let labels = RequestLabels {
            upstream: upstream.to_owned(),
            kind,
            status,
        };
        self.requests.get_or_create(&labels).inc();
    }
}

impl Kind {
    /// Its name in metrics and traces.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Blob => "blob",
            Self::Token => "token",
            Self::Tags => "tags",
            Self::Referrers => "referrers",
        }
    }
}

impl EncodeLabelValue for Kind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(self.as_str())
    }
}

impl EncodeLabelValue for Revalidation {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Confirmed => "confirmed",
            Self::Changed => "changed",
            Self::Gone => "gone",
            Self::Failed => "failed",
        })
    }
}

impl EncodeLabelValue for Status {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(encoder, "{code}"),
            Self::Other(class) => write!(encoder, "{class}xx"),
            Self::Timeout => encoder.write_str("timeout"),
            Self::Failed => encoder.write_str("failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exposition_names_upstream_kind_and_status() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);

        metrics.answered("docker.io", Kind::Manifest, 429);
        metrics.answered("docker.io", Kind::Blob, 418);

        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"upstream_requests_total{upstream="docker.io",kind="manifest",status="429"} 1"#,
            r#"upstream_requests_total{upstream="docker.io",kind="blob",status="4xx"} 1"#,
            "upstream_joins_total 0",
            "upstream_cached_bytes 0",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
    }
}
