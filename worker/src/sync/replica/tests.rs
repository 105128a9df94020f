//! A replica on its own, fed with events.

use metahub_proto::policy::v1 as proto;
use prost::Message as _;
use proto::record::Value;

use bytes::Bytes;

use super::*;

fn at(number: u64) -> Revision {
    Revision { epoch: 7, number }
}

fn login(name: &str, secret: &[u8]) -> proto::Record {
    let login = proto::Login {
        name: name.into(),
        user: "qnib".into(),
        machine_type: "type1".into(),
        secret_sha256: secret.to_vec().into(),
        allow_selectors: false,
    };
    proto::Record {
        key: format!("login/{name}"),
        value: Some(Value::Login(login)),
    }
}

fn machine_type() -> proto::Record {
    let machine_type = proto::MachineType {
        user: "qnib".into(),
        name: "type1".into(),
        os: "linux".into(),
        features: vec!["cpu:broadwell".into()],
        ..Default::default()
    };
    proto::Record {
        key: "type/qnib/type1".into(),
        value: Some(Value::MachineType(machine_type)),
    }
}

fn encoded(records: &[proto::Record]) -> Vec<Bytes> {
    let records = records.iter();
    records.map(|it| it.encode_to_vec().into()).collect()
}

fn digest_of(records: &[proto::Record]) -> StateDigest {
    let mut digest = StateDigest::default();
    for record in encoded(records) {
        digest += StateDigest::of(&record);
    }
    digest
}

fn put(records: Vec<proto::Record>) -> Bytes {
    let deleted = Vec::new();
    let put = encoded(&records);
    let delta = proto::Delta { put, deleted };
    delta.encode_to_vec().into()
}

/// Sends a snapshot in two chunks.
fn send(
    replica: &mut Replica,
    number: u64,
    records: Vec<proto::Record>,
) -> Result<Outcome, OutOfStep> {
    let digest = Some(digest_of(&records));
    let records = encoded(&records);
    let state = Bytes::from(proto::State { records }.encode_to_vec());
    let half = state.len() / 2;
    let begin = Event::Begin {
        revision: at(number),
        size: state.len() as u64,
    };
    replica.take(begin)?;
    replica.take(Event::Chunk(state.slice(..half)))?;
    replica.take(Event::Chunk(state.slice(half..)))?;
    let revision = at(number);
    replica.take(Event::Commit { revision, digest })
}

/// Without a digest, as an older control plane sends it.
fn commit_of(number: u64) -> Event {
    let (revision, digest) = (at(number), None);
    Event::Commit { revision, digest }
}

fn change(base: u64, revision: u64, delta: Bytes) -> Event {
    Event::Change {
        base: at(base),
        revision: at(revision),
        delta,
        digest: None,
    }
}

fn heartbeat(newest: u64, digest: Option<StateDigest>) -> Event {
    let newest = Some(at(newest));
    Event::Heartbeat { newest, digest }
}

fn replica() -> (Arc<Current>, Replica) {
    let current = Arc::new(Current::default());
    (current.clone(), Replica::new(current, None))
}

fn knows(current: &Current, login: &str) -> bool {
    let snapshot = current.load();
    snapshot
        .as_ref()
        .is_some_and(|it| it.login(login).is_some())
}

#[test]
fn a_snapshot_is_served_once_it_is_complete() {
    let (current, mut replica) = replica();

    let outcome = send(
        &mut replica,
        1,
        vec![machine_type(), login("qnib-type1", &[1; 32])],
    );

    assert_eq!(outcome, Ok(Outcome::Applied(at(1))));
    assert!(knows(&current, "qnib-type1"));
}

#[test]
fn a_change_applies_to_the_revision_before() {
    let (current, mut replica) = replica();
    send(&mut replica, 1, vec![machine_type()]).unwrap();

    let outcome = replica.take(change(1, 2, put(vec![login("qnib-type1", &[1; 32])])));

    assert_eq!(outcome, Ok(Outcome::Applied(at(2))));
    assert!(knows(&current, "qnib-type1"));
}

#[test]
fn a_deleted_login_is_unknown() {
    let (current, mut replica) = replica();
    let records = vec![machine_type(), login("qnib-type1", &[1; 32])];
    send(&mut replica, 1, records).unwrap();

    let delta = proto::Delta {
        put: Vec::new(),
        deleted: vec!["login/qnib-type1".into()],
    };
    let outcome = replica.take(change(1, 2, delta.encode_to_vec().into()));

    assert_eq!(outcome, Ok(Outcome::Applied(at(2))));
    assert!(!knows(&current, "qnib-type1"));
}

#[test]
fn a_change_to_another_revision_is_out_of_step() {
    let (_, mut replica) = replica();
    send(&mut replica, 3, vec![machine_type()]).unwrap();

    let outcome = replica.take(change(2, 3, Bytes::new()));

    assert_eq!(outcome, Err(OutOfStep::WrongBase { base: at(2) }));
}

#[test]
fn a_bad_record_leaves_the_snapshot_before_in_service() {
    let (current, mut replica) = replica();
    let records = vec![machine_type(), login("qnib-type1", &[1; 32])];
    send(&mut replica, 1, records).unwrap();

    let outcome = replica.take(change(1, 2, put(vec![login("qnib-type1", b"short")])));

    assert!(matches!(outcome, Ok(Outcome::Rejected(revision, _)) if revision == at(2)));
    assert!(knows(&current, "qnib-type1"));
    assert_eq!((current.rejections(), current.lag()), (1, 1));
}

#[test]
fn a_login_without_its_machine_type_is_no_login() {
    let (current, mut replica) = replica();

    send(&mut replica, 1, vec![login("qnib-type1", &[1; 32])]).unwrap();

    assert!(!knows(&current, "qnib-type1"));
}

#[test]
fn half_a_snapshot_is_forgotten_with_its_stream() {
    let (_, mut replica) = replica();
    let (revision, size) = (at(1), 10);
    replica.take(Event::Begin { revision, size }).unwrap();

    replica.begin_stream();

    let commit = replica.take(commit_of(1));
    assert_eq!(commit, Err(OutOfStep::NotBegun));
}

#[test]
fn a_snapshot_of_another_size_is_not_taken() {
    let (current, mut replica) = replica();
    let (revision, size) = (at(1), 10);
    replica.take(Event::Begin { revision, size }).unwrap();

    let short = replica.take(commit_of(1));

    assert_eq!(short, Err(OutOfStep::NotAsAnnounced));
    assert!(current.load().is_none());
}

#[test]
fn a_snapshot_larger_than_announced_is_cut_off_at_once() {
    let (_, mut replica) = replica();
    let (revision, size) = (at(1), 10);
    replica.take(Event::Begin { revision, size }).unwrap();

    let long = replica.take(Event::Chunk(Bytes::from_static(&[0; 11])));

    assert_eq!(long, Err(OutOfStep::NotAsAnnounced));
}

#[test]
fn a_revision_that_never_comes_is_noticed() {
    let (_, mut replica) = replica();
    send(&mut replica, 1, Vec::new()).unwrap();

    for _ in 1..MAX_BEHIND {
        assert_eq!(replica.take(heartbeat(2, None)), Ok(Outcome::Quiet));
    }
    let last = replica.take(heartbeat(2, None));

    assert_eq!(last, Err(OutOfStep::Behind(at(2))));
}

#[test]
fn a_machine_type_that_did_not_change_is_not_made_again() {
    let (current, mut replica) = replica();
    let records = vec![machine_type(), login("qnib-type1", &[1; 32])];
    send(&mut replica, 1, records).unwrap();
    let kind = |current: &Current| {
        let snapshot = current.load_full().expect("a snapshot");
        snapshot.login("qnib-type1").unwrap().kind.clone()
    };
    let before = kind(&current);

    let change = change(1, 2, put(vec![login("other-type1", &[2; 32])]));
    replica.take(change).unwrap();

    assert!(Arc::ptr_eq(&kind(&current), &before));
}

#[test]
fn a_rule_changes_what_every_machine_type_depends_on() {
    let (current, mut replica) = replica();
    let records = vec![machine_type(), login("qnib-type1", &[1; 32])];
    send(&mut replica, 1, records).unwrap();
    let fingerprint = |current: &Current| {
        let snapshot = current.load_full().expect("a snapshot");
        snapshot.login("qnib-type1").unwrap().kind.fingerprint
    };
    let before = fingerprint(&current);

    let rule = proto::Rule {
        name: "all".into(),
        requires: vec!["cpu:x86_64_v3".into()],
        ..Default::default()
    };
    let rule = proto::Record {
        key: "rule/all".into(),
        value: Some(Value::Rule(rule)),
    };
    let change = change(1, 2, put(vec![rule]));
    let outcome = replica.take(change);

    assert_eq!(outcome, Ok(Outcome::Applied(at(2))));
    assert_ne!(fingerprint(&current), before);
}

#[test]
fn a_change_that_makes_no_policy_is_taken_back() {
    let (current, mut replica) = replica();
    let records = vec![machine_type(), login("qnib-type1", &[1; 32])];
    send(&mut replica, 1, records).unwrap();
    let bad = proto::Cpu {
        name: "mycpu".into(),
        parents: vec!["no-such-cpu".into()],
        ..Default::default()
    };
    let bad = proto::Record {
        key: "cpu/mycpu".into(),
        value: Some(Value::Cpu(bad)),
    };

    let outcome = replica.take(change(1, 2, put(vec![bad])));
    let next = replica.take(change(1, 3, put(vec![login("b-type1", &[1; 32])])));

    assert!(matches!(outcome, Ok(Outcome::Rejected(..))), "{outcome:?}");
    assert_eq!(next, Ok(Outcome::Applied(at(3))));
    assert!(knows(&current, "qnib-type1"));
}

#[test]
fn a_change_that_leads_elsewhere_is_taken_back_and_all_is_asked_for() {
    let (current, mut replica) = replica();
    let records = vec![machine_type(), login("qnib-type1", &[1; 32])];
    let digest = digest_of(&records);
    send(&mut replica, 1, records).unwrap();

    let lost_half = Event::Change {
        base: at(1),
        revision: at(2),
        delta: put(vec![login("a-type1", &[1; 32])]),
        digest: Some(digest_of(&[machine_type()])),
    };
    let outcome = replica.take(lost_half);

    assert!(matches!(outcome, Err(OutOfStep::Differs { revision, .. }) if revision == at(2)));
    assert_eq!(replica.held(), Some((at(1), digest)));
    assert!(knows(&current, "qnib-type1") && !knows(&current, "a-type1"));
    let claim = replica.claim();
    assert_eq!(claim.held, None);
    assert!(
        claim
            .distrust
            .unwrap()
            .contains(&digest_of(&[machine_type()]).to_string())
    );
    assert_eq!(current.mismatches(), 1);
}

#[test]
fn a_copy_that_differs_is_noticed_by_a_heartbeat_and_healed_by_a_snapshot() {
    let (current, mut replica) = replica();
    let policy = vec![machine_type(), login("qnib-type1", &[1; 32])];
    let digest = Some(digest_of(&policy));
    send(&mut replica, 1, policy[..1].to_vec()).unwrap();

    let noticed = replica.take(heartbeat(1, digest));
    replica.begin_stream();
    let healed = send(&mut replica, 1, policy);

    assert!(matches!(noticed, Err(OutOfStep::Differs { .. })));
    assert_eq!(healed, Ok(Outcome::Applied(at(1))));
    assert_eq!(replica.claim().held.map(|(_, digest)| digest), digest);
    assert_eq!(replica.take(heartbeat(1, digest)), Ok(Outcome::Quiet));
    assert!(knows(&current, "qnib-type1"));
}

#[test]
fn a_snapshot_that_is_not_what_was_sent_is_not_taken() {
    let (current, mut replica) = replica();
    let (revision, size) = (at(1), 0);
    replica.take(Event::Begin { revision, size }).unwrap();

    let digest = Some(digest_of(&[machine_type()]));
    let outcome = replica.take(Event::Commit { revision, digest });

    assert!(matches!(outcome, Err(OutOfStep::Differs { .. })));
    assert!(current.load().is_none());
}

#[test]
fn a_record_that_this_worker_does_not_know_counts_in_the_digest() {
    let (_, mut replica) = replica();
    let mut newer = machine_type();
    newer.value = None;

    let outcome = send(&mut replica, 1, vec![newer.clone()]);

    assert_eq!(outcome, Ok(Outcome::Applied(at(1))));
    assert_eq!(replica.held(), Some((at(1), digest_of(&[newer]))));
}

#[test]
fn an_empty_policy_of_another_history_is_refused_until_it_has_a_login() {
    let (current, mut replica) = replica();
    send(
        &mut replica,
        3,
        vec![machine_type(), login("qnib-type1", &[7; 32])],
    )
    .unwrap();
    let mut offer = |number, records: Vec<proto::Record>| {
        let revision = Revision { epoch: 8, number };
        let records = encoded(&records);
        let state = Bytes::from(proto::State { records }.encode_to_vec());
        let size = state.len() as u64;
        replica.take(Event::Begin { revision, size }).unwrap();
        replica.take(Event::Chunk(state)).unwrap();
        let digest = None;
        replica.take(Event::Commit { revision, digest }).unwrap()
    };

    let empty = offer(1, vec![machine_type()]);
    assert!(matches!(empty, Outcome::Rejected(..)), "{empty:?}");
    assert!(knows(&current, "qnib-type1"));

    let filled = offer(2, vec![machine_type(), login("qnib-type2", &[7; 32])]);
    assert!(matches!(filled, Outcome::Applied(_)), "{filled:?}");
    assert!(!knows(&current, "qnib-type1"));
}
