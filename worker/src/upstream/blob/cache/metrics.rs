//! Counters of the blob cache.

use std::fmt::Write;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

/// What happens in the blob cache, for Prometheus. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct CacheMetrics {
    requests: Family<OutcomeLabel, Counter>,
    failures: Family<CauseLabel, Counter>,
    /// Bytes that clients got from files.
    pub(crate) served_bytes: Counter,
    /// Blobs that made room for others.
    pub(crate) evictions: Counter,
    /// What the directory held when it was last looked at.
    pub(crate) size_bytes: Gauge,
}

/// Where a blob came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// From a file.
    Hit,
    /// From a file that was still being written.
    Join,
    /// From the upstream.
    Miss,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cause {
    /// A file or the directory could not be read.
    Read,
    /// A file could not be written: the disk is full, or not writable.
    Write,
    /// A blob did not fit, beside those that are being written.
    NoRoom,
    /// A file was not what its name says.
    Corrupt,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: Cause,
}

impl CacheMetrics {
    /// Adds all of them to `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("blob_cache");
        registry.register(
            "requests",
            "Requests for blobs, by where their bytes came from",
            self.requests.clone(),
        );
        registry.register(
            "failures",
            "Blobs that could not be read, written or kept",
            self.failures.clone(),
        );
        registry.register_with_unit(
            "served",
            "Blob bytes that clients got from files",
            Unit::Bytes,
            self.served_bytes.clone(),
        );
        registry.register(
            "evictions",
            "Blobs that made room for others",
            self.evictions.clone(),
        );
        registry.register_with_unit(
            "size",
            "What the directory holds, as last counted",
            Unit::Bytes,
            self.size_bytes.clone(),
        );
    }

    /// Counts a request.
    pub(crate) fn answered(&self, outcome: Outcome) {
        self.requests.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, cause: Cause) {
        self.failures.get_or_create(&CauseLabel { cause }).inc();
    }

    /// How many requests had this outcome.
    #[cfg(test)]
    pub(crate) fn outcomes(&self, outcome: Outcome) -> u64 {
        self.requests.get_or_create(&OutcomeLabel { outcome }).get()
    }

    /// How many failures had this cause.
    #[cfg(test)]
    pub(crate) fn causes(&self, cause: Cause) -> u64 {
        self.failures.get_or_create(&CauseLabel { cause }).get()
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Hit => "hit",
            Self::Join => "join",
            Self::Miss => "miss",
        })
    }
}

impl EncodeLabelValue for Cause {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::NoRoom => "no_room",
            Self::Corrupt => "corrupt",
        })
    }
}
