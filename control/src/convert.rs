//! Between the contract's messages and the control plane's own values: the
//! only place that knows both.
//!
//! In the contract an empty text means "not given". Enumerations that this
//! program does not know are refused, so that no wish is lost unseen.

mod access;
mod admin;
mod audit;
mod declaration;
mod hosts;
mod joining;
mod upstreams;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use metahub_policy::{
    Cpu, GpuMatch, Grant, MatchMode, OnNoMatch, Platforms, Present, Rule, RuleMatch, StateDigest,
};
use metahub_proto::policy::v1 as proto;
use prost::Message;

use crate::{
    Error, Result, Revision,
    feed::Change,
    fleet::Identity,
    records::{Key, Login, MachineType, Pin, Purge, Recipe, Record, SigningKey},
    secrets,
};

pub(crate) use self::access::{admin_token, auth_settings, token_wish_from, who};
pub(crate) use self::admin::{login_summary, new_login, user, worker};
pub(crate) use self::audit::{audit_start_from, audited};
pub(crate) use self::declaration::{declaration_from, declaration_pieces, outcome_parts};
pub(crate) use self::hosts::{
    hex, host, host_evidence, host_facts_from, host_token, host_token_wish_from,
};
pub(crate) use self::joining::{
    authority, issued_certificate, join_token, join_token_text, join_token_wish_from,
};
pub(crate) use self::upstreams::{listed_upstream, upstream_from};

/// An encoded `State`: records that are put one after the other.
pub(crate) fn encode_state<'a>(records: impl Iterator<Item = (&'a Key, &'a Arc<Record>)>) -> Bytes {
    let mut buffer = BytesMut::new();
    for (key, value) in records {
        // Encodings of one message put together are its fields put together.
        let piece = proto::State {
            records: encode_record(key, value).into_iter().collect(),
        };
        append(&piece, &mut buffer);
    }
    buffer.freeze()
}

/// An encoded `Delta`. `None` stands for a record that is gone.
pub(crate) fn encode_delta<'a>(
    changed: impl Iterator<Item = (&'a Key, Option<&'a Arc<Record>>)>,
) -> Bytes {
    let mut delta = proto::Delta::default();
    for (key, value) in changed {
        match value {
            Some(value) => delta.put.extend(encode_record(key, value)),
            None => delta.deleted.push(key.as_str().to_owned()),
        }
    }
    let mut buffer = BytesMut::new();
    append(&delta, &mut buffer);
    buffer.freeze()
}

pub(crate) fn change(it: Change) -> proto::Change {
    proto::Change {
        base: Some(revision(it.base)),
        revision: Some(revision(it.revision)),
        delta: it.delta,
        digest: digest(it.digest),
    }
}

/// What a record adds to the digest of the state that workers hold: nothing
/// when they do not get it.
pub(crate) fn record_digest(key: &Key, value: &Record) -> StateDigest {
    encode_record(key, value).map_or_else(StateDigest::default, |it| StateDigest::of(&it))
}

pub(crate) fn digest(digest: StateDigest) -> Bytes {
    Bytes::copy_from_slice(&digest.to_bytes())
}

/// `None`: the worker keeps none, or not in this way.
pub(crate) fn digest_from(bytes: &[u8]) -> Option<StateDigest> {
    StateDigest::from_bytes(bytes)
}

fn encode_record(key: &Key, value: &Record) -> Option<Bytes> {
    record(key, value).map(|it| it.encode_to_vec().into())
}

fn append(message: &impl Message, buffer: &mut BytesMut) {
    buffer.reserve(message.encoded_len());
    message.encode(buffer).expect("the buffer was made to fit");
}

/// `None` for what stays here: the contract has no message for it.
fn record(key: &Key, value: &Record) -> Option<proto::Record> {
    use proto::record::Value;
    let value = match value {
        Record::User(_)
        | Record::AdminToken(_)
        | Record::HostToken(_)
        | Record::Authority(_)
        | Record::JoinToken(_)
        | Record::JoinedWorker(_) => {
            return None;
        }
        Record::MachineType(it) => Value::MachineType(machine_type(it)),
        Record::Login(it) => Value::Login(login(it)),
        Record::Upstream(it) => Value::Upstream(upstreams::upstream(it)),
        Record::Rule(it) => Value::Rule(rule(it)),
        Record::Pin(it) => Value::Pin(pin(it)),
        Record::Cpu(it) => Value::Cpu(cpu(it)),
        Record::Recipe(it) => Value::Recipe(recipe(it)),
        Record::Purge(it) => Value::Purge(purge(it)),
        Record::SigningKey(it) => Value::SigningKey(signing_key(it)),
        Record::Grant(it) => Value::Grant(grant(it)),
    };
    Some(proto::Record {
        key: key.as_str().to_owned(),
        value: Some(value),
    })
}

pub(crate) fn revision(revision: Revision) -> proto::Revision {
    proto::Revision {
        epoch: revision.epoch,
        number: revision.number,
    }
}

pub(crate) fn revision_from(revision: proto::Revision) -> Revision {
    Revision {
        epoch: revision.epoch,
        number: revision.number,
    }
}

pub(crate) fn identity_from(hello: &proto::Hello) -> Identity {
    Identity {
        id: hello.worker_id.clone(),
        version: hello.version.clone(),
        registry_address: hello.registry_address.clone(),
        peer: None,
    }
}

pub(crate) fn machine_type(it: &MachineType) -> proto::MachineType {
    let spec = &it.spec;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    proto::MachineType {
        user: it.user.clone(),
        name: it.name.clone(),
        os: spec.os.clone(),
        architecture: text(&spec.architecture),
        variant: text(&spec.variant),
        os_version: text(&spec.os_version),
        features: spec.features.clone(),
        also_runs: spec.also_runs.clone(),
        gpu: gpu_match(spec.gpu).into(),
        r#match: match_mode(spec.mode).into(),
        on_no_match: on_no_match(spec.on_no_match).into(),
        present: present(spec.present).into(),
        platforms: platforms(spec.platforms).into(),
    }
}

pub(crate) fn machine_type_from(message: Option<proto::MachineType>) -> Result<MachineType> {
    let message = message.ok_or_else(|| missing("machine_type"))?;
    let (gpu, mode) = (message.gpu(), message.r#match());
    let (on_no_match, present) = (message.on_no_match(), message.present());
    let platforms = message.platforms();
    known::<proto::GpuMatch>("machine_type.gpu", message.gpu)?;
    known::<proto::MatchMode>("machine_type.match", message.r#match)?;
    known::<proto::OnNoMatch>("machine_type.on_no_match", message.on_no_match)?;
    known::<proto::Present>("machine_type.present", message.present)?;
    known::<proto::Platforms>("machine_type.platforms", message.platforms)?;
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(MachineType {
        user: message.user,
        name: message.name,
        spec: metahub_policy::MachineType {
            os: given(message.os).unwrap_or_else(|| "linux".into()),
            architecture: given(message.architecture),
            variant: given(message.variant),
            os_version: given(message.os_version),
            features: message.features,
            also_runs: message.also_runs,
            gpu: gpu_match_from(gpu),
            mode: match_mode_from(mode),
            on_no_match: on_no_match_from(on_no_match),
            present: present_from(present),
            platforms: platforms_from(platforms),
        },
    })
}

fn missing(field: &str) -> Error {
    Error::invalid(field, "is missing")
}

fn known<E: TryFrom<i32>>(field: &str, value: i32) -> Result<()> {
    match E::try_from(value) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::invalid(
            field,
            format!("{value} is not known here: the control plane may be older than the client"),
        )),
    }
}

fn gpu_match(it: GpuMatch) -> proto::GpuMatch {
    match it {
        GpuMatch::All => proto::GpuMatch::All,
        GpuMatch::Any => proto::GpuMatch::Any,
    }
}

fn gpu_match_from(message: proto::GpuMatch) -> GpuMatch {
    match message {
        proto::GpuMatch::Unspecified | proto::GpuMatch::All => GpuMatch::All,
        proto::GpuMatch::Any => GpuMatch::Any,
    }
}

fn match_mode(it: MatchMode) -> proto::MatchMode {
    match it {
        MatchMode::Best => proto::MatchMode::Best,
        MatchMode::Exact => proto::MatchMode::Exact,
        MatchMode::BestNoGeneric => proto::MatchMode::BestNoGeneric,
    }
}

fn match_mode_from(message: proto::MatchMode) -> MatchMode {
    match message {
        proto::MatchMode::Unspecified | proto::MatchMode::Best => MatchMode::Best,
        proto::MatchMode::Exact => MatchMode::Exact,
        proto::MatchMode::BestNoGeneric => MatchMode::BestNoGeneric,
    }
}

fn on_no_match(it: OnNoMatch) -> proto::OnNoMatch {
    match it {
        OnNoMatch::Error => proto::OnNoMatch::Error,
        OnNoMatch::Passthrough => proto::OnNoMatch::Passthrough,
    }
}

fn on_no_match_from(message: proto::OnNoMatch) -> OnNoMatch {
    match message {
        proto::OnNoMatch::Unspecified | proto::OnNoMatch::Error => OnNoMatch::Error,
        proto::OnNoMatch::Passthrough => OnNoMatch::Passthrough,
    }
}

fn present(it: Present) -> proto::Present {
    match it {
        Present::Auto => proto::Present::Auto,
        Present::Index => proto::Present::Index,
    }
}

fn present_from(message: proto::Present) -> Present {
    match message {
        proto::Present::Unspecified | proto::Present::Auto => Present::Auto,
        proto::Present::Index => Present::Index,
    }
}

fn platforms(it: Platforms) -> proto::Platforms {
    match it {
        Platforms::Own => proto::Platforms::Own,
        Platforms::All => proto::Platforms::All,
    }
}

fn platforms_from(message: proto::Platforms) -> Platforms {
    match message {
        proto::Platforms::Unspecified | proto::Platforms::Own => Platforms::Own,
        proto::Platforms::All => Platforms::All,
    }
}

fn login(it: &Login) -> proto::Login {
    proto::Login {
        name: it.name(),
        user: it.user.clone(),
        machine_type: it.machine_type.clone(),
        secret_sha256: it.secret_sha256_bytes().into(),
        allow_selectors: it.allow_selectors,
    }
}

pub(crate) fn rule(it: &Rule) -> proto::Rule {
    proto::Rule {
        name: it.name.clone(),
        repository: it.repository.clone(),
        tag: it.tag.clone(),
        r#match: Some(proto::RuleMatch {
            os: it.matches.os.clone(),
            architecture: it.matches.architecture.clone(),
            variant: it.matches.variant.clone(),
            os_version: it.matches.os_version.clone(),
            digest: it.matches.digest.clone(),
        }),
        requires: it.requires.clone(),
    }
}

pub(crate) fn rule_from(message: Option<proto::Rule>) -> Result<Rule> {
    let message = message.ok_or_else(|| missing("rule"))?;
    let matches = message.r#match.unwrap_or_default();
    Ok(Rule {
        name: message.name,
        repository: message.repository,
        tag: message.tag,
        matches: RuleMatch {
            os: matches.os,
            architecture: matches.architecture,
            variant: matches.variant,
            os_version: matches.os_version,
            digest: matches.digest,
        },
        requires: message.requires,
    })
}

pub(crate) fn pin(it: &Pin) -> proto::Pin {
    proto::Pin {
        user: it.user.clone(),
        machine_type: it.machine_type.clone(),
        repository: it.repository.clone(),
        digest: it.digest.clone(),
    }
}

pub(crate) fn pin_from(message: Option<proto::Pin>) -> Result<Pin> {
    let message = message.ok_or_else(|| missing("pin"))?;
    Ok(Pin {
        user: message.user,
        machine_type: message.machine_type,
        repository: message.repository,
        digest: message.digest,
    })
}

pub(crate) fn grant(it: &Grant) -> proto::Grant {
    proto::Grant {
        user: it.user.clone().unwrap_or_default(),
        repository: it.repository.clone(),
        all_users: it.user.is_none(),
    }
}

pub(crate) fn grant_from(message: Option<proto::Grant>) -> Result<Grant> {
    let message = message.ok_or_else(|| missing("grant"))?;
    if message.user.is_empty() != message.all_users {
        return Err(Error::invalid("grant.user", "give a user or all users"));
    }
    Ok(Grant {
        user: (!message.all_users).then_some(message.user),
        repository: message.repository,
    })
}

pub(crate) fn cpu(it: &Cpu) -> proto::Cpu {
    proto::Cpu {
        name: it.name.clone(),
        parents: it.parents.clone(),
        features: it.features.clone(),
        aliases: it.aliases.clone(),
    }
}

pub(crate) fn cpu_from(message: Option<proto::Cpu>) -> Result<Cpu> {
    let message = message.ok_or_else(|| missing("cpu"))?;
    Ok(Cpu {
        name: message.name,
        parents: message.parents,
        features: message.features,
        aliases: message.aliases,
    })
}

pub(crate) fn recipe(it: &Recipe) -> proto::Recipe {
    proto::Recipe {
        digest: it.digest.clone(),
        upstream: it.upstream.clone(),
        repository: it.repository.clone(),
        source_digest: it.source_digest.clone(),
        kept: it.kept.clone(),
        kept_places: it.kept_places.clone(),
        user: it.user.clone(),
        last_used_unix_secs: it.last_used_unix_secs,
    }
}

fn purge(it: &Purge) -> proto::Purge {
    proto::Purge {
        id: it.id.clone(),
        upstream: it.upstream.clone(),
        repository: it.repository.clone(),
        digest: it.digest.clone(),
        requested_unix_secs: it.requested_unix_secs,
    }
}

fn signing_key(it: &SigningKey) -> proto::SigningKey {
    proto::SigningKey {
        id: it.id.clone(),
        seed: secrets::bytes(&it.seed).unwrap_or_default().into(),
        signs_from_unix_secs: it.signs_from_unix_secs,
    }
}

pub(crate) fn recipe_key_from(message: &proto::FindRecipeRequest) -> Key {
    Key::recipe(&message.digest, &message.upstream, &message.repository)
}

pub(crate) fn recipe_from(message: Option<proto::Recipe>) -> Result<Recipe> {
    let message = message.ok_or_else(|| missing("recipe"))?;
    Ok(Recipe {
        digest: message.digest,
        upstream: message.upstream,
        repository: message.repository,
        source_digest: message.source_digest,
        kept: message.kept,
        kept_places: message.kept_places,
        user: message.user,
        last_used_unix_secs: 0,
    })
}
