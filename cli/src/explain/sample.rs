//! Small images and hosts for tests.

use std::sync::Arc;

use metahub_policy::{CpuTable, MachineType, Rule};
use serde_json::json;

use super::{
    Subject,
    content::{Content, Source},
    policy::NamedHost,
};
use crate::record;

/// The digest of the variant at `place`.
pub(crate) fn digest(place: usize) -> String {
    format!("sha256:{place:064}")
}

/// An index of variants for linux: `amd64` or `amd64/v3`, and features.
pub(crate) fn index(variants: &[(&str, &[&str])]) -> Content {
    let entries = variants.iter().enumerate().map(|(place, variant)| {
        let (platform, features) = variant;
        let (architecture, level) = platform.split_once('/').unwrap_or((platform, ""));
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest(place),
            "size": 1,
            "platform": {
                "os": "linux",
                "architecture": architecture,
                "variant": level,
                "features": features,
            },
        })
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries.collect::<Vec<_>>(),
    });
    Content::Index(Source::parse(index.to_string().into_bytes()).unwrap())
}

/// `qnib/bench:latest` with the rules `rules`.
pub(crate) fn subject<'a>(content: &'a Content, rules: &'a [Rule]) -> Subject<'a> {
    Subject {
        name: "qnib/bench:latest".into(),
        content,
        rules: rules.iter().collect(),
        cpus: CpuTable::builtin(),
    }
}

/// The type `qnib/type1` with these features.
pub(crate) fn host(features: &[&str]) -> NamedHost {
    host_of(MachineType {
        features: features.iter().map(ToString::to_string).collect(),
        ..MachineType::default()
    })
}

/// The type `qnib/type1` of this shape.
pub(crate) fn host_of(shape: MachineType) -> NamedHost {
    let record = record::MachineType {
        user: "qnib".into(),
        name: "type1".into(),
        shape,
    };
    NamedHost::new(record, &Arc::clone(&CpuTable::builtin())).unwrap()
}
