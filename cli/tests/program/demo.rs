//! The demo, as people start it.

use tempfile::tempdir;

use crate::process::{printed, run};

#[test]
fn the_demo_shows_what_each_type_got() {
    let home = tempdir().unwrap();

    let pulls = printed(&run(&home, &["demo", "-o", "json"]));

    let pulls: serde_json::Value = serde_json::from_str(&pulls).unwrap();
    let pulls = pulls.as_array().unwrap();
    assert_eq!(pulls.len(), 6);
    for pull in pulls {
        assert_eq!(pull["variant"], pull["expected"], "{pull}");
    }
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
