//! Tests of reading and flattening indexes.

use super::*;

#[test]
fn an_empty_index_is_legal() {
    assert_eq!(Index::parse(br#"{"manifests":[]}"#).unwrap().entries, []);
    assert_eq!(Index::parse(br#"{"manifests":null}"#).unwrap().entries, []);
}
