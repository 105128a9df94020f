//! Between the wire and the records, the only place that knows both.

use metahub_policy::{
    Cpu, GpuMatch, Grant, MatchMode, OnNoMatch, Platforms, Present, Rule, RuleMatch,
};
use metahub_proto::{admin::v1 as admin, policy::v1 as policy};

use secrecy::{ExposeSecret, SecretString};

use crate::record::{
    Blobs, Login, MachineType, NewLogin, Pin, Recipe, Revision, Status, Upstream, UpstreamSecrets,
    Worker, from_unix,
};

/// An empty text on the wire says that there is none.
fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

pub(super) fn machine_type(wire: policy::MachineType) -> MachineType {
    let shape = metahub_policy::MachineType {
        gpu: gpu(wire.gpu()),
        mode: mode(wire.r#match()),
        on_no_match: on_no_match(wire.on_no_match()),
        present: present(wire.present()),
        platforms: platforms(wire.platforms()),
        os: wire.os,
        architecture: some(wire.architecture),
        variant: some(wire.variant),
        os_version: some(wire.os_version),
        features: wire.features,
        also_runs: wire.also_runs,
    };
    MachineType {
        user: wire.user,
        name: wire.name,
        shape,
    }
}

pub(super) fn to_machine_type(record: MachineType) -> policy::MachineType {
    let shape = record.shape;
    policy::MachineType {
        user: record.user,
        name: record.name,
        os: shape.os,
        architecture: shape.architecture.unwrap_or_default(),
        variant: shape.variant.unwrap_or_default(),
        os_version: shape.os_version.unwrap_or_default(),
        features: shape.features,
        also_runs: shape.also_runs,
        gpu: to_gpu(shape.gpu).into(),
        r#match: to_mode(shape.mode).into(),
        on_no_match: to_on_no_match(shape.on_no_match).into(),
        present: to_present(shape.present).into(),
        platforms: to_platforms(shape.platforms).into(),
    }
}

fn gpu(wire: policy::GpuMatch) -> GpuMatch {
    match wire {
        policy::GpuMatch::Unspecified | policy::GpuMatch::All => GpuMatch::All,
        policy::GpuMatch::Any => GpuMatch::Any,
    }
}

fn to_gpu(gpu: GpuMatch) -> policy::GpuMatch {
    match gpu {
        GpuMatch::All => policy::GpuMatch::All,
        GpuMatch::Any => policy::GpuMatch::Any,
    }
}

fn mode(wire: policy::MatchMode) -> MatchMode {
    match wire {
        policy::MatchMode::Unspecified | policy::MatchMode::Best => MatchMode::Best,
        policy::MatchMode::Exact => MatchMode::Exact,
        policy::MatchMode::BestNoGeneric => MatchMode::BestNoGeneric,
    }
}

fn to_mode(mode: MatchMode) -> policy::MatchMode {
    match mode {
        MatchMode::Best => policy::MatchMode::Best,
        MatchMode::Exact => policy::MatchMode::Exact,
        MatchMode::BestNoGeneric => policy::MatchMode::BestNoGeneric,
    }
}

fn on_no_match(wire: policy::OnNoMatch) -> OnNoMatch {
    match wire {
        policy::OnNoMatch::Unspecified | policy::OnNoMatch::Error => OnNoMatch::Error,
        policy::OnNoMatch::Passthrough => OnNoMatch::Passthrough,
    }
}

fn to_on_no_match(on_no_match: OnNoMatch) -> policy::OnNoMatch {
    match on_no_match {
        OnNoMatch::Error => policy::OnNoMatch::Error,
        OnNoMatch::Passthrough => policy::OnNoMatch::Passthrough,
    }
}

fn present(wire: policy::Present) -> Present {
    match wire {
        policy::Present::Unspecified | policy::Present::Auto => Present::Auto,
        policy::Present::Index => Present::Index,
    }
}

fn to_present(present: Present) -> policy::Present {
    match present {
        Present::Auto => policy::Present::Auto,
        Present::Index => policy::Present::Index,
    }
}

fn platforms(wire: policy::Platforms) -> Platforms {
    match wire {
        policy::Platforms::Unspecified | policy::Platforms::Own => Platforms::Own,
        policy::Platforms::All => Platforms::All,
    }
}

fn to_platforms(platforms: Platforms) -> policy::Platforms {
    match platforms {
        Platforms::Own => policy::Platforms::Own,
        Platforms::All => policy::Platforms::All,
    }
}

/// A value as JSON; an empty text is none.
pub(super) fn json(text: &str) -> serde_json::Result<Option<serde_json::Value>> {
    match text {
        "" => Ok(None),
        text => serde_json::from_str(text).map(Some),
    }
}

pub(super) fn new_login(wire: admin::NewLogin) -> NewLogin {
    NewLogin {
        name: wire.name,
        secret: wire.secret,
    }
}

pub(super) fn login(wire: admin::LoginSummary) -> Login {
    Login {
        name: wire.name,
        user: wire.user,
        machine_type: wire.machine_type,
        allow_selectors: wire.allow_selectors,
    }
}

pub(super) fn upstream(wire: policy::Upstream) -> Upstream {
    Upstream {
        blobs: match wire.blobs() {
            policy::Blobs::Unspecified | policy::Blobs::Proxy => Blobs::Proxy,
            policy::Blobs::Redirect => Blobs::Redirect,
        },
        name: wire.name,
        url: wire.url,
        default: wire.is_default,
        username: wire.username,
        restricted: wire.restricted,
        insecure: wire.insecure,
        ca_pem: wire.ca_pem,
        hosts: wire.hosts,
        http1: wire.http1,
        fallback_urls: wire.fallback_urls,
        proxy: wire.proxy,
        repository_prefix: wire.repository_prefix,
        token_hosts: wire.token_hosts,
        client_cert_pem: wire.client_cert_pem,
    }
}

pub(super) fn to_upstream(record: Upstream, secrets: UpstreamSecrets) -> policy::Upstream {
    let exposed = |secret: Option<SecretString>| {
        secret.map_or_else(String::new, |it| it.expose_secret().to_owned())
    };
    policy::Upstream {
        name: record.name,
        url: record.url,
        is_default: record.default,
        username: record.username,
        password: exposed(secrets.password),
        restricted: record.restricted,
        insecure: record.insecure,
        ca_pem: record.ca_pem,
        blobs: match record.blobs {
            Blobs::Proxy => policy::Blobs::Proxy,
            Blobs::Redirect => policy::Blobs::Redirect,
        }
        .into(),
        hosts: record.hosts,
        http1: record.http1,
        fallback_urls: record.fallback_urls,
        proxy: record.proxy,
        proxy_password: exposed(secrets.proxy_password),
        repository_prefix: record.repository_prefix,
        token_hosts: record.token_hosts,
        client_cert_pem: record.client_cert_pem,
        client_key_pem: exposed(secrets.client_key_pem),
    }
}

pub(super) fn rule(wire: policy::Rule) -> Rule {
    let matches = wire.r#match.unwrap_or_default();
    Rule {
        name: wire.name,
        repository: wire.repository,
        tag: wire.tag,
        matches: RuleMatch {
            os: matches.os,
            architecture: matches.architecture,
            variant: matches.variant,
            os_version: matches.os_version,
            digest: matches.digest,
        },
        requires: wire.requires,
    }
}

pub(super) fn to_rule(rule: Rule) -> policy::Rule {
    let matches = rule.matches;
    policy::Rule {
        name: rule.name,
        repository: rule.repository,
        tag: rule.tag,
        r#match: Some(policy::RuleMatch {
            os: matches.os,
            architecture: matches.architecture,
            variant: matches.variant,
            os_version: matches.os_version,
            digest: matches.digest,
        }),
        requires: rule.requires,
    }
}

pub(super) fn pin(wire: policy::Pin) -> Pin {
    Pin {
        user: wire.user,
        machine_type: wire.machine_type,
        repository: wire.repository,
        digest: wire.digest,
    }
}

pub(super) fn to_pin(record: Pin) -> policy::Pin {
    policy::Pin {
        user: record.user,
        machine_type: record.machine_type,
        repository: record.repository,
        digest: record.digest,
    }
}

pub(super) fn grant(wire: policy::Grant) -> Grant {
    Grant {
        user: (!wire.all_users).then_some(wire.user),
        repository: wire.repository,
    }
}

pub(super) fn to_grant(grant: Grant) -> policy::Grant {
    policy::Grant {
        all_users: grant.user.is_none(),
        user: grant.user.unwrap_or_default(),
        repository: grant.repository,
    }
}

pub(super) fn cpu(wire: policy::Cpu) -> Cpu {
    Cpu {
        name: wire.name,
        parents: wire.parents,
        features: wire.features,
        aliases: wire.aliases,
    }
}

pub(super) fn to_cpu(cpu: Cpu) -> policy::Cpu {
    policy::Cpu {
        name: cpu.name,
        parents: cpu.parents,
        features: cpu.features,
        aliases: cpu.aliases,
    }
}

pub(super) fn recipe(wire: policy::Recipe) -> Recipe {
    Recipe {
        digest: wire.digest,
        upstream: wire.upstream,
        repository: wire.repository,
        source_digest: wire.source_digest,
        kept: wire.kept,
        kept_places: wire.kept_places,
        user: wire.user,
        last_used: from_unix(wire.last_used_unix_secs),
    }
}

pub(super) fn revision(wire: policy::Revision) -> Revision {
    Revision {
        epoch: wire.epoch,
        number: wire.number,
    }
}

pub(super) fn to_revision(record: Revision) -> policy::Revision {
    policy::Revision {
        epoch: record.epoch,
        number: record.number,
    }
}

pub(super) fn worker(wire: admin::Worker) -> Worker {
    Worker {
        id: wire.id,
        version: wire.version,
        registry_address: wire.registry_address,
        peer_address: wire.peer_address,
        connected: wire.connected,
        applied: wire.applied.map(revision),
        lag_ms: wire.lag_ms,
        rejected_reason: wire.rejected_reason,
        digest: wire.digest,
        mismatches: wire.mismatches,
        mismatch: wire.mismatch,
        doubled: wire.doubled,
        since: from_unix(wire.since_unix_secs),
    }
}

pub(super) fn status(wire: admin::GetStatusResponse) -> Status {
    Status {
        version: wire.version,
        revision: wire.revision.map(revision),
        users: wire.users,
        machine_types: wire.machine_types,
        logins: wire.logins,
        workers_connected: wire.workers_connected,
        workers_current: wire.workers_current,
        workers_lost: wire.workers_lost,
        workers_doubled: wire.workers_doubled,
        refused_calls: wire.refused_calls,
        hosts: wire.hosts,
        hosts_drifted: wire.hosts_drifted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_type_survives_the_wire() {
        let shape: metahub_policy::MachineType = serde_json::from_value(serde_json::json!({
            "os": "windows",
            "architecture": "amd64",
            "os.version": "10.0.20348.1",
            "features": ["cpu:broadwell", "nvcap:5.2"],
            "also_runs": ["haswell"],
            "gpu": "any",
            "match": "best-no-generic",
            "on_no_match": "passthrough",
            "present": "index",
            "platforms": "all",
        }))
        .unwrap();
        let record = MachineType {
            user: "qnib".into(),
            name: "type1".into(),
            shape: shape.clone(),
        };

        let back = machine_type(to_machine_type(record));

        assert_eq!(back.shape, shape);
    }
}
