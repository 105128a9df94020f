//! Compares the features of the host's type with the host's own: a type with
//! features that the host lacks selects variants that the host cannot run.

use std::path::Path;

use metahub_host::{credential::HostCredential, detect::detect};
use metahub_policy::{CpuTable, choose_type};

use super::{finding::Finding, registry::Caller};
use crate::commands::host::machine::with_given;

const CHECK: &str = "type";

pub(super) fn check(root: &Path, credential: &HostCredential, caller: &Caller) -> Vec<Finding> {
    let mut findings = Vec::new();
    let own = credential.machine_type.replace('/', "-");
    if caller.name != own {
        let what = format!(
            "the workers serve this host as {}, and its credential says {own}",
            caller.name
        );
        findings.push(Finding::warn(CHECK, what, "metahubctl host report"));
    }
    findings.extend(compare(root, &credential.features, caller));
    findings
}

/// One finding for each feature of the type that the host does not have.
fn compare(root: &Path, given: &[String], caller: &Caller) -> Vec<Finding> {
    let (name, cpus) = (&caller.name, CpuTable::builtin());
    let detected = match detect(root, &cpus) {
        Ok(detected) => detected,
        Err(error) => {
            let next = "name the host's root directory: --root DIR";
            return vec![Finding::fail(CHECK, error.to_string(), next)];
        }
    };
    let own = with_given(detected, given).features;
    let choice = match choose_type(&own, &[&caller.machine_type], &cpus) {
        Ok(choice) => choice,
        Err(error) => {
            let what = format!("{name} cannot be compared with this host: {error}");
            let next = "metahubctl host detect; names of `metahubctl cpu list` are not known here";
            return vec![Finding::warn(CHECK, what, next)];
        }
    };
    let unmet: Vec<_> = choice.unmet.into_iter().flatten().collect();
    if unmet.is_empty() {
        let features = match caller.machine_type.features.as_slice() {
            [] => "nothing".to_owned(),
            features => features.join(" "),
        };
        let what = format!("this host has all that {name} says: {features}");
        return vec![Finding::ok(CHECK, what)];
    }
    let line = |unmet| {
        let what = format!("this host does not have all of {name}: {unmet}");
        let next = "metahubctl host report, or an admin: metahubctl host move, type update; see metahubctl host detect";
        Finding::fail(CHECK, what, next)
    };
    unmet.iter().map(line).collect()
}
