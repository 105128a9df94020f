//! What a worker counts, for Prometheus.
//!
//! Labels come from enums: never a repository, digest, tag or client.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder,
    },
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::Registry as Counters,
};

use self::latency::Latency;
use crate::{
    registry::{Registry, Route},
    snapshot::Current,
};

mod latency;

/// Which part of the API a request is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    /// `/v2/`
    Base,
    /// A manifest or index.
    Manifest,
    /// A layer or config.
    Blob,
    /// A list of tags or referrers.
    List,
    /// The token endpoint.
    Token,
    /// None that is served.
    #[default]
    Other,
}

/// Whether an upstream had to be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Cached {
    /// No cache has a part in the answer.
    #[default]
    None,
    /// No upstream was asked.
    Hit,
    /// One was.
    Miss,
}

/// What a host by tag would have been given of an index that it asked for by
/// digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TagOutcome {
    /// A part of it.
    Choice,
    /// A refusal: nothing fits.
    Refusal,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TagOutcomeLabels {
    by_tag: TagOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    endpoint: Endpoint,
    status: u16,
    cache: Cached,
}

/// What a worker counts of its requests.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Family<Labels, Counter>,
    /// The one of the hot path, which need not be looked up.
    manifest_hits: Counter,
    open: Gauge,
    added_latency: Latency,
    passed_over: Family<TagOutcomeLabels, Counter>,
}

/// A request that has not been answered.
#[derive(Debug)]
pub(crate) struct Open<'a>(&'a Gauge);

const HOT: Labels = Labels {
    endpoint: Endpoint::Manifest,
    status: 200,
    cache: Cached::Hit,
};

impl Metrics {
    /// Counters at zero.
    pub(crate) fn new() -> Self {
        let requests = Family::<Labels, Counter>::default();
        Self {
            manifest_hits: requests.get_or_create_owned(&HOT),
            requests,
            open: Gauge::default(),
            added_latency: Latency::default(),
            passed_over: Family::default(),
        }
    }

    /// Adds them to `counters`.
    pub(crate) fn register(&self, counters: &mut Counters) {
        counters.register(
            "requests",
            "Requests answered, by endpoint, status, and whether a cache had the answer",
            self.requests.clone(),
        );
        counters.register(
            "requests_in_flight",
            "Requests that have not been answered yet",
            self.open.clone(),
        );
        counters.register(
            "added_latency_seconds",
            "Time to an answer's head, without the time spent waiting for upstreams",
            self.added_latency.clone(),
        );
        counters.register(
            "indexes_by_digest",
            "Indexes served by digest to hosts that by tag would have been given something else",
            self.passed_over.clone(),
        );
    }

    /// Counts an index that is served by digest, past the selection.
    pub(crate) fn passed_over(&self, by_tag: TagOutcome) {
        self.passed_over
            .get_or_create(&TagOutcomeLabels { by_tag })
            .inc();
    }

    /// Counts a request until it is answered or its client leaves.
    pub(crate) fn open(&self) -> Open<'_> {
        self.open.inc();
        Open(&self.open)
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, endpoint: Endpoint, status: u16, cache: Cached, added: Duration) {
        let labels = Labels {
            endpoint,
            status,
            cache,
        };
        self.added_latency.observe(added);
        if labels == HOT {
            self.manifest_hits.inc();
        } else {
            self.requests.get_or_create(&labels).inc();
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Endpoint {
    /// The endpoint of a route.
    pub(crate) fn of(route: &Route) -> Self {
        match route {
            Route::Base => Self::Base,
            Route::Manifest(..) => Self::Manifest,
            Route::Blob(..) => Self::Blob,
            Route::Tags(..) | Route::Referrers(..) => Self::List,
            Route::Catalog | Route::Caller => Self::Other,
        }
    }
}

impl EncodeLabelValue for Endpoint {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text = match self {
            Self::Base => "base",
            Self::Manifest => "manifest",
            Self::Blob => "blob",
            Self::List => "list",
            Self::Token => "token",
            Self::Other => "other",
        };
        text.encode(encoder)
    }
}

impl EncodeLabelValue for TagOutcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text = match self {
            Self::Choice => "choice",
            Self::Refusal => "refusal",
        };
        text.encode(encoder)
    }
}

impl EncodeLabelValue for Cached {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text = match self {
            Self::None => "none",
            Self::Hit => "hit",
            Self::Miss => "miss",
        };
        text.encode(encoder)
    }
}

/// How fresh the policy is and how full the cache, looked up when asked for.
#[derive(Debug)]
pub(crate) struct StateMetrics {
    /// The policy.
    pub(crate) current: Arc<Current>,
    /// The cache.
    pub(crate) registry: Arc<Registry>,
}

impl Collector for StateMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.current.load();
        let revision = snapshot.as_ref().map_or(0, |it| it.revision().number);
        let sizes = snapshot.as_ref().map(|it| it.recipe_sizes());
        let (recipes, recipe_bytes) = sizes.unwrap_or_default();
        for (name, help, value) in [
            ("policy_revision", "The revision that is served.", revision),
            (
                "policy_lag",
                "How many revisions the served one is behind.",
                self.current.lag(),
            ),
            (
                "policy_outdated",
                "Whether the policy is older than --max-policy-age: 1 if so.",
                u64::from(self.current.outdated(Instant::now()).is_some()),
            ),
            (
                "policy_recipes",
                "How many recipes of trimmed indexes the policy holds.",
                recipes as u64,
            ),
            (
                "policy_recipes_bytes",
                "What these take of memory, about.",
                recipe_bytes as u64,
            ),
            (
                "answers_bytes",
                "The size of all remembered answers.",
                self.registry.answers_weight(),
            ),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let (name, help) = (
            "policy_age_seconds",
            "Time since the control plane was last heard.",
        );
        let age = ConstGauge::new(self.current.silence().as_secs_f64());
        age.encode(encoder.encode_descriptor(name, help, None, age.metric_type())?)?;
        self.encode_counters(encoder)
    }
}

impl StateMetrics {
    fn encode_counters(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, count) in [
            (
                "policy_rejected",
                "Revisions that were refused.",
                self.current.rejections(),
            ),
            (
                "policy_snapshots",
                "How often the whole policy came, instead of what changed.",
                self.current.wholes(),
            ),
            (
                "policy_mismatches",
                "How often the copy of the policy was found to differ from it.",
                self.current.mismatches(),
            ),
        ] {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(
                name,
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        Ok(())
    }
}
