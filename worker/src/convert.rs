//! Translates the control plane's messages to the worker's own types, and
//! back. No protobuf type goes further than this file and [`crate::sync`].

use std::sync::Arc;

use bytes::Bytes;
use metahub_policy::{
    Cpu, GpuMatch, Grant, MachineType, MatchMode, OnNoMatch, Platforms, Present, Rule, RuleMatch,
    StateDigest,
};
use metahub_proto::policy::v1 as proto;
use prost::Message as _;
use proto::{control_message::Message as Said, record::Value, worker_message::Message as Says};

use crate::{
    purge::Purge,
    reference::{Digest, Repository},
    snapshot::{
        Delta, Entries, Entry, KindName, LoginRecord, PinRecord, Recipe, RecipeName, Record,
        Records, Revision, SigningKey, TypeRecord,
    },
    upstream::{ClientIdentity, Credential, Judgement, Proxy, ProxyChoice, Upstream},
};

/// What the control plane says.
#[derive(Debug)]
pub(crate) enum Event {
    /// A whole snapshot of `size` bytes follows.
    Begin { revision: Revision, size: u64 },
    /// A piece of it.
    Chunk(Bytes),
    /// It is complete.
    Commit {
        revision: Revision,
        /// Of its records, if told.
        digest: Option<StateDigest>,
    },
    /// What changed between two revisions, encoded.
    Change {
        base: Revision,
        revision: Revision,
        delta: Bytes,
        /// Of all records after it, if told.
        digest: Option<StateDigest>,
    },
    /// It is alive, and this is the newest revision.
    Heartbeat {
        newest: Option<Revision>,
        /// Of its records, if told.
        digest: Option<StateDigest>,
    },
    /// Something that a newer control plane says.
    Unknown,
}

/// What the worker says that it holds.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    /// The revision and its digest. `None`: it holds none, or does not trust it.
    pub(crate) held: Option<(Revision, StateDigest)>,
    /// Why it does not.
    pub(crate) distrust: Option<String>,
}

/// A message that cannot be read, or a record that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Unreadable {
    /// Not a message of the contract.
    #[error("the message cannot be decoded")]
    Decode(#[from] prost::DecodeError),
    /// A revision is missing.
    #[error("the message names no revision")]
    NoRevision,
    /// A field of a record is not what it should be.
    #[error("record `{key}`: {field} is not usable")]
    Field { key: String, field: &'static str },
}

/// Reads what the control plane says.
pub(crate) fn event(message: proto::ControlMessage) -> Result<Event, Unreadable> {
    Ok(match message.message {
        Some(Said::SnapshotBegin(begin)) => Event::Begin {
            revision: revision(begin.revision)?,
            size: begin.size_bytes,
        },
        Some(Said::SnapshotChunk(chunk)) => Event::Chunk(chunk.data),
        Some(Said::SnapshotCommit(commit)) => Event::Commit {
            revision: revision(commit.revision)?,
            digest: StateDigest::from_bytes(&commit.digest),
        },
        Some(Said::Change(change)) => Event::Change {
            base: revision(change.base)?,
            revision: revision(change.revision)?,
            delta: change.delta,
            digest: StateDigest::from_bytes(&change.digest),
        },
        Some(Said::Heartbeat(beat)) => Event::Heartbeat {
            newest: revision(beat.revision).ok(),
            digest: StateDigest::from_bytes(&beat.digest),
        },
        None => Event::Unknown,
    })
}

/// The fingerprint of the authority that certificates are from, if the message
/// tells it.
pub(crate) fn authority(message: &proto::ControlMessage) -> Option<&str> {
    match &message.message {
        Some(Said::Heartbeat(beat)) => Some(&beat.authority),
        _ => None,
    }
}

/// Reads a whole encoded `State`.
pub(crate) fn state(encoded: Bytes) -> Result<Records, Unreadable> {
    let records = entries(proto::State::decode(encoded)?.records)?;
    Ok(records.into_iter().collect())
}

/// Reads an encoded `Delta`.
pub(crate) fn delta(encoded: Bytes) -> Result<Delta, Unreadable> {
    let delta = proto::Delta::decode(encoded)?;
    Ok(Delta {
        put: entries(delta.put)?,
        deleted: delta.deleted,
    })
}

/// Says who the worker is.
pub(crate) fn hello(id: &str, address: &str, claim: Claim) -> proto::WorkerMessage {
    let held = claim
        .held
        .map(|(revision, digest)| (revision.into(), digest.to_bytes()));
    let (held, digest) = held.unzip();
    says(Says::Hello(proto::Hello {
        worker_id: id.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        held,
        registry_address: address.to_owned(),
        digest: digest.map(Bytes::from_owner).unwrap_or_default(),
        distrust: claim.distrust.unwrap_or_default(),
    }))
}

/// Says that `revision` is served.
pub(crate) fn applied(revision: Revision) -> proto::WorkerMessage {
    let revision = Some(revision.into());
    says(Says::Applied(proto::Applied { revision }))
}

/// Says that `revision` was refused.
pub(crate) fn rejected(revision: Revision, reason: String) -> proto::WorkerMessage {
    let revision = Some(revision.into());
    says(Says::Rejected(proto::Rejected { revision, reason }))
}

/// Says that the worker is alive and what it serves.
pub(crate) fn heartbeat(held: Option<(Revision, StateDigest)>) -> proto::WorkerMessage {
    let digest = held.map(|(_, digest)| digest.to_bytes());
    says(Says::Heartbeat(proto::Heartbeat {
        revision: held.map(|(revision, _)| revision.into()),
        digest: digest.map(Bytes::from_owner).unwrap_or_default(),
        ..proto::Heartbeat::default()
    }))
}

/// Says that the worker ends.
pub(crate) fn leaving() -> proto::WorkerMessage {
    says(Says::Leaving(proto::Leaving {}))
}

/// Asks to store a recipe.
pub(crate) fn record_recipe(recipe: &Recipe) -> proto::RecordRecipeRequest {
    let (kept, kept_places) = match &recipe.kept {
        Entries::Digests(it) => (it.iter().map(|it| it.as_str().to_owned()).collect(), vec![]),
        Entries::Places(it) => (vec![], it.iter().map(|it| u32::from(*it)).collect()),
    };
    let recipe = proto::Recipe {
        digest: recipe.name.digest.as_str().to_owned(),
        upstream: recipe.name.upstream.to_string(),
        repository: recipe.name.repository.as_str().to_owned(),
        source_digest: recipe.source_digest.as_str().to_owned(),
        kept,
        kept_places,
        user: recipe.user.to_string(),
        last_used_unix_secs: 0,
    };
    proto::RecordRecipeRequest {
        recipe: Some(recipe),
    }
}

/// Asks for a recipe.
pub(crate) fn find_recipe(name: &RecipeName) -> proto::FindRecipeRequest {
    proto::FindRecipeRequest {
        digest: name.digest.as_str().to_owned(),
        upstream: name.upstream.to_string(),
        repository: name.repository.as_str().to_owned(),
    }
}

/// Reads the recipe that was asked for.
pub(crate) fn found_recipe(response: proto::FindRecipeResponse) -> Result<Recipe, Unreadable> {
    let it = response.recipe.unwrap_or_default();
    let key = it.digest.clone();
    recipe(it).map_err(|field| Unreadable::Field { key, field })
}

fn says(message: Says) -> proto::WorkerMessage {
    proto::WorkerMessage {
        message: Some(message),
    }
}

fn revision(revision: Option<proto::Revision>) -> Result<Revision, Unreadable> {
    let proto::Revision { epoch, number } = revision.ok_or(Unreadable::NoRevision)?;
    Ok(Revision { epoch, number })
}

impl From<Revision> for proto::Revision {
    fn from(Revision { epoch, number }: Revision) -> Self {
        Self { epoch, number }
    }
}

fn entries(encoded: Vec<Bytes>) -> Result<Vec<(String, Entry)>, Unreadable> {
    encoded.into_iter().map(entry).collect()
}

/// A kind of record that this worker does not know has a digest only.
fn entry(encoded: Bytes) -> Result<(String, Entry), Unreadable> {
    let digest = StateDigest::of(&encoded);
    let proto::Record { key, value } = proto::Record::decode(encoded)?;
    match value.map(record).transpose() {
        Ok(record) => Ok((key, Entry { record, digest })),
        Err(field) => Err(Unreadable::Field { key, field }),
    }
}

/// The error names the field.
fn record(value: Value) -> Result<Record, &'static str> {
    Ok(match value {
        Value::MachineType(it) => Record::MachineType(Box::new(machine_type(it)?)),
        Value::Login(it) => Record::Login(login(it)?),
        Value::Upstream(it) => Record::Upstream(Arc::new(upstream(it)?)),
        Value::Rule(it) => Record::Rule(Box::new(rule(it))),
        Value::Pin(it) => Record::Pin(Box::new(pin(it))),
        Value::Cpu(it) => Record::Cpu(Cpu {
            name: it.name,
            parents: it.parents,
            features: it.features,
            aliases: it.aliases,
        }),
        Value::Recipe(it) => Record::Recipe(Arc::new(recipe(it)?)),
        Value::Purge(it) => Record::Purge(Arc::new(purge(it)?)),
        Value::SigningKey(it) => Record::SigningKey(Arc::new(signing_key(it)?)),
        Value::Grant(it) => Record::Grant(grant(it)?),
    })
}

fn machine_type(it: proto::MachineType) -> Result<TypeRecord, &'static str> {
    let machine_type = MachineType {
        os: it.os.clone(),
        architecture: given(&it.architecture),
        variant: given(&it.variant),
        os_version: given(&it.os_version),
        gpu: gpu(&it)?,
        mode: mode(&it)?,
        on_no_match: on_no_match(&it)?,
        present: present(&it)?,
        platforms: platforms(&it)?,
        features: it.features,
        also_runs: it.also_runs,
    };
    Ok(TypeRecord {
        name: kind_name(&it.user, &it.name),
        machine_type,
    })
}

fn kind_name(user: &str, name: &str) -> KindName {
    KindName {
        user: user.into(),
        name: name.into(),
    }
}

fn gpu(it: &proto::MachineType) -> Result<GpuMatch, &'static str> {
    match proto::GpuMatch::try_from(it.gpu) {
        Ok(proto::GpuMatch::Unspecified | proto::GpuMatch::All) => Ok(GpuMatch::All),
        Ok(proto::GpuMatch::Any) => Ok(GpuMatch::Any),
        Err(_) => Err("gpu"),
    }
}

fn mode(it: &proto::MachineType) -> Result<MatchMode, &'static str> {
    match proto::MatchMode::try_from(it.r#match) {
        Ok(proto::MatchMode::Unspecified | proto::MatchMode::Best) => Ok(MatchMode::Best),
        Ok(proto::MatchMode::Exact) => Ok(MatchMode::Exact),
        Ok(proto::MatchMode::BestNoGeneric) => Ok(MatchMode::BestNoGeneric),
        Err(_) => Err("match"),
    }
}

fn on_no_match(it: &proto::MachineType) -> Result<OnNoMatch, &'static str> {
    match proto::OnNoMatch::try_from(it.on_no_match) {
        Ok(proto::OnNoMatch::Unspecified | proto::OnNoMatch::Error) => Ok(OnNoMatch::Error),
        Ok(proto::OnNoMatch::Passthrough) => Ok(OnNoMatch::Passthrough),
        Err(_) => Err("on_no_match"),
    }
}

fn present(it: &proto::MachineType) -> Result<Present, &'static str> {
    match proto::Present::try_from(it.present) {
        Ok(proto::Present::Unspecified | proto::Present::Auto) => Ok(Present::Auto),
        Ok(proto::Present::Index) => Ok(Present::Index),
        Err(_) => Err("present"),
    }
}

fn platforms(it: &proto::MachineType) -> Result<Platforms, &'static str> {
    match proto::Platforms::try_from(it.platforms) {
        Ok(proto::Platforms::Unspecified | proto::Platforms::Own) => Ok(Platforms::Own),
        Ok(proto::Platforms::All) => Ok(Platforms::All),
        Err(_) => Err("platforms"),
    }
}

fn login(it: proto::Login) -> Result<LoginRecord, &'static str> {
    let secret_sha256 = it.secret_sha256.as_ref().try_into();
    Ok(LoginRecord {
        name: it.name.into(),
        kind: kind_name(&it.user, &it.machine_type),
        secret_sha256: secret_sha256.map_err(|_| "secret_sha256")?,
        allow_selectors: it.allow_selectors,
    })
}

fn upstream(it: proto::Upstream) -> Result<Upstream, &'static str> {
    let blobs = proto::Blobs::try_from(it.blobs).map_err(|_| "blobs")?;
    let url = it.url.parse().map_err(|_| "url")?;
    let credential = given(&it.username).map(|username| Credential {
        username: username.into(),
        password: it.password.into(),
    });
    let judgement = match (it.insecure, it.ca_pem.is_empty()) {
        (true, _) => Judgement::None,
        (false, true) => Judgement::System,
        (false, false) => Judgement::Authorities(it.ca_pem.into()),
    };
    let fallbacks: Result<Vec<_>, _> = it.fallback_urls.iter().map(|it| it.parse()).collect();
    let proxy = match &*it.proxy {
        "" => ProxyChoice::Environment,
        "none" => ProxyChoice::Direct,
        url => ProxyChoice::Through(proxy(url, &it.proxy_password).ok_or("proxy")?),
    };
    let identity = given(&it.client_cert_pem).map(|cert_pem| ClientIdentity {
        cert_pem: cert_pem.into(),
        key_pem: it.client_key_pem.into(),
    });
    Ok(Upstream::new(&it.name, url, credential, it.is_default)
        .restricted(it.restricted)
        .judged(judgement)
        .reached_by(it.hosts)
        .handing_over_blobs(blobs == proto::Blobs::Redirect)
        .speaking_http1(it.http1)
        .proxied(proxy)
        .presenting(identity)
        .prefixed(given(&it.repository_prefix))
        .with_token_hosts(it.token_hosts)
        .falling_back_to(fallbacks.map_err(|_| "fallback_urls")?))
}

fn proxy(url: &str, password: &str) -> Option<Proxy> {
    let proxy = Proxy::parse(url)?;
    match password {
        "" => Some(proxy),
        password => proxy.with_password(password),
    }
}

/// One that is neither for a user nor for all opens nothing to anyone.
fn grant(it: proto::Grant) -> Result<Grant, &'static str> {
    match (given(&it.user), it.all_users) {
        (None, false) | (Some(_), true) => Err("user"),
        (user, _) => Ok(Grant {
            user,
            repository: it.repository,
        }),
    }
}

fn rule(it: proto::Rule) -> Rule {
    let matches = it.r#match.unwrap_or_default();
    Rule {
        name: it.name,
        repository: it.repository,
        tag: it.tag,
        matches: RuleMatch {
            os: matches.os,
            architecture: matches.architecture,
            variant: matches.variant,
            os_version: matches.os_version,
            digest: matches.digest,
        },
        requires: it.requires,
    }
}

fn pin(it: proto::Pin) -> PinRecord {
    PinRecord {
        kind: kind_name(&it.user, &it.machine_type),
        scope: Rule {
            name: String::new(),
            repository: it.repository,
            tag: String::new(),
            matches: RuleMatch::default(),
            requires: Vec::new(),
        },
        digest: it.digest,
    }
}

fn signing_key(it: proto::SigningKey) -> Result<SigningKey, &'static str> {
    SigningKey::new(it.id, &it.seed, it.signs_from_unix_secs).ok_or("seed")
}

fn purge(it: proto::Purge) -> Result<Purge, &'static str> {
    let repository = given(&it.repository).map(|it| Repository::parse(&it).ok_or("repository"));
    let digest = given(&it.digest).map(|it| Digest::parse(&it).ok_or("digest"));
    Ok(Purge {
        upstream: given(&it.upstream).map(Into::into),
        repository: repository.transpose()?,
        digest: digest.transpose()?,
    })
}

fn recipe(it: proto::Recipe) -> Result<Recipe, &'static str> {
    let places = it
        .kept_places
        .iter()
        .map(|place| u16::try_from(*place).ok());
    let kept = match it.kept_places.is_empty() {
        false => places.collect::<Option<_>>().map(Entries::Places),
        true => {
            let digests = it.kept.iter().map(|kept| Digest::parse(kept));
            digests.collect::<Option<_>>().map(Entries::Digests)
        }
    };
    Ok(Recipe {
        name: RecipeName {
            digest: Digest::parse(&it.digest).ok_or("digest")?,
            upstream: it.upstream.into(),
            repository: Repository::parse(&it.repository).ok_or("repository")?,
        },
        source_digest: Digest::parse(&it.source_digest).ok_or("source_digest")?,
        kept: kept.ok_or("kept")?,
        user: it.user.into(),
        last_used: it.last_used_unix_secs,
    })
}

/// An empty text stands for one that is not given.
fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
