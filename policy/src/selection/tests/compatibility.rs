//! What fits what, namespace by namespace.

use super::*;
use crate::{Cpu, GpuMatch, MatchMode, RuleMatch};

#[test]
fn the_baseline_of_a_platform_fits_a_type_that_names_no_cpu() {
    assert_eq!(kept(&[], &[entry("v8", "linux/arm64/v8", &[])]), ["v8"]);
    assert_eq!(kept(&[], &[entry("v1", "linux/amd64/v1", &[])]), ["v1"]);
    assert!(fits(&[], &["cpu:x86_64"]));
    assert!(!fits(&[], &["cpu:x86_64_v2"]));
    assert!(!fits(&[], &["cpu:aarch64"]));
}

#[test]
fn also_runs_adds_exactly_the_names_it_lists() {
    let zen4 = MachineType {
        also_runs: vec!["Haswell".into(), "futurelake".into()],
        ..kind(&["cpu:zen4"])
    };

    assert!(fits_kind(zen4.clone(), &["cpu:haswell"]));
    assert!(fits_kind(zen4.clone(), &["cpu:futurelake"]));
    assert!(!fits_kind(zen4, &["cpu:sandybridge"]));
}

#[test]
fn a_level_is_required_besides_a_cpu() {
    let both = entry("both", "linux/amd64/v4", &["cpu:zen3"]);

    assert_eq!(kept(&["cpu:zen4"], std::slice::from_ref(&both)), ["both"]);
    assert!(kept(&["cpu:zen3"], &[both]).is_empty());
}

#[test]
fn levels_of_other_architectures_are_known_too() {
    let power = [entry("p9", "linux/ppc64le/power9", &[])];

    assert_eq!(kept(&["cpu:power10le"], &power), ["p9"]);
    assert!(kept(&["cpu:power8le"], &power).is_empty());
}

#[test]
fn an_unknown_variant_needs_a_type_that_says_it_has_it() {
    let z15 = [entry("z15", "linux/s390x/z15", &[])];
    let s390x = |features: &[&str]| MachineType {
        architecture: Some("s390x".into()),
        ..kind(features)
    };

    assert!(kept_of(s390x(&[]), &z15, Facts::default()).is_empty());
    assert_eq!(
        kept_of(s390x(&["variant:z15"]), &z15, Facts::default()),
        ["z15"]
    );
}

#[test]
fn a_host_of_an_unknown_cpu_runs_the_baseline_of_its_platform() {
    let arm = MachineType {
        architecture: Some("arm64".into()),
        ..kind(&["cpu:novacore"])
    };

    let entries = [entry("v8", "linux/arm64/v8", &[])];
    assert_eq!(kept_of(arm, &entries, Facts::default()), ["v8"]);
}

#[test]
fn a_flag_is_had_by_the_cpu_or_by_the_type() {
    assert!(fits(&["cpu:haswell"], &["avx2", "isa:fma"]));
    assert!(fits(&["cpu:milan"], &["AVX2"]));
    assert!(!fits(&["cpu:haswell"], &["avx2", "avx512f"]));
    assert!(!fits(&["cpu:haswell"], &["sse4a"]));
    assert!(fits(&["sse4"], &["sse4"]));
    assert!(fits(&["cpu:zen3", "isa:amx_tile"], &["amx_tile"]));
}

#[test]
fn a_flag_fits_in_any_usual_spelling_and_when_every_host_has_it() {
    assert!(fits(&["cpu:haswell"], &["sse4", "bmi", "lzcnt", "rdrnd"]));
    assert!(fits(&["cpu:zen3"], &["sha", "isa:sha-ni", "adx"]));
    assert!(fits(&["cpu:cascadelake"], &["avx512vnni"]));
    assert!(fits(&["isa:avx512vnni"], &["avx512_vnni"]));
    let amd64_type = MachineType {
        architecture: Some("amd64".into()),
        ..kind(&[])
    };
    assert!(fits_kind(amd64_type.clone(), &["sse2", "cx8"]));
    assert!(!fits_kind(amd64_type, &["sse3"]));
    let arm = [arm64("asimd", &["asimd"]), arm64("sve", &["sve"])];
    assert_eq!(kept(&["cpu:cortex_a72"], &arm), ["asimd"]);
}

#[test]
fn levels_of_other_architectures_have_an_order() {
    let of = |architecture: &str, features: &[&str]| MachineType {
        architecture: Some(architecture.into()),
        ..kind(features)
    };
    let entries = |architecture: &str, variants: &[&str]| {
        let entry =
            |variant: &&str| entry(variant, &format!("linux/{architecture}/{variant}"), &[]);
        variants.iter().map(entry).collect::<Vec<_>>()
    };
    let kept = |architecture: &str, features: &[&str], variants: &[&str]| {
        let entries = entries(architecture, variants);
        kept_of(of(architecture, features), &entries, Facts::default())
    };
    let z = ["z13", "z14", "z15", "z16", "z17"];
    let rva = ["rva20u64", "rva22u64", "rva23u64"];
    let power = ["power8", "power9", "power10", "power11"];

    assert_eq!(kept("s390x", &["variant:z15"], &z), ["z15"]);
    assert_eq!(kept("s390x", &["cpu:z16"], &z[..2]), ["z14"]);
    assert!(kept("s390x", &[], &z).is_empty());
    assert_eq!(kept("riscv64", &["variant:rva22u64"], &rva), ["rva22u64"]);
    assert_eq!(kept("riscv64", &[], &rva), ["rva20u64"]);
    assert_eq!(kept("riscv64", &["cpu:x60"], &rva), ["rva22u64"]);
    assert_eq!(kept("ppc64le", &[], &power), ["power8"]);
    assert_eq!(kept("ppc64le", &["variant:power10"], &power), ["power10"]);
    assert_eq!(kept("ppc64le", &["cpu:power10"], &power), ["power10"]);
    assert_eq!(kept("ppc64le", &["cpu:power11le"], &power), ["power11"]);
    let named = kind(&["cpu:power9"]);
    assert_eq!(
        kept_of(named, &entries("ppc64le", &power), Facts::default()),
        ["power9"]
    );
    assert_eq!(
        kept("arm64", &["cpu:neoverse_v3"], &["v8.7", "v9.1", "v9.3"]),
        ["v9.1"]
    );
    assert_eq!(kept("arm64", &["cpu:m5"], &["v8.7", "v8.8"]), ["v8.7"]);
    assert_eq!(
        kept_of(
            kind(&["variant:z14"]),
            &entries("s390x", &z),
            Facts::default()
        ),
        ["z14"]
    );
}

#[test]
fn a_rule_about_a_variant_has_the_order_of_levels_too() {
    let entries = [entry("it", "linux/s390x", &[])];
    let rules = [rule(&["variant:z14"])];
    let rules: Vec<&Rule> = rules.iter().collect();
    let kept = |features: &[&str]| {
        let host = MachineType {
            architecture: Some("s390x".into()),
            ..kind(features)
        };
        kept_of(
            host,
            &entries,
            Facts {
                rules: &rules,
                pin: None,
            },
        )
    };

    assert_eq!(kept(&["variant:z15"]), ["it"]);
    assert!(kept(&["variant:z13"]).is_empty());
}

#[test]
fn of_twins_of_the_baseline_the_first_is_kept() {
    for (host, first, second) in [
        ("cpu:graviton3", "linux/arm64", "linux/arm64/v8"),
        ("cpu:graviton3", "linux/arm64/v8", "linux/arm64"),
        ("cpu:zen3", "linux/amd64/v1", "linux/amd64"),
        ("cpu:zen3", "linux/amd64", "linux/amd64/v1"),
    ] {
        let entries = [entry("first", first, &[]), entry("second", second, &[])];

        assert_eq!(kept(&[host], &entries), ["first"], "{first}");
    }
}

#[test]
fn a_flag_follows_from_others() {
    assert!(fits(&["cpu:skylake_avx512"], &["avx512"]));
    assert!(fits(&["cpu:nehalem"], &["sse4.2", "sse3"]));
    assert!(fits(&["avx512vl"], &["avx512"]));
    assert_eq!(
        kept(&["cpu:graviton3"], &[arm64("neon", &["neon"])]),
        ["neon"]
    );
    assert!(!fits(&["cpu:skylake"], &["avx512"]));
}

#[test]
fn a_build_for_one_of_several_gpus_fits_where_one_suffices() {
    let any = MachineType {
        gpu: GpuMatch::Any,
        ..kind(&["nvcap:8.0", "nvcap:9.0"])
    };

    assert!(fits_kind(any, &["nvcap:9.0"]));
    assert!(!fits(&["nvcap:8.0", "nvcap:9.0"], &["nvcap:9.0"]));
    assert!(fits(
        &["nvcap:8.0", "nvcap:9.0"],
        &["nvcap:9.0", "nvcap:ptx7.0"]
    ));
}

#[test]
fn several_amd_gpus_follow_the_same_rule() {
    let two = ["gfx:gfx90a", "gfx:gfx942"];
    let any = MachineType {
        gpu: GpuMatch::Any,
        ..kind(&two)
    };

    assert!(!fits(&two, &["gfx:gfx942"]));
    assert!(fits(&two, &["gfx:gfx942", "gfx:gfx90a"]));
    assert!(fits_kind(any, &["gfx:gfx942"]));
}

#[test]
fn a_gpu_build_needs_a_gpu_whatever_suffices() {
    for gpu in [GpuMatch::All, GpuMatch::Any] {
        let none = MachineType {
            gpu,
            ..kind(&["cpu:zen3"])
        };

        assert!(!fits_kind(none.clone(), &["nvcap:8.0"]));
        assert!(!fits_kind(none, &["gfx:gfx90a"]));
    }
}

#[test]
fn minimum_versions_are_numbers_and_each_must_be_reached() {
    assert!(fits(&["cuda:12.10"], &["cuda:12.9"]));
    assert!(!fits(&["cuda:12.4"], &["cuda:12.10"]));
    assert!(fits(&["kernel:5.15.0-91-generic"], &["kernel:5.15"]));
    assert!(!fits(&["glibc:2.31"], &["glibc:2.4", "glibc:2.34"]));
    assert!(fits(&["cuda:11.8", "cuda:12.4"], &["cuda:12.0"]));
    assert!(!fits(&["cuda:12.4"], &["nvdrv:535"]));
}

#[test]
fn other_tokens_must_all_be_had_as_they_are_written() {
    assert!(fits(&["net:efa", "net:ib"], &["net:efa", "net:ib"]));
    assert!(!fits(&["net:efa"], &["net:efa", "net:ib"]));
    assert!(!fits(&["net:EFA"], &["net:efa"]));
}

#[test]
fn annotations_state_requirements() {
    let metahub = annotated(
        amd64("m", &[]),
        "io.metahub.features",
        " cpu:zen4 , avx2,, ",
    );
    let microarch = "org.supercontainers.hardware.cpu.target.microarch";
    let super_containers = annotated(amd64("s", &[]), microarch, "skylake");

    assert_eq!(kept(&["cpu:zen4"], std::slice::from_ref(&metahub)), ["m"]);
    assert!(kept(&["cpu:zen3"], &[metahub]).is_empty());
    assert_eq!(
        kept(
            &["cpu:cascadelake"],
            std::slice::from_ref(&super_containers)
        ),
        ["s"]
    );
    assert!(kept(&["cpu:zen4"], &[super_containers]).is_empty());
}

#[test]
fn os_features_state_requirements_only_with_a_namespace() {
    let mut windows = entry("it", "windows/amd64", &[]);
    windows.platform.as_mut().unwrap().os_features = vec!["win32k".into(), "isa:avx2".into()];
    let host = |features: &[&str]| MachineType {
        os: "windows".into(),
        ..kind(features)
    };

    assert_eq!(
        kept_of(
            host(&["cpu:zen3"]),
            std::slice::from_ref(&windows),
            Facts::default()
        ),
        ["it"]
    );
    assert!(kept_of(host(&["cpu:nehalem"]), &[windows], Facts::default()).is_empty());
}

#[test]
fn a_rules_namespaces_replace_the_entrys_own_and_its_level() {
    let labelled = entry("it", "linux/amd64/v4", &["cpu:zen4", "net:efa"]);
    let entries = std::slice::from_ref(&labelled);
    let v2 = rule(&["cpu:x86_64_v2"]);
    let with = |features: &[&str], rules: &[&Rule]| {
        !kept_of(kind(features), entries, Facts { rules, pin: None }).is_empty()
    };

    assert!(!with(&["cpu:nehalem", "net:efa"], &[]));
    assert!(with(&["cpu:nehalem", "net:efa"], &[&v2]));
    assert!(!with(&["cpu:nehalem"], &[&v2]));
    assert!(!with(&["cpu:nocona", "net:efa"], &[&v2]));
}

#[test]
fn rules_that_match_one_entry_add_up() {
    let (a, b) = (rule(&["net:efa"]), rule(&["net:ib", "cpu:zen3"]));
    let rules = [&a, &b];
    let with = |features: &[&str]| {
        kept_of(
            kind(features),
            &[amd64("it", &["net:x"])],
            Facts {
                rules: &rules,
                pin: None,
            },
        )
    };

    assert_eq!(with(&["net:efa", "net:ib", "cpu:zen4"]), ["it"]);
    assert!(with(&["net:ib", "cpu:zen4"]).is_empty());
}

#[test]
fn a_rule_about_another_entry_changes_nothing() {
    let other = Rule {
        matches: RuleMatch {
            digest: Some("other".into()),
            ..RuleMatch::default()
        },
        ..rule(&["cpu:zen5"])
    };
    let facts = Facts {
        rules: &[&other],
        pin: None,
    };

    assert_eq!(
        kept_of(kind(&["cpu:zen3"]), &[amd64("it", &[])], facts),
        ["it"]
    );
}

#[test]
fn an_exact_type_takes_equal_sets_in_any_spelling() {
    let exact = |features: &[&str]| MachineType {
        mode: MatchMode::Exact,
        ..kind(features)
    };

    assert!(fits_kind(
        exact(&["cpu:milan", "isa:avx2"]),
        &["avx2", "cpu:zen3"]
    ));
    assert!(!fits_kind(exact(&["cpu:zen3"]), &["cpu:zen3", "avx2"]));
    assert!(!fits_kind(exact(&["cpu:zen3", "avx2"]), &["cpu:zen3"]));
    assert!(fits_kind(exact(&[]), &[]));
    assert!(!fits_kind(exact(&["cpu:zen3"]), &["cpu:zen2"]));
}

#[test]
fn an_exact_type_takes_a_level_for_the_cpu_that_it_stands_for() {
    let exact = |features: &[&str], entry: Entry| {
        let kind = MachineType {
            mode: MatchMode::Exact,
            ..kind(features)
        };
        !kept_of(kind, &[entry], Facts::default()).is_empty()
    };

    assert!(exact(
        &["cpu:x86_64_v3"],
        entry("it", "linux/amd64/v3", &[])
    ));
    assert!(exact(&[], entry("it", "linux/arm64/v8", &[])));
    assert!(exact(
        &["cpu:graviton2"],
        entry("it", "linux/arm64/v8", &["cpu:neoverse-n1"])
    ));
    assert!(exact(
        &["cpu:zen3"],
        entry("it", "linux/amd64/v3", &["cpu:zen3"])
    ));
    assert!(!exact(&["cpu:zen4"], entry("it", "linux/amd64/v3", &[])));
}

#[test]
fn a_type_without_generic_takes_no_baseline_level_either() {
    let no_generic = |features: &[&str]| MachineType {
        mode: MatchMode::BestNoGeneric,
        ..kind(features)
    };
    let v8 = [entry("v8", "linux/arm64/v8", &[])];

    assert!(kept_of(no_generic(&["cpu:graviton2"]), &v8, Facts::default()).is_empty());
    assert!(fits_kind(no_generic(&["cpu:zen3"]), &["cpu:x86_64"]));
    assert!(!fits_kind(no_generic(&["cpu:zen3"]), &[]));
}

#[test]
fn a_name_that_a_site_added_runs_what_its_parents_run() {
    let cpu = Cpu {
        name: "futurelake".into(),
        parents: vec!["arrowlake".into()],
        features: vec!["avx10".into()],
        aliases: vec!["nvl".into()],
    };
    let cpus = std::sync::Arc::new(CpuTable::with_site(&[cpu]).unwrap());
    let host = Host::new(kind(&["cpu:nvl"]), cpus).unwrap();
    let index = index(&[
        amd64("v2", &["cpu:x86_64_v2"]),
        amd64("it", &["cpu:alderlake", "avx10"]),
    ]);

    assert_eq!(select(&host, &index, Facts::default()).kept, [1]);
}
