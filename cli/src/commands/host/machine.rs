//! This machine's features, with the given ones, and its version.

use std::path::PathBuf;

use metahub_host::detect::{DetectedHost, Evidence, detect};
use metahub_policy::CpuTable;

use crate::{output::Output, record::HostFacts};

/// The machine to describe.
#[derive(Debug, clap::Args)]
pub(crate) struct Machine {
    /// The machine's root directory: in a container, the directory where the
    /// host's root is mounted.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(super) root: PathBuf,
}

/// The length limit of a text in the evidence, in bytes.
const LONGEST_RAW: usize = 200;

impl Machine {
    /// Detects the features, and adds `given`, which replaces all detected
    /// features in its namespaces.
    pub(super) fn facts(
        &self,
        given: &[String],
        output: &mut Output<'_>,
    ) -> anyhow::Result<HostFacts> {
        let host = detect(&self.root, &CpuTable::builtin())?;
        output.warn(&host.warnings);
        Ok(with_given(host, given))
    }
}

/// The features of `host`, combined with those given at its login.
pub(crate) fn with_given(mut host: DetectedHost, given: &[String]) -> HostFacts {
    let namespaces: Vec<&str> = given.iter().map(|it| namespace(it)).collect();
    let is_replaced = |feature: &String| namespaces.contains(&namespace(feature));
    host.features.retain(|feature| !is_replaced(feature));
    host.evidence.retain(|feature, _| !is_replaced(feature));
    for feature in given {
        let evidence = Evidence {
            source: "host login".into(),
            raw: format!("--feature {feature}"),
        };
        host.features.push(feature.clone());
        host.evidence.insert(feature.clone(), evidence);
    }
    host.features.sort();
    host.features.dedup();
    let evidence = host.evidence.into_iter().map(|(feature, it)| {
        let (source, raw) = (cut(it.source), cut(it.raw));
        (feature, source, raw)
    });
    HostFacts {
        features: host.features,
        evidence: evidence.collect(),
        agent_version: env!("CARGO_PKG_VERSION").into(),
    }
}

fn namespace(feature: &str) -> &str {
    feature.split_once(':').map_or("isa", |(name, _)| name)
}

/// The start of a long text.
fn cut(mut text: String) -> String {
    let mut end = LONGEST_RAW.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_is_given_takes_the_place_of_those_detected_in_its_namespace() {
        let detected = DetectedHost {
            features: vec!["cpu:zen4".into(), "kernel:6.1".into()],
            ..DetectedHost::default()
        };

        let facts = with_given(detected, &["cpu:zen3".into(), "rack:7".into()]);

        assert_eq!(facts.features, ["cpu:zen3", "kernel:6.1", "rack:7"]);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = format!("a{}", "\u{e4}".repeat(LONGEST_RAW));

        assert_eq!(cut(long).len(), LONGEST_RAW - 1);
    }
}
