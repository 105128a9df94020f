//! Manifests of upstreams, and what is cut out of indexes.

use std::{collections::BTreeMap, sync::OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use metahub_policy::{CpuTable, Facts, Host, Index, MachineType, select, trim};
use serde_json::value::RawValue;

use crate::{
    reference::Reference,
    upstream::{Source, Upstream, check, sha256},
};

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// The first byte chooses entries, the first line is the content type, the rest
/// the body. What is taken is what its digest says; what is trimmed lists the
/// chosen entries, byte by byte but for what is taken out, and no others.
pub(super) fn read_and_trim(input: &[u8]) {
    let Some((chosen, rest)) = input.split_first() else {
        return;
    };
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let Ok(content_type) = HeaderValue::from_bytes(&rest[..end]) else {
        return;
    };
    let Some(source) = read(content_type, &rest[end + 1..]) else {
        return;
    };
    assert_eq!(source.digest, sha256(&source.bytes));
    assert!(!source.media_type.as_bytes().contains(&b';'));
    let Ok(Some(index)) = source.index() else {
        return;
    };
    let places = 0..index.entries.len();
    let kept = places.clone().filter(|at| chosen >> (at % 8) & 1 == 1);
    let kept: Vec<_> = kept.map(|at| &index.entries[at].digest).collect();
    let kept = index.places_of(&kept).expect("they are listed");
    check_trim(&source, index, &kept);
    let selected = select(host(), index, Facts::default()).kept;
    assert!(selected.iter().all(|place| places.contains(place)));
    check_trim(&source, index, &selected);
}

fn read(content_type: HeaderValue, body: &[u8]) -> Option<Source> {
    let url = "https://upstream.example".parse().ok()?;
    let upstream = Upstream::new("upstream", url, None, true);
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
    let tag = Reference::parse("latest")?;
    check(&upstream, &tag, &headers, Bytes::copy_from_slice(body)).ok()
}

fn check_trim(source: &Source, index: &Index, kept: &[usize]) {
    let digest = source.digest.as_str();
    let trimmed = trim(&source.bytes, kept, digest);
    if kept.is_empty() {
        assert!(trimmed.is_err(), "an index without entries was made");
        return;
    }
    let trimmed = trimmed.expect("an index that is read can be trimmed");
    let read = Index::parse(&trimmed).expect("a trimmed index can be read");
    let wanted = kept.iter().map(|place| &index.entries[*place].digest);
    assert!(read.entries.iter().map(|entry| &entry.digest).eq(wanted));
    let all: Vec<_> = (0..kept.len()).collect();
    let again = trim(&trimmed, &all, digest).expect("it is an index");
    assert_eq!(again, trimmed, "trimming twice is trimming once");
    compare(&source.bytes, &trimmed, kept);
}

/// Compares the text of two indexes, of which the second is the trimmed one.
fn compare(source: &[u8], trimmed: &[u8], kept: &[usize]) {
    let (mut source, mut trimmed) = (members(source), members(trimmed));
    let before = entries(source.remove("manifests"));
    let after = entries(trimmed.remove("manifests"));
    for (place, after) in kept.iter().zip(after) {
        compare_entries(before[*place].get(), after.get());
    }
    source.remove("annotations");
    trimmed.remove("annotations");
    let text = |members: Members<'_>| -> Vec<_> {
        let text = members
            .iter()
            .map(|(key, value)| (key.clone(), value.get().to_owned()));
        text.collect()
    };
    assert_eq!(text(source), text(trimmed));
}

fn members(index: &[u8]) -> Members<'_> {
    serde_json::from_slice(index).expect("an index is an object")
}

fn entries(manifests: Option<&RawValue>) -> Vec<&RawValue> {
    let list = manifests.map(|list| serde_json::from_str(list.get()));
    let list = list.transpose().expect("an index has a list of entries");
    list.unwrap_or_default()
}

fn compare_entries(before: &str, after: &str) {
    let entry: Members<'_> = serde_json::from_str(before).expect("an entry is an object");
    let platform = entry.get("platform");
    let platform = platform.and_then(|it| serde_json::from_str::<Members<'_>>(it.get()).ok());
    let is_plain = platform.is_none_or(|platform| {
        let cut = ["features", "variant", "os.features"];
        !cut.iter().any(|key| platform.contains_key(*key))
    });
    if is_plain {
        assert_eq!(before, after);
        return;
    }
    let cut: Members<'_> = serde_json::from_str(after).expect("an entry is an object");
    let others = |entry: &Members<'_>| -> Vec<_> {
        let others = entry.iter().filter(|(key, _)| *key != "platform");
        others
            .map(|(key, value)| (key.clone(), value.get().to_owned()))
            .collect()
    };
    assert_eq!(others(&entry), others(&cut));
}

/// A host that wants something of an index.
fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let machine_type = r#"{"features":["cpu:broadwell","nvcap:5.2","cuda:12.4"]}"#;
        let machine_type: MachineType =
            serde_json::from_str(machine_type).expect("it is a machine type");
        Host::new(machine_type, CpuTable::builtin()).expect("it is a machine type")
    })
}
