//! Tests of trimming.

use super::*;
use crate::Index;

const SOURCE: &str = "sha256:5555555555555555555555555555555555555555555555555555555555555555";

/// A descriptor with a platform, in a spelling that nothing would write anew.
fn entry(letter: char, platform: &str) -> String {
    let digest = format!("sha256:{}", letter.to_string().repeat(64));
    format!(r#"{{"size": 7,"digest":"{digest}" ,"platform":{platform},"x":[1.0,1e2]}}"#)
}

fn index(entries: &[String]) -> String {
    format!(
        r#"{{"schemaVersion": 2,"manifests":[{}]}}"#,
        entries.join(", ")
    )
}

fn trimmed(source: &str, kept: &[usize]) -> String {
    let bytes = trim(source.as_bytes(), kept, SOURCE).unwrap();
    Index::parse(&bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The platform that is left of `platform`.
fn left_of(platform: &str) -> String {
    let text = trimmed(&index(&[entry('a', platform)]), &[0]);
    let (_, rest) = text.split_once(r#""platform":"#).unwrap();
    rest.split_once(r#","x""#).unwrap().0.to_owned()
}

#[test]
fn what_is_kept_is_kept_byte_by_byte() {
    let plain = r#"{"os" :"linux", "\u0061rchitecture":"amd64","x-future":true}"#;
    let entries = ['a', 'b', 'c', 'd'].map(|letter| entry(letter, plain));
    let source = index(&entries);

    let text = trimmed(&source, &[3, 1]);

    let named = format!(r#","annotations":{{"{SOURCE_DIGEST}":"{SOURCE}"}}}}"#);
    let list = format!("{}, {}", entries[1], entries[3]);
    assert_eq!(
        text,
        format!(r#"{{"schemaVersion": 2,"manifests":[{list}]{named}"#)
    );
}

#[test]
fn blanks_and_line_ends_of_a_pretty_index_stay() {
    let plain = r#"{"os":"linux","architecture":"amd64"}"#;
    let (a, b) = (entry('a', plain), entry('b', plain));
    let source =
        format!("{{\n  \"manifests\": [\n    {a},\n    {b}\n  ],\n  \"annotations\": {{}}\n}}\n");

    let text = trimmed(&source, &[1]);

    let named = format!(r#"{{"{SOURCE_DIGEST}":"{SOURCE}"}}"#);
    assert_eq!(
        text,
        format!("{{\n  \"manifests\": [\n    {b}\n  ],\n  \"annotations\": {named}\n}}")
    );
}

#[test]
fn requirements_and_levels_are_taken_out_of_platforms() {
    for (platform, left) in [
        (
            r#"{"os":"linux","features":["cpu:zen4","avx2"]}"#,
            r#"{"os":"linux"}"#,
        ),
        (r#"{"features":[],"os":"linux"}"#, r#"{"os":"linux"}"#),
        (
            r#"{"architecture":"amd64","variant":"v3","os":"linux"}"#,
            r#"{"architecture":"amd64","os":"linux"}"#,
        ),
        (
            r#"{"variant":"v8", "architecture":"arm64", "features":["cpu:zen"], "os":"linux" }"#,
            r#"{"architecture":"arm64", "os":"linux" }"#,
        ),
        (
            r#"{"os":"linux","os.features":["cpu:zen4"]}"#,
            r#"{"os":"linux"}"#,
        ),
        (
            r#"{"os":"windows","os.features":["cpu:zen4", "win32k" ,"net:efa"]}"#,
            r#"{"os":"windows","os.features":["win32k"]}"#,
        ),
        (
            r#"{"os":"windows","os.features":[ "win32k" , "x" ]}"#,
            r#"{"os":"windows","os.features":[ "win32k" , "x" ]}"#,
        ),
        (
            r#"{"os":"linux","fe\u0061tures":["avx2"]}"#,
            r#"{"os":"linux"}"#,
        ),
    ] {
        assert_eq!(left_of(platform), left);
    }
}

#[test]
fn the_variant_of_32_bit_arm_stays() {
    let platform = r#"{"architecture":"arm","os":"linux","variant":"v6"}"#;

    assert_eq!(left_of(platform), platform);
}

#[test]
fn platforms_without_requirements_and_missing_ones_stay() {
    let source = index(&[entry('a', "null"), entry('b', "{}")]);

    let text = trimmed(&source, &[0, 1]);

    assert!(
        text.starts_with(source.strip_suffix('}').unwrap()),
        "{text}"
    );
}

#[test]
fn the_source_digest_joins_other_annotations() {
    let with = |annotations: &str| {
        let list = entry('a', "{}");
        let source = format!(r#"{{"annotations":{annotations},"manifests":[{list}]}}"#);
        let text = trimmed(&source, &[0]);
        text.strip_prefix(r#"{"annotations":"#)
            .unwrap()
            .split_once(r#","manifests""#)
            .unwrap()
            .0
            .to_owned()
    };
    let named = format!(r#""{SOURCE_DIGEST}":"{SOURCE}""#);

    assert_eq!(
        with(r#"{"z":"1" ,"a":"2" }"#),
        format!(r#"{{"z":"1" ,"a":"2",{named} }}"#)
    );
    assert_eq!(with("{ }"), format!("{{{named}}}"));
    assert_eq!(with("null"), format!("{{{named}}}"));
    let before = format!(r#"{{"{SOURCE_DIGEST}":"sha256:old","a":"b"}}"#);
    assert_eq!(with(&before), format!(r#"{{{named},"a":"b"}}"#));
}

#[test]
fn a_docker_manifest_list_stays_one_and_gets_no_annotation() {
    let source = index(&[entry('a', r#"{"os":"linux"}"#), entry('b', "{}")]);
    let media_type = r#"{"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","#;
    let source = source.replacen('{', media_type, 1);

    let text = trimmed(&source, &[0]);

    assert!(text.starts_with(media_type));
    assert!(!text.contains("annotations"));
}

#[test]
fn an_index_without_entries_is_never_made() {
    let source = index(&[entry('a', "{}")]);

    assert!(matches!(
        trim(source.as_bytes(), &[], SOURCE),
        Err(InvalidIndex::Empty)
    ));
    assert!(matches!(
        trim(source.as_bytes(), &[1], SOURCE),
        Err(InvalidIndex::NoSuchEntry { place: 1 })
    ));
    assert!(trim(br#"{"manifests":null}"#, &[0], SOURCE).is_err());
}

#[test]
fn keys_that_come_twice_are_not_trimmed() {
    let platform = r#"{"os":"linux","features":[],"features":["cpu:zen4"]}"#;
    let source = index(&[entry('a', platform)]);

    assert!(trim(source.as_bytes(), &[0], SOURCE).is_err());
}

#[test]
fn the_order_and_number_of_kept_places_do_not_matter() {
    let entries = ['a', 'b', 'c'].map(|letter| entry(letter, "{}"));
    let source = index(&entries);

    assert_eq!(trimmed(&source, &[2, 0, 2]), trimmed(&source, &[0, 2]));
}

#[test]
fn trimming_all_places_changes_only_what_must_change() {
    let entries = ['a', 'b', 'c'].map(|letter| entry(letter, r#"{"os":"linux"}"#));
    let source = index(&entries);

    let text = trimmed(&source, &[0, 1, 2]);

    assert!(text.starts_with(source.strip_suffix('}').unwrap()));
}
