//! The built-in table of CPU names against what it is made from.

use std::{path::Path, process::Command};

use metahub_tests::program;

#[test]
fn the_cpu_table_agrees_with_archspec_and_with_clang() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy/data/make_cpus.py");
    let mut check = Command::new(program::cpus_python());
    check.arg("-B").arg(script).arg("--check");

    let checked = check.output().expect("Python runs");

    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
}
