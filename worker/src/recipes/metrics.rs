//! What a worker counts of trimmed indexes and their recipes.

use std::fmt;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family},
    registry::Registry as Counters,
};

/// Counters of trimmed indexes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    /// Trimmed indexes that were answered with.
    pub(crate) trimmed: Counter,
    records: Family<RecordLabels, Counter>,
    lookups: Family<LookupLabels, Counter>,
    stand_ins: Family<StandInLabels, Counter>,
}

/// How recording a recipe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Record {
    /// It is durable.
    Stored,
    /// The control plane could not be asked, or refused.
    Failed,
}

/// How looking a recipe up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lookup {
    /// The control plane has it.
    Found,
    /// The control plane does not have it.
    Missing,
    /// The control plane could not be asked.
    Failed,
}

/// What was served in the place of a trimmed index that could not be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StandIn {
    /// The one chosen image.
    Image,
    /// The source index, since more than one image was chosen.
    Source,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RecordLabels {
    outcome: Record,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookupLabels {
    outcome: Lookup,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StandInLabels {
    given: StandIn,
}

impl Metrics {
    /// Adds them to `counters`.
    pub(crate) fn register(&self, counters: &mut Counters) {
        counters.register(
            "trimmed_answers",
            "Answers that were a trimmed index",
            self.trimmed.clone(),
        );
        counters.register(
            "recipe_records",
            "Recipes recorded at the control plane, by outcome",
            self.records.clone(),
        );
        counters.register(
            "recipe_lookups",
            "Recipes looked up at the control plane, by outcome",
            self.lookups.clone(),
        );
        counters.register(
            "trimmed_stand_ins",
            "Answers in the place of a trimmed index that could not be recorded, by what they were",
            self.stand_ins.clone(),
        );
    }

    pub(super) fn recorded(&self, outcome: Record) {
        self.records.get_or_create(&RecordLabels { outcome }).inc();
    }

    pub(super) fn looked_up(&self, outcome: Lookup) {
        self.lookups.get_or_create(&LookupLabels { outcome }).inc();
    }

    /// Counts an answer that stands in for a trimmed index.
    pub(crate) fn stood_in(&self, given: StandIn) {
        self.stand_ins.get_or_create(&StandInLabels { given }).inc();
    }
}

impl EncodeLabelValue for Record {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text = match self {
            Self::Stored => "stored",
            Self::Failed => "failed",
        };
        text.encode(encoder)
    }
}

impl EncodeLabelValue for Lookup {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text = match self {
            Self::Found => "found",
            Self::Missing => "missing",
            Self::Failed => "failed",
        };
        text.encode(encoder)
    }
}

impl EncodeLabelValue for StandIn {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text = match self {
            Self::Image => "image",
            Self::Source => "source",
        };
        text.encode(encoder)
    }
}
