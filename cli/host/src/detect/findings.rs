//! The features, evidence and warnings that detection collects.

use std::collections::BTreeMap;

use metahub_policy::{CpuLevel, CpuTable, MachineType};

use super::{DetectedHost, Evidence, Level};

/// The length limit of raw text in evidence, in bytes.
const MAX_RAW: usize = 200;

/// Features with their evidence, and warnings.
#[derive(Debug, Default)]
pub(super) struct Findings {
    evidence: BTreeMap<String, Evidence>,
    warnings: Vec<String>,
    level: Option<Level>,
}

impl Findings {
    /// Adds `feature` with its evidence: the text `raw` from `source`. A
    /// repeated feature keeps its first evidence.
    pub(super) fn add(&mut self, feature: String, source: &str, raw: &str) {
        let evidence = Evidence {
            source: source.to_owned(),
            raw: shortened(raw),
        };
        self.evidence.entry(feature).or_insert(evidence);
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(printable(&warning));
    }

    pub(super) fn set_level(&mut self, level: CpuLevel) {
        self.level = Some(Level {
            name: level.name,
            next: level.next,
            missing: level.missing,
        });
    }

    /// The detected host. Files can hold any text: a feature that is invalid in
    /// a machine type is left out with a warning.
    pub(super) fn into_host(mut self, cpus: &CpuTable) -> DetectedHost {
        self.evidence.retain(|feature, evidence| {
            let machine_type = MachineType {
                features: vec![feature.clone()],
                ..MachineType::default()
            };
            let invalid = machine_type.check(cpus).err();
            if let Some(reason) = &invalid {
                let source = &evidence.source;
                let warning = format!("left out what {source} says: {reason}");
                self.warnings.push(printable(&warning));
            }
            invalid.is_none()
        });
        DetectedHost {
            schema: 1,
            features: self.evidence.keys().cloned().collect(),
            level: self.level,
            evidence: self.evidence,
            warnings: self.warnings,
        }
    }
}

/// `text` on one line, cut to [`MAX_RAW`] bytes and an ellipsis.
fn shortened(text: &str) -> String {
    let text = printable(text.trim());
    if text.len() <= MAX_RAW {
        return text;
    }
    let end = (0..=MAX_RAW).rev().find(|end| text.is_char_boundary(*end));
    format!("{}…", &text[..end.unwrap_or(0)])
}

/// `text` without terminal control characters.
fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}
