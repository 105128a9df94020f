//! Fails when the checked-in bindings differ from the `.proto` files.
//!
//! Run `UPDATE=1 cargo test -p metahub-proto` to write them anew.

use std::{fs, path::Path};

const PROTOS: [&str; 11] = [
    "metahub/policy/v1/records.proto",
    "metahub/policy/v1/policy.proto",
    "metahub/policy/v1/join.proto",
    "metahub/policy/v1/host.proto",
    "metahub/admin/v1/admin.proto",
    "metahub/admin/v1/audit.proto",
    "metahub/admin/v1/access.proto",
    "metahub/admin/v1/declaration.proto",
    "metahub/admin/v1/joining.proto",
    "metahub/admin/v1/hosts.proto",
    "metahub/admin/v1/authority.proto",
];
const BINDINGS: [&str; 3] = ["metahub.policy.v1.rs", "metahub.admin.v1.rs", CALLS];
/// Every call, for those who must not forget one.
const CALLS: &str = "calls.rs";

#[test]
fn bindings_match_the_proto_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh_dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let descriptors = protox::compile(PROTOS, [root]).expect("the proto files must compile");

    let services = descriptors.file.iter().flat_map(|file| {
        let services = file.service.iter();
        services.map(|service| (file.package(), service))
    });
    let calls: Vec<String> = services
        .flat_map(|(package, service)| {
            let methods = service.method.iter();
            methods.map(move |call| format!("/{package}.{}/{}", service.name(), call.name()))
        })
        .collect();
    fs::write(fresh_dir.join(CALLS), format!("{calls:#?}\n")).expect("write the calls");

    tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        .bytes(".")
        .out_dir(fresh_dir)
        .compile_fds(descriptors)
        .expect("the bindings must generate");

    for name in BINDINGS {
        let fresh = fs::read_to_string(fresh_dir.join(name)).expect("generated");
        let checked_in = root.join("src/generated").join(name);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&checked_in, &fresh).expect("write the bindings");
        }
        let current = fs::read_to_string(&checked_in).unwrap_or_default();
        assert!(
            current == fresh,
            "{name} is stale: run UPDATE=1 cargo test -p metahub-proto"
        );
    }
}
