//! Tests of reading and flattening indexes.

use super::*;

const SIZE: &str = r#""mediaType":"application/vnd.oci.image.manifest.v1+json","size":7"#;

fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

fn descriptor(letter: char, rest: &str) -> String {
    format!(r#"{{{SIZE},"digest":"{}"{rest}}}"#, digest(letter))
}

fn linux(letter: char, architecture: &str) -> String {
    let platform = format!(r#","platform":{{"os":"linux","architecture":"{architecture}"}}"#);
    descriptor(letter, &platform)
}

fn nested(letter: char) -> String {
    let digest = digest(letter);
    format!(r#"{{"mediaType":"{OCI_INDEX}","size":9,"digest":"{digest}"}}"#)
}

fn index(entries: &[String]) -> String {
    format!(
        r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
        entries.join(",")
    )
}

fn parse(text: &str) -> Index {
    Index::parse(text.as_bytes()).unwrap()
}

fn refusal(text: &str) -> String {
    Index::parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn an_empty_index_is_legal() {
    assert_eq!(parse(r#"{"manifests":[]}"#).entries, []);
    assert_eq!(parse(r#"{"manifests":null}"#).entries, []);
}

#[test]
fn every_field_that_selection_reads_is_read_and_unknown_ones_are_passed_over() {
    let rest = r#","platform":{"os":"windows","architecture":"amd64","variant":"v3",
        "os.version":"10.0.1","os.features":["win32k"],"features":["avx2"],"x":[1]},
        "annotations":{"a":"b"},"artifactType":"","data":"AA==","x":{},
        "subject":{"digest":"sha256:"#;
    let text = index(&[descriptor('a', &format!("{rest}{}\"}}", "b".repeat(64)))]);

    let entry = parse(&text).entries.remove(0);

    let platform = entry.platform.unwrap();
    assert_eq!(
        (platform.os, platform.os_version),
        ("windows".into(), "10.0.1".into())
    );
    assert_eq!(
        (platform.variant, platform.features),
        ("v3".into(), vec!["avx2".to_owned()])
    );
    assert_eq!((entry.digest, entry.size), (digest('a'), 7));
    assert_eq!(entry.annotations["a"], "b");
    assert_eq!(entry.artifact_type, None);
    assert_eq!(entry.subject, Some(digest('b')));
}

#[test]
fn null_is_as_good_as_absent() {
    let rest = r#","platform":null,"annotations":null,"artifactType":null,"subject":null"#;

    assert_eq!(
        parse(&index(&[descriptor('a', rest)])),
        parse(&index(&[descriptor('a', "")]))
    );
}

#[test]
fn a_platform_that_names_nothing_is_none() {
    let entry = parse(&index(&[descriptor('a', r#","platform":{}"#)]))
        .entries
        .remove(0);

    assert_eq!(entry.platform, None);
}

#[test]
fn an_index_that_is_a_manifest_too_is_refused() {
    for key in ["layers", "config", "fsLayers", "blobs"] {
        let text = format!(r#"{{"manifests":[],"{key}":[]}}"#);

        assert!(refusal(&text).contains(key), "{}", refusal(&text));
    }
    let manifest = r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}"#;
    assert!(refusal(manifest).contains("its media type is"));
    assert!(refusal(r#"{"schemaVersion":2}"#).contains("no `manifests`"));
}

#[test]
fn keys_that_readers_take_differently_are_refused() {
    let twice = r#"{"manifests":[],"manifests":[]}"#;
    let escaped = r#"{"manifests":[],"manifest\u0073":[]}"#;
    let case = r#"{"manifests":[],"Manifests":[]}"#;
    let alone = r#"{"manifests":[],"Layers":[]}"#;
    let long_s = r#"{"manifests":[],"manifeſts":[]}"#;
    for text in [twice, escaped, case, alone, long_s] {
        assert!(
            refusal(text).contains("ambiguous"),
            "{text}: {}",
            refusal(text)
        );
    }

    let entry = index(&[descriptor('a', r#","Platform":{}"#)]);
    assert!(refusal(&entry).starts_with("entry 1 of the image index: key `Platform`"));
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let large = format!(
        r#"{{"manifests":[],"x":"{}"}}"#,
        "x".repeat(MAX_INDEX_BYTES)
    );
    let deep = format!(
        r#"{{"manifests":[],"x":{}{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let many = index(&vec!["{}".to_owned(); MAX_ENTRIES + 1]);
    let members: Vec<_> = (0..1_001).map(|n| format!(r#""{n}":0"#)).collect();
    let wide = format!("{{{}}}", members.join(","));
    let annotation = format!(r#","annotations":{{"a":"{}"}}"#, "x".repeat(70_000));

    assert!(refusal(&large).contains("bytes"));
    assert!(refusal(&deep).contains("128 deep"));
    assert!(refusal(&many).contains("more than 10000 entries"));
    assert!(refusal(&wide).contains("more than 1000 members"));
    assert!(
        refusal(&index(&[descriptor('a', &annotation)])).contains("annotations have more than")
    );
}

#[test]
fn brackets_in_texts_do_not_count_as_depth() {
    let text = format!(r#"{{"manifests":[],"x":"\"{}"}}"#, "[".repeat(200));

    assert_eq!(parse(&text).entries, []);
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        "{",
        "[]",
        "null",
        r#"{"manifests":{}}"#,
        r#"{"manifests":[]} x"#,
    ] {
        assert!(Index::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(Index::parse(b"{\"manifests\":[],\"x\":\"\xff\"}").is_err());
}

#[test]
fn an_entry_with_a_wrong_field_is_named() {
    let bad_digest = r#"{"digest":"sha256:xyz"}"#.to_owned();
    let no_digest = "{}".to_owned();
    let size = descriptor('a', "").replace("7", "-7");

    assert!(refusal(&index(&[linux('a', "amd64"), bad_digest])).starts_with("entry 2 "));
    assert!(refusal(&index(&[no_digest])).contains("is no digest"));
    assert!(refusal(&index(&[size])).contains("`size`"));
}

#[test]
fn digests_follow_the_grammar_of_their_algorithm() {
    assert!(is_digest(&digest('a')));
    assert!(is_digest(&format!("sha512:{}", "0".repeat(128))));
    assert!(is_digest("blake3+b64:AbC-_="));
    for wrong in [
        "sha256:abc",
        &digest('A'),
        &digest('g'),
        "sha256",
        ":a",
        "a:",
        "A:b",
        "a+:b",
        "a:b/c",
    ] {
        assert!(!is_digest(wrong), "{wrong}");
    }
}

#[test]
fn entries_of_one_digest_may_not_contradict_each_other_where_it_is_kept() {
    let index = parse(&index(&[
        linux('a', "amd64"),
        linux('b', "arm64"),
        linux('a', "amd64"),
        linux('b', "arm64").replace(":7", ":8"),
        linux('c', "s390x").replace("oci", "other"),
        linux('c', "ppc64le"),
    ]));
    let refusal = |places: &[usize]| index.check_kept(places).unwrap_err().to_string();

    assert!(index.check_kept(&[0]).is_ok());
    assert!(
        refusal(&[0, 1]).starts_with("entries 2 and 4 of the image index both list sha256:bbb")
    );
    assert!(refusal(&[3]).contains("different sizes"));
    assert!(refusal(&[5]).contains("different media types"));
}

#[test]
fn any_number_of_equal_entries_is_read() {
    let text = index(&vec![linux('a', "amd64"); 40]);

    assert_eq!(parse(&text).places_of(&[digest('a')]), Some(vec![0]));
}

#[test]
fn digests_lead_back_to_places() {
    let index = parse(&index(&[
        linux('a', "arm"),
        linux('b', "amd64"),
        linux('a', "arm64"),
    ]));

    assert_eq!(index.places_of(&[digest('a')]), Some(vec![0, 2]));
    assert_eq!(
        index.places_of(&[digest('b'), digest('a')]),
        Some(vec![0, 1, 2])
    );
    assert_eq!(index.places_of(&[digest('c')]), None);
}

#[test]
fn flattening_puts_the_entries_of_nested_indexes_in_their_place() {
    let source = index(&[linux('a', "amd64"), nested('b'), linux('c', "s390x")]);
    let child = index(&[linux('d', "arm64"), nested('e')]);
    let children = [(digest('b'), child)];
    let children = children
        .each_ref()
        .map(|(digest, child)| (digest.as_str(), child.as_bytes()));

    let flat = flatten(source.as_bytes(), &children).unwrap();

    let flat = Index::parse(&flat).unwrap();
    let digests: Vec<_> = flat
        .entries
        .iter()
        .map(|entry| entry.digest.clone())
        .collect();
    assert_eq!(digests, ['a', 'd', 'e', 'c'].map(digest));
    let left: Vec<_> = flat.nested().map(|entry| entry.digest.clone()).collect();
    assert_eq!(left, [digest('e')]);
}

#[test]
fn flattening_lists_an_image_once_that_two_indexes_list() {
    let source = index(&[nested('b'), linux('a', "amd64"), nested('c')]);
    let child = index(&[linux('a', "amd64"), linux('d', "arm64")]);
    let (b, c) = (digest('b'), digest('c'));
    let children = [
        (b.as_str(), child.as_bytes()),
        (c.as_str(), child.as_bytes()),
    ];

    let flat = Index::parse(&flatten(source.as_bytes(), &children).unwrap()).unwrap();

    let digests: Vec<_> = flat
        .entries
        .iter()
        .map(|entry| entry.digest.clone())
        .collect();
    assert_eq!(digests, ['d', 'a'].map(digest));
}

#[test]
fn flattening_keeps_the_raw_text_of_entries() {
    let strange = descriptor('d', r#", "x" : {"b": 1.0, "a":1e2}"#);
    let source = format!(r#"{{"x":1, "manifests": [ {} ] ,"y":2}}"#, nested('b'));
    let child = index(std::slice::from_ref(&strange));
    let b = digest('b');

    let flat = flatten(source.as_bytes(), &[(b.as_str(), child.as_bytes())]).unwrap();

    let expected = format!(r#"{{"x":1, "manifests": [{strange}] ,"y":2}}"#);
    assert_eq!(String::from_utf8(flat).unwrap(), expected);
}

#[test]
fn an_index_that_could_not_be_trimmed_is_not_taken() {
    let entries = linux('a', "amd64");
    let full = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| format!(r#""{n}":"""#)).collect();
        members.join(",")
    };
    let twice = format!(r#"{{"annotations":{{"a":"","a":""}},"manifests":[{entries}]}}"#);
    let beside = |count| format!(r#"{{{},"manifests":[{entries}]}}"#, full(count));
    let within = |count| {
        let annotations = full(count);
        format!(r#"{{"annotations":{{{annotations}}},"manifests":[{entries}]}}"#)
    };

    assert!(refusal(&twice).contains("key `a` comes twice"));
    for text in [beside(999), within(1_000)] {
        assert!(refusal(&text).contains("more than 999 members"));
    }
    for text in [beside(998), within(999)] {
        let trimmed = crate::trim(text.as_bytes(), &[0], &digest('b')).unwrap();
        assert_eq!(Index::parse(&trimmed).unwrap().entries.len(), 1);
    }
}
