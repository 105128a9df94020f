//! Counters of the way to the upstreams.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

/// What happens on the way to the upstreams, for Prometheus.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    stale_served: Counter,
}

impl Metrics {
    /// Adds the counters to `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "upstream_stale_served",
            "Tags answered from the cache because their upstream could not be asked",
            self.stale_served.clone(),
        );
    }
}
