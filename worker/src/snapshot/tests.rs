//! Snapshots that are made of the one before: equal to those made of all
//! records, at the cost of what changed.

use std::fmt::Write as _;

use metahub_policy::{Cpu, Grant, MachineType, RuleMatch, StateDigest};

use super::*;

const LOGINS: usize = 5_000;

/// Records, and the snapshot that is kept up with them.
struct Kept {
    records: Records,
    snapshot: Snapshot,
}

impl Kept {
    fn new(entries: Vec<(String, Record)>) -> Self {
        let records: Records = entries.into_iter().map(entry).collect();
        let snapshot = build(at(1), &records, None).expect("a good policy");
        Self { records, snapshot }
    }

    fn change(&mut self, put: Vec<(String, Record)>, deleted: &[&str]) {
        let edits = self.records.apply(Delta {
            put: put.into_iter().map(entry).collect(),
            deleted: deleted.iter().map(|key| (*key).to_owned()).collect(),
        });
        let number = self.snapshot.revision.number + 1;
        let next = update(at(number), &self.records, &edits, &self.snapshot);
        self.snapshot = next.expect("a good policy");
    }

    /// Fails when the snapshot is another than one made of all records.
    fn assert_whole(&self) {
        let whole = build(self.snapshot.revision, &self.records, None);
        let whole = whole.expect("a good policy");
        assert_eq!(shown(&self.snapshot), shown(&whole));
    }
}

fn at(number: u64) -> Revision {
    Revision { epoch: 7, number }
}

fn entry((key, record): (String, Record)) -> (String, Entry) {
    let digest = StateDigest::of(key.as_bytes());
    let record = Some(record);
    (key, Entry { record, digest })
}

/// All that a snapshot says, in an order that does not depend on chance.
fn shown(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    let mut logins: Vec<_> = snapshot.logins.iter().collect();
    logins.sort_by_key(|(name, _)| (*name).clone());
    for (name, stored) in logins {
        let login = snapshot.login(name);
        let fingerprint = login.map(|login| login.kind.fingerprint);
        let secret = stored.secret_sha256;
        let _ = writeln!(text, "{name} {secret:?} {fingerprint:?}");
    }
    let mut recipes: Vec<_> = snapshot.recipes.iter().map(|(_, it)| it).collect();
    recipes.sort_by_key(|it| it.name.digest.as_str().to_owned());
    let kinds = snapshot.kinds.iter().count();
    let upstreams = snapshot.ground.upstreams.len();
    let rules: Vec<_> = snapshot.ground.rules.iter().map(|it| &it.name).collect();
    let granted = snapshot.grants.open("qnib", "ghcr.io", "acme/app");
    let _ = writeln!(text, "{kinds} {recipes:?} {upstreams} {rules:?} {granted}");
    text
}

fn kind_name(name: &str) -> KindName {
    KindName {
        user: "qnib".into(),
        name: name.into(),
    }
}

fn login(name: &str, secret: u8) -> (String, Record) {
    let record = LoginRecord {
        name: format!("qnib-{name}").into(),
        kind: kind_name(name),
        secret_sha256: [secret; 32],
        allow_selectors: false,
    };
    (format!("login/qnib-{name}"), Record::Login(record))
}

fn machine_type(name: &str, feature: &str) -> (String, Record) {
    let machine_type = MachineType {
        features: vec![feature.into()],
        ..MachineType::default()
    };
    let record = TypeRecord {
        name: kind_name(name),
        machine_type,
    };
    let record = Record::MachineType(Box::new(record));
    (format!("type/qnib/{name}"), record)
}

fn rule(name: &str) -> (String, Record) {
    let rule = scope(name, "cpu:skylake");
    (format!("rule/{name}"), Record::Rule(Box::new(rule)))
}

fn scope(name: &str, requires: &str) -> Rule {
    Rule {
        name: name.into(),
        repository: "ghcr.io/acme/*".into(),
        tag: String::new(),
        matches: RuleMatch::default(),
        requires: vec![requires.into()],
    }
}

fn pin(name: &str, digest: char) -> (String, Record) {
    let pin = PinRecord {
        kind: kind_name(name),
        scope: scope("", ""),
        digest: format!("sha256:{}", digest.to_string().repeat(64)),
    };
    let key = format!("pin/qnib/{name}/ghcr.io/acme/*");
    (key, Record::Pin(Box::new(pin)))
}

fn grant() -> (String, Record) {
    let grant = Grant {
        user: Some("qnib".into()),
        repository: "ghcr.io/acme/*".into(),
    };
    ("grant/qnib/ghcr.io/acme/*".into(), Record::Grant(grant))
}

fn cpu() -> (String, Record) {
    let cpu = Cpu {
        name: "mycpu".into(),
        parents: vec!["skylake".into()],
        features: Vec::new(),
        aliases: Vec::new(),
    };
    ("cpu/mycpu".into(), Record::Cpu(cpu))
}

/// A type and a login for each of so many names.
fn fleet(count: usize) -> Vec<(String, Record)> {
    let pairs = (0..count).map(|n| n.to_string());
    pairs
        .flat_map(|name| [machine_type(&name, "cpu:skylake"), login(&name, 1)])
        .collect()
}

#[test]
fn a_snapshot_after_changes_is_the_one_that_all_records_make() {
    let mut kept = Kept::new(fleet(20));

    for (put, deleted) in [
        (vec![login("3", 9), login("none", 1)], vec!["login/qnib-4"]),
        (vec![machine_type("3", "cpu:zen4")], vec!["type/qnib/5"]),
        (
            vec![machine_type("none", "cpu:zen4"), pin("3", 'a')],
            vec![],
        ),
        (vec![pin("later", 'a'), grant()], vec![]),
        (
            vec![machine_type("later", "cpu:zen4"), login("later", 1)],
            vec![],
        ),
        (vec![rule("one"), cpu(), pin("3", 'b')], vec![]),
        (vec![machine_type("6", "cpu:mycpu")], vec![]),
        (
            vec![rule("two")],
            vec![
                "rule/one",
                "grant/qnib/ghcr.io/acme/*",
                "pin/qnib/3/ghcr.io/acme/*",
            ],
        ),
        (
            vec![machine_type("6", "cpu:zen4")],
            vec!["cpu/mycpu", "type/qnib/7"],
        ),
        (vec![machine_type("5", "cpu:zen4")], vec![]),
    ] {
        kept.change(put, &deleted);
        kept.assert_whole();
    }
}

#[test]
fn a_changed_login_costs_one_shard_and_no_machine_type() {
    let mut kept = Kept::new(fleet(LOGINS));
    let (records, before) = (kept.records.clone(), kept.snapshot.clone());

    kept.change(vec![login("3", 9)], &[]);

    assert_eq!(kept.snapshot.logins.own_shards(&before.logins), 1);
    assert_eq!(kept.snapshot.kinds.own_shards(&before.kinds), 0);
    assert_eq!(kept.records.own_shards(&records), 1);
    assert_eq!(
        kept.snapshot.login("qnib-3").unwrap().secret_sha256,
        &[9; 32]
    );
}

#[test]
fn a_changed_machine_type_costs_one_shard_and_no_login() {
    let mut kept = Kept::new(fleet(LOGINS));
    let before = kept.snapshot.clone();

    kept.change(vec![machine_type("3", "cpu:zen4")], &[]);

    assert_eq!(kept.snapshot.kinds.own_shards(&before.kinds), 1);
    assert_eq!(kept.snapshot.logins.own_shards(&before.logins), 0);
    let fingerprint = |it: &Snapshot| it.login("qnib-3").unwrap().kind.fingerprint;
    assert_ne!(fingerprint(&kept.snapshot), fingerprint(&before));
}

#[test]
fn a_rule_reads_no_machine_type_again() {
    let mut kept = Kept::new(fleet(3));
    let before = kept.snapshot.clone();

    kept.change(vec![rule("one")], &[]);

    let host = |it: &Snapshot| it.login("qnib-1").unwrap().kind.host.clone();
    assert!(Arc::ptr_eq(&host(&kept.snapshot), &host(&before)));
    kept.assert_whole();
}

#[test]
fn open_requests_count_on_in_the_snapshots_after() {
    let mut kept = Kept::new(fleet(1));
    let before = kept.snapshot.clone();
    let place = before.login("qnib-0").unwrap().open.place(1);

    kept.change(vec![login("0", 9)], &[]);
    let whole = build(at(3), &kept.records, Some(&kept.snapshot)).expect("a good policy");

    for snapshot in [&kept.snapshot, &whole] {
        assert!(snapshot.login("qnib-0").unwrap().open.place(1).is_none());
    }
    drop(place);
    assert!(whole.login("qnib-0").unwrap().open.place(1).is_some());
}
