//! Between records and their declared form, for those that hold no secret.

use metahub_policy::{Cpu, Grant, MachineType, Rule, RuleMatch};

use super::{DeclaredCpu, DeclaredGrant, DeclaredMatch, DeclaredPin, DeclaredRule, DeclaredType};
use crate::records::Pin;

pub(super) fn spec(declared: DeclaredType) -> MachineType {
    let default = MachineType::default();
    MachineType {
        os: declared.os.unwrap_or(default.os),
        architecture: declared.architecture,
        variant: declared.variant,
        os_version: declared.os_version,
        features: declared.features,
        also_runs: declared.also_runs,
        gpu: declared.gpu,
        mode: declared.mode,
        on_no_match: declared.on_no_match,
        present: declared.present,
        platforms: declared.platforms,
    }
}

pub(super) fn declared_type(name: &str, spec: &MachineType) -> DeclaredType {
    let default = MachineType::default();
    DeclaredType {
        name: name.to_owned(),
        os: Some(spec.os.clone()).filter(|os| *os != default.os),
        architecture: spec.architecture.clone(),
        variant: spec.variant.clone(),
        os_version: spec.os_version.clone(),
        features: spec.features.clone(),
        also_runs: spec.also_runs.clone(),
        gpu: spec.gpu,
        mode: spec.mode,
        on_no_match: spec.on_no_match,
        present: spec.present,
        platforms: spec.platforms,
        ..DeclaredType::default()
    }
}

pub(super) fn rule(declared: DeclaredRule) -> Rule {
    let matches = declared.matches;
    Rule {
        name: declared.name,
        repository: declared.repository,
        tag: declared.tag,
        matches: RuleMatch {
            os: matches.os,
            architecture: matches.architecture,
            variant: matches.variant,
            os_version: matches.os_version,
            digest: matches.digest,
        },
        requires: declared.requires,
    }
}

pub(super) fn declared_rule(rule: &Rule) -> DeclaredRule {
    let matches = rule.matches.clone();
    DeclaredRule {
        name: rule.name.clone(),
        repository: rule.repository.clone(),
        tag: rule.tag.clone(),
        matches: DeclaredMatch {
            os: matches.os,
            architecture: matches.architecture,
            variant: matches.variant,
            os_version: matches.os_version,
            digest: matches.digest,
        },
        requires: rule.requires.clone(),
    }
}

pub(super) fn pin(declared: DeclaredPin) -> Pin {
    Pin {
        user: declared.user,
        machine_type: declared.machine_type,
        repository: declared.repository,
        digest: declared.digest,
    }
}

pub(super) fn declared_pin(pin: &Pin) -> DeclaredPin {
    DeclaredPin {
        user: pin.user.clone(),
        machine_type: pin.machine_type.clone(),
        repository: pin.repository.clone(),
        digest: pin.digest.clone(),
    }
}

pub(super) fn grant(declared: DeclaredGrant) -> Grant {
    Grant {
        user: declared.user,
        repository: declared.repository,
    }
}

pub(super) fn declared_grant(grant: &Grant) -> DeclaredGrant {
    DeclaredGrant {
        user: grant.user.clone(),
        all_users: grant.user.is_none(),
        repository: grant.repository.clone(),
    }
}

pub(super) fn cpu(declared: DeclaredCpu) -> Cpu {
    Cpu {
        name: declared.name,
        parents: declared.parents,
        features: declared.features,
        aliases: declared.aliases,
    }
}

pub(super) fn declared_cpu(cpu: &Cpu) -> DeclaredCpu {
    DeclaredCpu {
        name: cpu.name.clone(),
        parents: cpu.parents.clone(),
        features: cpu.features.clone(),
        aliases: cpu.aliases.clone(),
    }
}
