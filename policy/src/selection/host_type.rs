//! Chooses a host's machine type: the selection with the types as variants.
//!
//! A type suits a host that has every feature of the type: variants for the
//! type then run on the host. The best type is the first in the order of
//! variants.

use std::{collections::BTreeSet, fmt, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};

use super::{
    compatibility::View,
    rank::{Rank, Ranked},
    requirements::{Requirement, Requirements},
};
use crate::{
    CpuTable, Entry, Host, InvalidMachineType, MachineType, Platform, feature,
    feature::{Feature, Meaning},
    host::canonical,
    version::Version,
};

/// The namespaces of a type that is created for a host: those that separate
/// hosts, and the versions that variants require.
const OWN_TYPE: [&str; 7] = [
    feature::CPU,
    feature::NVCAP,
    feature::GFX,
    "gpu",
    "net",
    "nvdrv",
    "cuda",
];

/// A feature of a machine type that a host does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The namespace, for example `nvdrv`.
    pub namespace: String,
    /// The type's value, for example `550`.
    pub needs: String,
    /// The host's value, for example `535`. Empty: the host has none.
    pub has: String,
}

/// The best machine type for a host, and the unmet features of all types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeChoice {
    /// The index of the best type. `None`: no type suits the host.
    pub best: Option<usize>,
    /// The unmet features of each type. Empty: the type suits the host.
    pub unmet: Vec<Vec<Unmet>>,
}

/// Chooses the machine type for a host with `features`: the first of equally
/// good ones. Total and deterministic.
///
/// # Errors
///
/// Fails if the host's features cannot be read, or those of a type.
pub fn choose_type(
    features: &[String],
    types: &[&MachineType],
    cpus: &Arc<CpuTable>,
) -> Result<TypeChoice, InvalidMachineType> {
    let hosts = types.iter().map(|kind| host(features, kind, cpus));
    let hosts: Vec<Host> = hosts.collect::<Result<_, _>>()?;
    let entries: Vec<Entry> = types.iter().map(|kind| entry(kind)).collect();
    let required = entries.iter().map(|it| Requirements::of(it, &[], cpus));
    let required: Vec<Requirements<'_>> = required.collect();
    let mut unmet = Vec::with_capacity(types.len());
    let mut best: Option<(usize, Rank<'_>)> = None;
    for (place, kind) in types.iter().enumerate() {
        let view = View {
            host: &hosts[place],
            architecture: hosts[place]
                .platform()
                .only_architecture()
                .unwrap_or_default(),
        };
        let lacks = lacks(view, kind, &required[place], cpus)?;
        if lacks.is_empty() {
            let entry = &entries[place];
            let ranked = Ranked {
                view,
                place,
                entry,
                pinned: false,
            };
            let rank = Rank::of(&ranked, &required[place]);
            if best
                .as_ref()
                .is_none_or(|(_, best)| rank.compare(best).0.is_gt())
            {
                best = Some((place, rank));
            }
        }
        unmet.push(lacks);
    }
    Ok(TypeChoice {
        best: best.map(|(place, _)| place),
        unmet,
    })
}

/// The name and the features of a type for hosts with exactly these features.
/// The name is `auto-` and eight hex digits, equal for equal features. A driver
/// counts by its major version: an update creates no new type.
pub fn own_type(features: &[String], cpus: &CpuTable) -> (String, Vec<String>) {
    let own = features.iter().filter_map(|text| Feature::parse(text));
    let own = own.filter(|it| OWN_TYPE.contains(&&*it.namespace));
    let own: BTreeSet<String> = own
        .map(|it| {
            let value = canonical(&it, cpus);
            let value = match &*it.namespace {
                "nvdrv" => value.split('.').next().unwrap_or_default().to_owned(),
                _ => value,
            };
            feature::spell(&it.namespace, &value)
        })
        .collect();
    let own: Vec<String> = own.into_iter().collect();
    let hash = digest(&SHA256, own.join("\n").as_bytes());
    let hex: String = hash.as_ref()[..4]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    (format!("auto-{hex}"), own)
}

fn host(
    features: &[String],
    kind: &MachineType,
    cpus: &Arc<CpuTable>,
) -> Result<Host, InvalidMachineType> {
    let own = MachineType {
        features: features.to_vec(),
        gpu: kind.gpu,
        ..MachineType::default()
    };
    Host::new(own, cpus.clone())
}

/// A variant that requires the features of a type.
fn entry(kind: &MachineType) -> Entry {
    Entry {
        digest: String::new(),
        media_type: String::new(),
        size: 0,
        artifact_type: None,
        platform: Some(Platform {
            os: kind.os.clone(),
            features: kind.features.clone(),
            ..Platform::default()
        }),
        annotations: std::collections::BTreeMap::new(),
        subject: None,
    }
}

/// The features of a type that the host does not have.
fn lacks(
    view: View<'_>,
    kind: &MachineType,
    required: &Requirements<'_>,
    cpus: &Arc<CpuTable>,
) -> Result<Vec<Unmet>, InvalidMachineType> {
    let mut lacks = Vec::new();
    let wanted = Host::new(kind.clone(), cpus.clone())?;
    let (own, wanted) = (view.host.platform(), wanted.platform());
    let differs = match (own.only_architecture(), wanted.only_architecture()) {
        (own, Some(wanted)) => own != Some(wanted),
        (_, None) => false,
    };
    if own.os != wanted.os || differs {
        lacks.push(Unmet {
            namespace: "platform".into(),
            needs: wanted.to_string(),
            has: own.to_string(),
        });
    }
    for group in required.groups() {
        let before = lacks.len();
        let missing = group.iter().filter(|it| !view.fits(it));
        lacks.extend(missing.map(|it| unmet(view, it)));
        // The host has each value, but one of its GPUs has none of them.
        if lacks.len() == before
            && let Some(misfit) = view.group_unmet(group)
        {
            lacks.push(misfit);
        }
    }
    Ok(lacks)
}

fn unmet(view: View<'_>, requirement: &Requirement<'_>) -> Unmet {
    let namespace = requirement.namespace.as_ref();
    let is_floor = feature::meaning(namespace) == Meaning::Floor;
    let mut own: Vec<&str> = view.host.values(namespace).collect();
    if is_floor {
        own.sort_by_key(|value| Version::parse(value));
    }
    Unmet {
        namespace: namespace.to_owned(),
        needs: requirement.value.clone(),
        has: own.join(" and "),
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.namespace.as_str() {
            "nvdrv" => "driver",
            "nvcap" => "compute capability",
            other => other,
        };
        match self.has.is_empty() {
            true => write!(f, "no {word}, the type says {}", self.needs),
            false => write!(f, "{word} {}, the type says {}", self.has, self.needs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(features: &[&str]) -> MachineType {
        MachineType {
            features: texts(features),
            ..MachineType::default()
        }
    }

    fn texts(features: &[&str]) -> Vec<String> {
        features.iter().map(|text| text.to_string()).collect()
    }

    fn choose(features: &[&str], types: &[MachineType]) -> TypeChoice {
        let types: Vec<&MachineType> = types.iter().collect();
        choose_type(&texts(features), &types, &CpuTable::builtin()).unwrap()
    }

    fn lacks(features: &[&str], kind: MachineType) -> Vec<String> {
        let unmet = choose(features, &[kind]).unmet.remove(0);
        unmet.iter().map(Unmet::to_string).collect()
    }

    #[test]
    fn a_host_gets_the_best_type_whose_every_feature_it_has() {
        let types = [
            kind(&[]),
            kind(&["cpu:x86_64_v3"]),
            kind(&["cpu:zen4"]),
            kind(&["cpu:zen3", "nvcap:9.0"]),
        ];

        assert_eq!(choose(&["cpu:skylake"], &types).best, Some(1));
        assert_eq!(choose(&["cpu:zen4"], &types).best, Some(2));
        assert_eq!(choose(&["cpu:zen4", "nvcap:9.0"], &types).best, Some(3));
        assert_eq!(choose(&["cpu:nehalem"], &types).best, Some(0));
    }

    #[test]
    fn what_a_host_lacks_of_a_type_is_said_in_words() {
        let gpu = kind(&["cpu:zen3", "nvcap:9.0", "nvdrv:550"]);

        let old = ["cpu:zen3", "nvcap:9.0", "nvdrv:535.104.05"];
        assert_eq!(
            lacks(&old, gpu.clone()),
            ["driver 535.104.05, the type says 550"]
        );
        assert_eq!(
            lacks(&["cpu:zen2"], gpu),
            [
                "no compute capability, the type says 9.0",
                "cpu zen2, the type says zen3",
                "no driver, the type says 550"
            ]
        );
    }

    #[test]
    fn every_value_of_a_type_is_needed_and_every_gpu_of_the_host_must_be_in_it() {
        let both = kind(&["nvcap:8.0", "nvcap:9.0"]);

        assert!(lacks(&["nvcap:8.0", "nvcap:9.0"], both.clone()).is_empty());
        assert_eq!(lacks(&["nvcap:9.0"], both).len(), 1);
        assert_eq!(
            lacks(&["nvcap:8.0", "nvcap:9.0"], kind(&["nvcap:8.0"])).len(),
            1
        );
    }

    #[test]
    fn a_type_of_another_architecture_suits_no_host_of_this_one() {
        let arm = MachineType {
            architecture: Some("arm64".into()),
            ..kind(&[])
        };

        let lacks = lacks(&["cpu:zen3"], arm);

        assert_eq!(lacks, ["platform linux/amd64, the type says linux/arm64"]);
    }

    #[test]
    fn equal_hosts_make_an_equal_type_that_suits_them_and_a_driver_update_makes_no_other() {
        let cpus = CpuTable::builtin();
        let own = |features: &[&str]| own_type(&texts(features), &cpus);
        let one = own(&["nvdrv:550.54.15", "cpu:zen3", "kernel:6.1", "glibc:2.36"]);

        assert_eq!(one, own(&["cpu:zen3", "nvdrv:550.90.07", "kernel:6.8"]));
        assert_ne!(one.0, own(&["cpu:zen3", "nvdrv:535.1"]).0);
        assert_eq!(one.1, ["cpu:zen3", "nvdrv:550"]);
        assert_eq!(one.0.len(), "auto-".len() + 8);
        let kind = MachineType {
            features: one.1,
            ..MachineType::default()
        };
        assert!(lacks(&["cpu:zen3", "nvdrv:550.54.15"], kind).is_empty());
    }
}
