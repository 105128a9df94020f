//! The features of the host's type against what the host is: a type that
//! promises more than the host has makes it run what it cannot.

use std::path::Path;

use metahub_host::{credential::HostCredential, detect::detect};
use metahub_policy::CpuTable;

use super::{finding::Finding, registry::Caller};

const CHECK: &str = "type";

pub(super) fn check(root: &Path, credential: &HostCredential, caller: &Caller) -> Vec<Finding> {
    let own = credential.machine_type.replace('/', "-");
    let mut findings = Vec::new();
    if caller.name != own {
        let what = format!(
            "the workers serve this host as {}, and its credential says {own}",
            caller.name
        );
        findings.push(Finding::warn(CHECK, what, "metahubctl host report"));
    }
    match detect(root, &CpuTable::builtin()) {
        Ok(_) => {
            let what = format!(
                "{}: {}",
                caller.name,
                caller.machine_type.features.join(", ")
            );
            findings.push(Finding::ok(CHECK, what));
        }
        Err(error) => {
            let next = "name the host's root directory: --root DIR";
            findings.push(Finding::fail("detect", error.to_string(), next));
        }
    }
    findings
}
