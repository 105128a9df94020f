//! What holds for every selection, tried on many.

use metahub_policy::{
    CpuTable, Entry, Facts, GpuMatch, Host, Index, MachineType, MatchMode, Platform, Selection,
    Verdict, select, trim,
};
use proptest::{prelude::*, sample::select as one_of};

/// Values that fit one another in interesting ways.
const FEATURES: [&str; 34] = [
    "cpu:x86_64",
    "cpu:x86_64_v3",
    "cpu:haswell",
    "cpu:skylake",
    "cpu:skylake_avx512",
    "cpu:icelake",
    "cpu:zen3",
    "cpu:zen4",
    "cpu:neoverse_n1",
    "cpu:graviton3",
    "cpu:futurelake",
    "avx2",
    "avx512",
    "popcnt",
    "neon",
    "nvcap:8.0",
    "nvcap:8.6",
    "nvcap:9.0",
    "nvcap:9.0a",
    "nvcap:10.0f",
    "nvcap:ptx8.0",
    "gfx:gfx90a",
    "gfx:gfx90a:xnack+",
    "gfx:gfx1030",
    "gfx:gfx10-3-generic",
    "cuda:11.8",
    "cuda:12.4",
    "rocm:6.0",
    "glibc:2.31",
    "kernel:5.15",
    "net:efa",
    "net:ib",
    "instType:c5",
    "variant:z15",
];

const PLATFORMS: [(&str, &str, &str); 10] = [
    ("linux", "amd64", ""),
    ("linux", "amd64", "v2"),
    ("linux", "amd64", "v4"),
    ("linux", "arm64", ""),
    ("linux", "arm64", "v8"),
    ("linux", "arm", "v6"),
    ("linux", "arm", "v7"),
    ("windows", "amd64", ""),
    ("linux", "s390x", "z15"),
    ("unknown", "unknown", ""),
];

fn features(most: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(one_of(FEATURES.to_vec()), 0..=most)
        .prop_map(|texts| texts.into_iter().map(str::to_owned).collect())
}

fn platform() -> impl Strategy<Value = Option<Platform>> {
    let named = (one_of(PLATFORMS.to_vec()), features(3));
    let named = named.prop_map(|((os, architecture, variant), features)| Platform {
        os: os.into(),
        architecture: architecture.into(),
        variant: variant.into(),
        features,
        ..Platform::default()
    });
    prop::option::weighted(0.95, named)
}

/// An entry, but for its digest.
fn entry() -> impl Strategy<Value = Entry> {
    let priority = prop::option::weighted(0.2, -2..3_i64);
    (platform(), priority).prop_map(|(platform, priority)| Entry {
        platform,
        annotations: priority
            .map(|priority| ("io.metahub.priority".to_owned(), priority.to_string()))
            .into_iter()
            .collect(),
        ..Entry::default()
    })
}

fn index() -> impl Strategy<Value = Index> {
    prop::collection::vec(entry(), 0..12).prop_map(|mut entries| {
        for (place, entry) in entries.iter_mut().enumerate() {
            entry.digest = format!("sha256:{place:064x}");
        }
        Index { entries }
    })
}

fn machine_type() -> impl Strategy<Value = MachineType> {
    let architecture = prop::option::weighted(0.3, one_of(vec!["amd64", "arm64", "arm"]));
    let modes = vec![MatchMode::Best, MatchMode::Exact, MatchMode::BestNoGeneric];
    let gpus = vec![GpuMatch::All, GpuMatch::Any];
    let rest = (architecture, one_of(modes), one_of(gpus));
    (features(5), rest).prop_map(|(features, (architecture, mode, gpu))| MachineType {
        features,
        architecture: architecture.map(str::to_owned),
        mode,
        gpu,
        ..MachineType::default()
    })
}

fn chosen(kind: &MachineType, index: &Index, pin: Option<&str>) -> Selection {
    let host = Host::new(kind.clone(), CpuTable::builtin()).expect("a usable type");
    select(&host, index, Facts { rules: &[], pin })
}

/// The place of the best of `places` alone; `None` when none fits.
fn best_of(kind: &MachineType, index: &Index, places: &[usize]) -> Option<usize> {
    let entries = places.iter().map(|place| index.entries[*place].clone());
    // Without an image with a platform, an index would be kept whole.
    let part = Index {
        entries: entries.chain([for_plan9()]).collect(),
    };
    let kept = chosen(kind, &part, None).kept;
    kept.first().map(|place| places[*place])
}

/// An image that fits no type of these tests.
fn for_plan9() -> Entry {
    Entry {
        digest: format!("sha256:{}", "f".repeat(64)),
        platform: Some(Platform {
            os: "plan9".into(),
            architecture: "amd64".into(),
            ..Platform::default()
        }),
        ..Entry::default()
    }
}

/// Whether each entry of `index`, alone, fits `kind`.
fn fitting(kind: &MachineType, index: &Index) -> Vec<bool> {
    let places = 0..index.entries.len();
    places
        .map(|place| best_of(kind, index, &[place]).is_some())
        .collect()
}

/// An index of amd64 entries only, so that all compete.
fn rivals() -> impl Strategy<Value = Index> {
    prop::collection::vec(features(3), 3..6).prop_map(|lists| {
        let entries = lists
            .into_iter()
            .enumerate()
            .map(|(place, features)| Entry {
                digest: format!("sha256:{place:064x}"),
                platform: Some(Platform {
                    os: "linux".into(),
                    architecture: "amd64".into(),
                    features,
                    ..Platform::default()
                }),
                ..Entry::default()
            });
        Index {
            entries: entries.collect(),
        }
    })
}

fn amd64(mut kind: MachineType) -> MachineType {
    kind.architecture = Some("amd64".into());
    kind
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_entry_has_a_verdict_and_the_kept_ones_are_those_it_says(
        kind in machine_type(), index in index(),
    ) {
        let selection = chosen(&kind, &index, None);

        let kept = (0..index.entries.len()).filter(|place| selection.verdicts[*place].is_kept());
        prop_assert_eq!(selection.verdicts.len(), index.entries.len());
        prop_assert_eq!(kept.collect::<Vec<_>>(), selection.kept);
    }

    #[test]
    fn what_is_kept_fits_alone_whatever_its_priority_or_pin(
        kind in machine_type(), index in index(), pin in any::<prop::sample::Index>(),
    ) {
        let fits = fitting(&kind, &index);
        let mut index = index;
        index.entries.push(for_plan9());
        for pinned in [false, true] {
            let pin = pinned.then(|| pin.index(index.entries.len()));
            let digest = pin.map(|place| index.entries[place].digest.as_str());
            for place in chosen(&kind, &index, digest).kept {
                prop_assert!(fits[place] || Some(place) == pin, "entry {place}");
            }
        }
    }

    #[test]
    fn a_pin_of_what_lacks_a_requirement_changes_nothing(
        kind in machine_type(), index in index(),
    ) {
        let free = chosen(&kind, &index, None);
        for (place, entry) in index.entries.iter().enumerate() {
            if matches!(free.verdicts[place], Verdict::DoesNotFit(_) | Verdict::OtherPlatform { .. }) {
                prop_assert_eq!(&chosen(&kind, &index, Some(&entry.digest)).kept, &free.kept);
            }
        }
    }

    #[test]
    fn something_is_kept_when_something_fits(kind in machine_type(), index in index()) {
        let fits = fitting(&kind, &index);
        let mut index = index;
        index.entries.push(for_plan9());

        prop_assert_eq!(fits.contains(&true), !chosen(&kind, &index, None).is_empty());
    }

    #[test]
    fn the_order_of_features_does_not_matter(
        kind in machine_type(), index in index(), seed in any::<u64>(),
    ) {
        let (mut other_kind, mut other_index) = (kind.clone(), index.clone());
        shuffle(&mut other_kind.features, seed);
        for platform in other_index.entries.iter_mut().filter_map(|entry| entry.platform.as_mut()) {
            shuffle(&mut platform.features, seed);
        }

        prop_assert_eq!(chosen(&kind, &index, None), chosen(&other_kind, &other_index, None));
    }

    #[test]
    fn the_order_of_an_index_decides_only_between_equals(
        kind in machine_type(), index in index(), seed in any::<u64>(),
    ) {
        let mut other = index.clone();
        shuffle(&mut other.entries, seed);
        let rival = |entry: &Entry| (entry.platform.clone().map(sorted), entry.annotations.clone());
        let kept = |index: &Index| {
            let kept = chosen(&kind, index, None).kept;
            let mut rivals: Vec<_> = kept.iter().map(|place| rival(&index.entries[*place])).collect();
            rivals.sort_by_key(|rival| format!("{rival:?}"));
            rivals
        };
        let unequal = (0..index.entries.len()).all(|place| !decided_by_place(&kind, &index, place));

        if unequal {
            prop_assert_eq!(kept(&index), kept(&other));
        }
        prop_assert_eq!(kept(&index).len(), kept(&other).len());
    }

    #[test]
    fn the_preference_between_rivals_is_total_and_transitive(
        kind in machine_type().prop_map(amd64), index in rivals(),
    ) {
        let all: Vec<usize> = (0..index.entries.len()).collect();
        let best = best_of(&kind, &index, &all);
        for a in &all {
            for b in &all[a + 1..] {
                let pair = best_of(&kind, &index, &[*a, *b]);
                prop_assert!(best != Some(*a) || pair == Some(*a));
                prop_assert!(best != Some(*b) || pair == Some(*b));
                for c in &all[b + 1..] {
                    let three = best_of(&kind, &index, &[*a, *b, *c]);
                    let final_pair: Vec<_> = pair.into_iter().chain([*c]).collect();
                    prop_assert_eq!(three, best_of(&kind, &index, &final_pair));
                }
            }
        }
    }

    /// Where the design says otherwise: another GPU under `gpu: all` must run
    /// the variant too, an exact type needs equal sets, and a first CPU names
    /// the architecture.
    #[test]
    fn another_feature_never_takes_away_what_fits(
        kind in machine_type().prop_map(amd64), index in index(), more in one_of(FEATURES.to_vec()),
    ) {
        let gpu = more.starts_with("nvcap:") || more.starts_with("gfx:");
        prop_assume!(kind.mode != MatchMode::Exact);
        prop_assume!(!gpu || kind.gpu == GpuMatch::Any || no_gpu(&kind));
        let mut richer = kind.clone();
        richer.features.push(more.into());

        let (before, after) = (fitting(&kind, &index), fitting(&richer, &index));

        for place in 0..index.entries.len() {
            prop_assert!(!before[place] || after[place], "entry {place}");
        }
    }

    #[test]
    fn a_trimmed_index_selects_as_its_source_did(
        kind in machine_type(), index in index(),
    ) {
        let selection = chosen(&kind, &index, None);
        if selection.kept.is_empty() {
            return Ok(());
        }
        let source = written(&index);

        let trimmed = trim(source.as_bytes(), &selection.kept, "sha256:x").expect("kept entries");

        let trimmed = Index::parse(&trimmed).expect("an index");
        let digests: Vec<_> = trimmed.entries.iter().map(|entry| entry.digest.as_str()).collect();
        prop_assert_eq!(digests, selection.kept_digests(&index));
        for entry in &trimmed.entries {
            prop_assert!(entry.requirements(&[], &CpuTable::builtin()).is_empty());
        }
    }

    #[test]
    fn no_bytes_make_reading_or_trimming_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), text in r#"[\[\]{}",:a-z0-9\\ ]{0,60}"#,
    ) {
        for source in [bytes, format!(r#"{{"manifests":{text}}}"#).into_bytes()] {
            let _ = Index::parse(&source);
            let _ = trim(&source, &[0], "sha256:x");
        }
    }
}

fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for end in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        items.swap(end, (seed >> 33) as usize % (end + 1));
    }
}

fn sorted(mut platform: Platform) -> Platform {
    platform.features.sort();
    platform.features.dedup();
    platform
}

fn no_gpu(kind: &MachineType) -> bool {
    let gpu = |text: &String| text.starts_with("nvcap:") || text.starts_with("gfx:");
    !kind.features.iter().any(gpu)
}

/// Whether the entry at `place` lost or won by its place alone.
fn decided_by_place(kind: &MachineType, index: &Index, place: usize) -> bool {
    let by_place = |verdict: &Verdict| {
        matches!(
            verdict,
            Verdict::OutRanked {
                step: metahub_policy::Step::Place,
                ..
            }
        )
    };
    by_place(&chosen(kind, index, None).verdicts[place])
}

/// The JSON text of an index.
fn written(index: &Index) -> String {
    let entries = index.entries.iter().map(|entry| {
        let platform = entry.platform.as_ref().map(|platform| {
            serde_json::json!({
                "os": platform.os,
                "architecture": platform.architecture,
                "variant": platform.variant,
                "features": platform.features,
            })
        });
        serde_json::json!({
            "digest": entry.digest,
            "size": entry.size,
            "platform": platform,
            "annotations": entry.annotations,
        })
    });
    serde_json::json!({ "manifests": entries.collect::<Vec<_>>() }).to_string()
}
