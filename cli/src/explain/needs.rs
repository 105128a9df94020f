//! The reverse question: which hosts would get which variant, and which
//! machine types could be given something better.
//!
//! Everything here is found out by selecting for hosts made up for it, so that
//! it cannot differ from what workers do. Pins are about machine types, and do
//! not count for made-up hosts.

use std::sync::Arc;

use metahub_policy::{
    Entry, Facts, GpuMatch, Host, MachineType, MatchMode, Selection, Verdict, select,
};
use serde::Serialize;

use super::{
    Subject,
    content::{Content, Source},
    outcome::{Variant, is_image, variants},
    policy::NamedHost,
};

/// Namespaces of which one value suffices.
const ALTERNATIVES: [&str; 3] = ["cpu", "nvcap", "gfx"];
/// Most combinations of alternatives that are tried for one variant.
const MOST_COMBINATIONS: usize = 64;
/// An architecture that no variant is for.
const OTHER: &str = "other";

/// A variant, and the hosts that get it.
#[derive(Debug, Serialize)]
pub(crate) struct Needs {
    #[serde(flatten)]
    pub(crate) variant: Variant,
    /// The smallest sets of features such that a host of its platform with any
    /// one of them gets it. An empty set: a host that names no feature does.
    pub(crate) hosts: Vec<Vec<String>>,
    /// Why no host gets it, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) never: Option<String>,
}

/// How well a machine type is served.
#[derive(Debug, Serialize)]
pub(crate) struct Standing {
    pub(crate) user: String,
    #[serde(rename = "type")]
    pub(crate) name: String,
    pub(crate) standing: Service,
    /// The digests of the images that it gets.
    pub(crate) kept: Vec<String>,
    /// The variants that it would get instead if it had what they need.
    pub(crate) better: Vec<Better>,
}

/// How well a machine type is served by an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Service {
    /// It gets the best variant that the index has for its platform, or the
    /// one that it is made to get by a pin or an exact match.
    Best,
    /// It gets a variant, but the index has one for its platform that it would
    /// get instead if it had what that one needs.
    Fallback,
    /// Nothing fits.
    Nothing,
}

/// A variant that is out of a machine type's reach.
#[derive(Debug, Serialize)]
pub(crate) struct Better {
    pub(crate) digest: String,
    /// The first requirement that fails.
    pub(crate) reason: String,
}

/// The hosts that get each variant. Attestations and artifacts are left out.
pub(crate) fn needs(subject: &Subject<'_>) -> Vec<Needs> {
    let Some(trial) = Trial::of(subject) else {
        return Vec::new();
    };
    let Some(anyone) = trial.select_for(MachineType::default(), None) else {
        return Vec::new();
    };
    let described = variants(subject).into_iter().enumerate();
    let images = described.filter(|(place, _)| is_image(&anyone.verdicts[*place]));
    images
        .map(|(place, variant)| {
            let entry = &trial.source.index.entries[place];
            let (hosts, never) = match trial.hosts_of(place, entry) {
                Ok(hosts) => (hosts, None),
                Err(reason) => (Vec::new(), Some(reason)),
            };
            Needs {
                variant,
                hosts,
                never,
            }
        })
        .collect()
}

/// How well `host` is served, where `pin` is pinned for it and `needs` are
/// those of the image.
pub(crate) fn standing(
    subject: &Subject<'_>,
    host: &NamedHost,
    pin: Option<&str>,
    needs: &[Needs],
) -> Standing {
    let mut standing = Standing {
        user: host.user.clone(),
        name: host.name.clone(),
        standing: Service::Best,
        kept: Vec::new(),
        better: Vec::new(),
    };
    let Some(trial) = Trial::of(subject) else {
        return standing;
    };
    let selection = trial.select(&host.host, pin);
    let kept = selection.kept_digests(&trial.source.index).into_iter();
    let images = kept.filter(|digest| needs.iter().any(|needs| needs.variant.digest == **digest));
    standing.kept = images.map(str::to_owned).collect();
    if selection.is_empty() {
        standing.standing = Service::Nothing;
        return standing;
    }
    standing.better = trial.better(host, pin, &selection, needs);
    if !standing.better.is_empty() {
        standing.standing = Service::Fallback;
    }
    standing
}

/// An index to select from, for hosts that are made up.
struct Trial<'a> {
    subject: &'a Subject<'a>,
    source: &'a Source,
}

impl<'a> Trial<'a> {
    fn of(subject: &'a Subject<'a>) -> Option<Self> {
        match subject.content {
            Content::Index(source) => Some(Self { subject, source }),
            Content::Whole { .. } => None,
        }
    }

    fn select(&self, host: &Host, pin: Option<&str>) -> Selection {
        let rules = self.subject.rules.as_slice();
        select(host, &self.source.index, Facts { rules, pin })
    }

    fn select_for(&self, shape: MachineType, pin: Option<&str>) -> Option<Selection> {
        let host = Host::new(shape, Arc::clone(&self.subject.cpus)).ok()?;
        Some(self.select(&host, pin))
    }

    fn gives(&self, shape: MachineType, place: usize) -> bool {
        let selection = self.select_for(shape, None);
        selection.is_some_and(|selection| selection.verdicts[place].is_kept())
    }

    /// The smallest sets of features that get the entry at `place`, or why
    /// none does.
    fn hosts_of(&self, place: usize, entry: &Entry) -> Result<Vec<Vec<String>>, String> {
        let requirements = entry.requirements(&self.subject.rules, &self.subject.cpus);
        let mut combinations = combinations(&requirements);
        combinations.push(requirements.iter().map(|text| host_has(text)).collect());
        let shape = |features: &[String]| MachineType {
            features: features.to_vec(),
            ..host_for(entry)
        };
        let mut sets: Vec<Vec<String>> = Vec::new();
        for mut features in combinations.iter().cloned() {
            let known = |set: &Vec<String>| set.iter().all(|one| features.contains(one));
            if sets.iter().any(known) || !self.gives(shape(&features), place) {
                continue;
            }
            shrink(&mut features, |fewer| self.gives(shape(fewer), place));
            sets.retain(|set| !features.iter().all(|one| set.contains(one)));
            sets.push(features);
        }
        if sets.is_empty() {
            let all = combinations.pop().unwrap_or_default();
            let selection = self.select_for(shape(&all), None);
            let reason = selection.map(|selection| selection.verdicts[place].to_string());
            return Err(reason.unwrap_or_else(|| "its requirements cannot be read".into()));
        }
        Ok(sets)
    }

    /// The entries that `host` would get instead if it had what they need.
    fn better(
        &self,
        host: &NamedHost,
        pin: Option<&str>,
        selection: &Selection,
        needs: &[Needs],
    ) -> Vec<Better> {
        let own = host.host.machine_type();
        if own.mode == MatchMode::Exact {
            return Vec::new();
        }
        let entries = self.source.index.entries.iter().zip(&selection.verdicts);
        let mut better = Vec::new();
        for (place, (entry, verdict)) in entries.enumerate() {
            let Verdict::DoesNotFit(misfit) = verdict else {
                continue;
            };
            let needs = needs
                .iter()
                .find(|needs| needs.variant.digest == entry.digest);
            let gets_it = |features: &Vec<String>| {
                let richer = with_more(own, features);
                let selection = self.select_for(richer, pin);
                selection.is_some_and(|selection| selection.verdicts[place].is_kept())
            };
            if needs.is_some_and(|needs| needs.hosts.iter().any(gets_it)) {
                better.push(Better {
                    digest: entry.digest.clone(),
                    reason: misfit.to_string(),
                });
            }
        }
        better
    }
}

/// A host of the entry's platform that has no features.
fn host_for(entry: &Entry) -> MachineType {
    let Some(platform) = &entry.platform else {
        return MachineType {
            architecture: Some(OTHER.into()),
            ..MachineType::default()
        };
    };
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let is_arm = platform.architecture.eq_ignore_ascii_case("arm");
    MachineType {
        os: platform.os.clone(),
        architecture: some(&platform.architecture),
        // Elsewhere a variant is a requirement.
        variant: some(&platform.variant).filter(|_| is_arm),
        os_version: some(&platform.os_version),
        ..MachineType::default()
    }
}

/// `own` with the GPUs and CPUs of another host beside its own.
fn with_more(own: &MachineType, features: &[String]) -> MachineType {
    let mut richer = own.clone();
    richer.features.extend(features.iter().cloned());
    // The host's own GPU need not run what the other one does.
    richer.gpu = GpuMatch::Any;
    richer
}

/// What a host has that meets one requirement.
fn host_has(requirement: &str) -> String {
    match requirement.strip_prefix("nvcap:") {
        Some(target) => {
            let capability = target.strip_prefix("ptx").unwrap_or(target);
            format!("nvcap:{}", capability.trim_end_matches(['a', 'f']))
        }
        None => requirement.to_owned(),
    }
}

/// One value of each namespace of which one suffices, and all others: each
/// such combination, the first ones if they are many.
fn combinations(requirements: &[String]) -> Vec<Vec<String>> {
    let namespace = |text: &str| {
        let (namespace, _) = text.split_once(':')?;
        ALTERNATIVES.iter().find(|known| **known == namespace)
    };
    let fixed = requirements.iter().filter(|text| namespace(text).is_none());
    let mut combinations = vec![fixed.map(|text| host_has(text)).collect::<Vec<_>>()];
    for alternative in ALTERNATIVES {
        let values = requirements
            .iter()
            .filter(|text| namespace(text) == Some(&alternative));
        let values: Vec<_> = values.map(|text| host_has(text)).collect();
        if values.is_empty() {
            continue;
        }
        let with = |set: &Vec<String>, value: &String| {
            let mut set = set.clone();
            set.push(value.clone());
            set
        };
        let wider = combinations
            .iter()
            .flat_map(|set| values.iter().map(move |value| with(set, value)));
        combinations = wider.take(MOST_COMBINATIONS).collect();
    }
    combinations
}

/// Takes away what `still` holds without.
fn shrink(features: &mut Vec<String>, still: impl Fn(&[String]) -> bool) {
    let mut place = 0;
    while place < features.len() {
        let mut fewer = features.clone();
        fewer.remove(place);
        if still(&fewer) {
            *features = fewer;
        } else {
            place += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::sample::{digest, host, host_of, index, subject};

    /// The sets of each variant; `never` for none.
    fn sets(variants: &[(&str, &[&str])]) -> Vec<String> {
        let content = index(variants);
        let needs = needs(&subject(&content, &[]));
        let text = |needs: &Needs| match needs.never {
            Some(_) => "never".to_owned(),
            None => {
                let sets = needs.hosts.iter().map(|set| set.join("+"));
                sets.collect::<Vec<_>>().join(" or ")
            }
        };
        needs.iter().map(text).collect()
    }

    #[test]
    fn a_variant_goes_to_hosts_that_have_the_least_it_needs() {
        let sets = sets(&[
            ("amd64", &[]),
            ("amd64/v3", &[]),
            ("amd64", &["cpu:skylake", "avx2"]),
            ("amd64", &["nvcap:ptx8.0", "nvcap:9.0a", "cuda:12.4"]),
        ]);

        assert_eq!(
            sets,
            [
                "",
                "cpu:x86_64_v3",
                "cpu:skylake",
                "cuda:12.4+nvcap:9.0 or cuda:12.4+nvcap:8.0"
            ]
        );
    }

    #[test]
    fn a_variant_that_another_one_always_beats_goes_to_no_host() {
        let content = index(&[("amd64", &["cpu:zen3"]), ("amd64", &["cpu:zen3"])]);

        let needs = needs(&subject(&content, &[]));

        assert_eq!(needs[0].hosts, [["cpu:zen3"]]);
        let never = needs[1].never.as_deref().unwrap();
        assert!(never.contains("its place in the index"), "{never}");
    }

    #[test]
    fn requirements_that_no_one_cpu_meets_are_met_by_two() {
        assert_eq!(
            sets(&[("amd64/v4", &["cpu:haswell"])]),
            ["cpu:haswell+cpu:x86_64_v4"]
        );
    }

    #[test]
    fn a_type_gets_a_fallback_where_it_lacks_what_a_better_variant_needs() {
        let content = index(&[
            ("amd64", &[]),
            ("amd64", &["cpu:skylake"]),
            ("amd64", &["nvcap:9.0"]),
            ("arm64", &["cpu:graviton3"]),
        ]);
        let subject = subject(&content, &[]);
        let needs = needs(&subject);

        let standing = |host| standing(&subject, &host, None, &needs);

        let better = |features: &[&str]| {
            let standing = standing(host(features));
            let better = standing.better.into_iter();
            (
                standing.standing,
                better.map(|it| it.digest).collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            better(&["cpu:zen4"]),
            (Service::Fallback, vec![digest(1), digest(2)])
        );
        assert_eq!(
            better(&["cpu:skylake"]),
            (Service::Fallback, vec![digest(2)])
        );
        assert_eq!(better(&["cpu:zen4", "nvcap:9.0"]), (Service::Best, vec![]));
        assert_eq!(better(&["cpu:neoverse_n1"]), (Service::Nothing, vec![]));
    }

    #[test]
    fn a_type_that_matches_exactly_gets_no_fallback() {
        let content = index(&[("amd64", &["cpu:zen3"]), ("amd64", &["nvcap:9.0"])]);
        let subject = subject(&content, &[]);
        let exact = host_of(MachineType {
            mode: MatchMode::Exact,
            features: vec!["cpu:zen3".into()],
            ..MachineType::default()
        });

        let standing = standing(&subject, &exact, None, &needs(&subject));

        assert_eq!(standing.standing, Service::Best);
    }
}
