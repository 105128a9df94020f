//! Tests of the grouping of hosts into types.

use super::*;

fn host(name: &str, features: &[&str]) -> PlannedHost {
    PlannedHost {
        name: name.into(),
        features: features.iter().map(|it| it.to_string()).collect(),
        ..PlannedHost::default()
    }
}

fn planned(hosts: &[PlannedHost]) -> Plan {
    plan(hosts, &PlanRules::default(), &CpuTable::builtin())
}

fn names(plan: &Plan) -> Vec<(&str, usize)> {
    let types = plan.types.iter();
    types.map(|it| (it.name.as_str(), it.hosts.len())).collect()
}

#[test]
fn hosts_with_the_same_hardware_are_one_type_whatever_the_spelling() {
    let plan = planned(&[
        host("a", &["cpu:zen3", "kernel:5.15"]),
        host("b", &["cpu:Milan", "kernel:6.8"]),
        host("c", &["cpu:zen4", "nvcap:9.0"]),
    ]);

    assert_eq!(names(&plan), [("zen3", 2), ("zen4-nv9.0", 1)]);
    assert_eq!(plan.types[0].hosts, ["a", "b"]);
    assert_eq!((plan.types[0].small, plan.types[1].small), (false, true));
}

#[test]
fn a_type_has_the_lowest_version_of_its_hosts_and_names_those_who_hold_it_back() {
    let mut hosts: Vec<_> = (0..5)
        .map(|n| host(&format!("new{n}"), &["cpu:zen4", "nvdrv:550.54.15"]))
        .collect();
    hosts.push(host("old", &["cpu:zen4", "nvdrv:535.104.05"]));

    let plan = planned(&hosts);

    let planned = &plan.types[0];
    assert_eq!(
        planned.machine_type.features,
        ["cpu:zen4", "nvdrv:535.104.05"]
    );
    let floor = &planned.floors[0];
    assert_eq!((&*floor.least, &*floor.most), ("535.104.05", "550.54.15"));
    assert_eq!(floor.held_back_by, ["old"]);
}

#[test]
fn a_version_that_one_host_does_not_tell_is_no_promise_of_the_type() {
    let plan = planned(&[
        host("a", &["cpu:zen4", "nvdrv:550"]),
        host("b", &["cpu:zen4"]),
    ]);

    assert_eq!(plan.types[0].machine_type.features, ["cpu:zen4"]);
    assert_eq!(plan.types[0].floors[0].untold_by, ["b"]);
}

#[test]
fn a_type_has_only_the_words_that_all_of_its_hosts_have() {
    let plan = planned(&[
        host("a", &["cpu:zen4", "site:x", "site:y", "rack:1"]),
        host("b", &["cpu:zen4", "site:y"]),
    ]);

    assert_eq!(plan.types[0].machine_type.features, ["cpu:zen4", "site:y"]);
}

#[test]
fn exact_floors_tell_types_apart() {
    let rules = PlanRules {
        exact_floors: true,
        ..PlanRules::default()
    };
    let hosts = [
        host("a", &["cpu:zen4", "nvdrv:550"]),
        host("b", &["cpu:zen4", "nvdrv:535"]),
    ];

    let plan = plan(&hosts, &rules, &CpuTable::builtin());

    assert_eq!(names(&plan), [("zen4-535", 1), ("zen4-550", 1)]);
    assert!(plan.types.iter().all(|it| it.floors.is_empty()));
}

#[test]
fn a_host_without_a_cpu_is_told_apart_by_its_architecture() {
    let mut arm = host("a", &[]);
    arm.architecture = "aarch64".into();
    let mut amd = host("b", &["cpu:zen4"]);
    amd.architecture = "amd64".into();

    let plan = planned(&[arm, amd, host("c", &["cpu:zen4"])]);

    assert_eq!(names(&plan), [("zen4", 2), ("arm64", 1)]);
    let shape = &plan.types[1].machine_type;
    assert_eq!(shape.architecture.as_deref(), Some("arm64"));
}

#[test]
fn a_feature_that_no_type_can_have_is_left_out_and_told_once() {
    let hosts = ["a", "b"].map(|name| host(name, &["cpu:zen4", "nvcap:hopper", "a b"]));

    let plan = planned(&hosts);

    assert_eq!(plan.types[0].machine_type.features, ["cpu:zen4"]);
    let ignored = |reason: &str| {
        let ignored = plan.ignored.iter();
        let mut ignored = ignored.filter(|it| it.reason.contains(reason));
        ignored.next().map(|it| (it.host.as_str(), it.hosts))
    };
    assert_eq!(ignored("nvcap:hopper"), Some(("a", 2)));
    assert_eq!(ignored("holds a blank"), Some(("a", 2)));
}

#[test]
fn each_planned_type_is_one_that_can_be_created() {
    let hosts = [
        host("a", &["gfx:gfx90a:xnack+", "gfx:gfx942", "net:EFA/v2"]),
        host("b", &["gfx:gfx90a:xnack-", "gfx:gfx942", "net:efa/v2"]),
        host("c", &[&"x".repeat(100)]),
        host("", &[]),
    ];

    let plan = planned(&hosts);

    let unique: HashSet<_> = plan.types.iter().map(|it| &it.name).collect();
    assert_eq!(unique.len(), 3);
    for planned in &plan.types {
        assert!(planned.name.len() <= 64);
        planned.machine_type.check(&CpuTable::builtin()).unwrap();
    }
}
