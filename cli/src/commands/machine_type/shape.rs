//! The flags that say what a machine type is, and how they change one.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use metahub_policy::{GpuMatch, MachineType, MatchMode, OnNoMatch, Platforms, Present};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IntoDeserializer, value},
};

/// The flags that create and update share.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Shape {
    /// The operating system [default: linux].
    #[arg(long)]
    os: Option<String>,
    /// The architecture in Go's words, for example `amd64`; empty: implied by
    /// the `cpu` feature, or any.
    #[arg(long, value_name = "ARCHITECTURE", alias = "architecture")]
    arch: Option<String>,
    /// The variant of a 32-bit arm host, for example `v7`.
    #[arg(long)]
    variant: Option<String>,
    /// The version of a Windows host, for example `10.0.20348.1`.
    #[arg(long)]
    os_version: Option<String>,
    /// A CPU name whose builds the host runs besides those of its ancestors;
    /// repeatable.
    #[arg(long, value_name = "CPU", value_delimiter = ',')]
    also_runs: Option<Vec<String>>,
    /// How a host with several GPUs matches [default: all].
    #[arg(long, value_parser = word::<GpuMatch>(&["all", "any"]))]
    gpu: Option<GpuMatch>,
    /// How a variant is chosen [default: best].
    #[arg(long = "match", value_name = "MODE",
          value_parser = word::<MatchMode>(&["best", "exact", "best-no-generic"]))]
    mode: Option<MatchMode>,
    /// What a host is told when no variant fits [default: error].
    #[arg(long, value_name = "ANSWER",
          value_parser = word::<OnNoMatch>(&["error", "passthrough"]))]
    on_no_match: Option<OnNoMatch>,
    /// In what form the chosen variant is answered [default: auto].
    #[arg(long, value_name = "FORM", value_parser = word::<Present>(&["auto", "index"]))]
    present: Option<Present>,
    /// Which platforms the answer has: `all` for hosts that build for other
    /// platforms [default: own].
    #[arg(long, value_name = "PLATFORMS", value_parser = word::<Platforms>(&["own", "all"]))]
    platforms: Option<Platforms>,
}

/// The names of all flags that say what to change.
pub(crate) const CHANGES: [&str; 13] = [
    "features",
    "add",
    "remove",
    "os",
    "arch",
    "variant",
    "os_version",
    "also_runs",
    "gpu",
    "mode",
    "on_no_match",
    "present",
    "platforms",
];

/// The flags of an update.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub(crate) struct Edit {
    /// Replace the features by these; repeatable.
    #[arg(long = "feature", value_name = "FEATURE", value_delimiter = ',')]
    features: Option<Vec<String>>,
    /// Add a feature; repeatable.
    #[arg(long = "add-feature", value_name = "FEATURE", value_delimiter = ',')]
    add: Vec<String>,
    /// Remove a feature; repeatable.
    #[arg(long = "remove-feature", value_name = "FEATURE", value_delimiter = ',')]
    remove: Vec<String>,
    #[command(flatten)]
    shape: Shape,
}

impl Shape {
    /// Changes what the flags name.
    pub(crate) fn apply(self, machine_type: &mut MachineType) {
        set(&mut machine_type.os, self.os);
        set_text(&mut machine_type.architecture, self.arch);
        set_text(&mut machine_type.variant, self.variant);
        set_text(&mut machine_type.os_version, self.os_version);
        set(&mut machine_type.also_runs, self.also_runs.map(non_empty));
        set(&mut machine_type.gpu, self.gpu);
        set(&mut machine_type.mode, self.mode);
        set(&mut machine_type.on_no_match, self.on_no_match);
        set(&mut machine_type.present, self.present);
        set(&mut machine_type.platforms, self.platforms);
    }
}

impl Edit {
    /// Changes what the flags name. A feature that is there is not added twice.
    pub(crate) fn apply(self, machine_type: &mut MachineType) {
        let features = &mut machine_type.features;
        set(features, self.features.map(non_empty));
        features.retain(|feature| !self.remove.contains(feature));
        for feature in self.add {
            if !features.contains(&feature) {
                features.push(feature);
            }
        }
        self.shape.apply(machine_type);
    }
}

fn set<T>(field: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *field = value;
    }
}

/// An empty flag takes the text away.
fn set_text(field: &mut Option<String>, flag: Option<String>) {
    if let Some(text) = flag {
        *field = Some(text).filter(|text| !text.is_empty());
    }
}

/// `--feature ''` says that there are none.
fn non_empty(texts: Vec<String>) -> Vec<String> {
    texts.into_iter().filter(|text| !text.is_empty()).collect()
}

/// Parses one of `words`, in the spelling that files use too.
fn word<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| from_word::<T>(&word))
}

fn from_word<'de, T: Deserialize<'de>>(word: &str) -> Result<T, value::Error> {
    T::deserialize(word.to_owned().into_deserializer())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record;

    fn machine_type(features: &[&str]) -> MachineType {
        let features = features.iter().map(ToString::to_string).collect();
        record::MachineType::for_linux("qnib".into(), "type1".into(), features).shape
    }

    #[test]
    fn an_update_leaves_alone_what_no_flag_names() {
        let mut it = machine_type(&["cpu:broadwell", "nvcap:5.2"]);
        it.architecture = Some("amd64".into());
        let edit = Edit {
            add: vec!["nvcap:8.0".into(), "cpu:broadwell".into()],
            remove: vec!["nvcap:5.2".into()],
            ..Edit::default()
        };

        edit.apply(&mut it);

        assert_eq!(it.features, ["cpu:broadwell", "nvcap:8.0"]);
        assert_eq!(it.architecture.as_deref(), Some("amd64"));
    }

    #[test]
    fn features_that_are_given_anew_replace_the_old_ones() {
        let mut it = machine_type(&["cpu:broadwell"]);
        let edit = Edit {
            features: Some(vec!["cpu:skylake".into()]),
            ..Edit::default()
        };

        edit.apply(&mut it);

        assert_eq!(it.features, ["cpu:skylake"]);
    }

    #[test]
    fn an_empty_flag_takes_the_architecture_away() {
        let mut it = machine_type(&[]);
        it.architecture = Some("amd64".into());
        let edit = Edit {
            shape: Shape {
                arch: Some(String::new()),
                ..Shape::default()
            },
            ..Edit::default()
        };

        edit.apply(&mut it);

        assert_eq!(it.architecture, None);
    }
}
