//! Fails when the checked-in bindings differ from `etcd/etcd.proto`.
//!
//! Run `UPDATE=1 cargo test -p metahub-control --test etcd_bindings` to write
//! them anew.

use std::{fs, path::Path};

const BINDINGS: &str = "etcdserverpb.rs";

#[test]
fn bindings_match_the_proto_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh_dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let descriptors =
        protox::compile(["etcd.proto"], [root.join("etcd")]).expect("the proto file must compile");

    tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        .build_server(false)
        .bytes(".")
        .out_dir(fresh_dir)
        .compile_fds(descriptors)
        .expect("the bindings must generate");

    let fresh = fs::read_to_string(fresh_dir.join(BINDINGS)).expect("generated");
    let checked_in = root.join("src/store/etcd/generated").join(BINDINGS);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&checked_in, &fresh).expect("write the bindings");
    }
    let current = fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(
        current == fresh,
        "stale: run UPDATE=1 cargo test -p metahub-control --test etcd_bindings"
    );
}
