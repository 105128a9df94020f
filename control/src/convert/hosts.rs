//! Converts hosts and host tokens.

use std::time::Duration;

use metahub_proto::{admin::v1 as proto, policy::v1 as policy};

use crate::{
    Error, Result, Secret,
    catalog::{HostFacts, HostSummary, HostTokenWish},
    records::{Evidence, HostToken},
};

/// The maximum number of features in the evidence.
const MOST_EVIDENCE: usize = 256;
/// The maximum length of one text of the evidence, in bytes.
const LONGEST_EVIDENCE: usize = 256;
/// The maximum length of all texts of the evidence, in bytes.
const LARGEST_EVIDENCE: usize = 16 << 10;
const LONGEST_VERSION: usize = 64;

/// Converts a host token without its secret.
pub(crate) fn host_token(it: &HostToken) -> proto::HostToken {
    proto::HostToken {
        user: it.user.clone(),
        name: it.name.clone(),
        types: it.types.clone(),
        auto: it.auto,
        uses_left: it.uses_left,
        expires_unix_secs: it.expires_unix_secs.unwrap_or_default(),
        created_by: it.created_by.clone(),
    }
}

pub(crate) fn host_token_wish_from(it: proto::CreateHostTokenRequest) -> HostTokenWish {
    HostTokenWish {
        user: it.user,
        name: it.name,
        types: it.types,
        auto: it.auto,
        uses: Some(it.uses).filter(|uses| *uses > 0),
        lifetime: Some(Duration::from_secs(it.lifetime_secs)).filter(|it| !it.is_zero()),
    }
}

/// Converts a host's facts. Refuses evidence over the limits.
pub(crate) fn host_facts_from(it: policy::HostFacts) -> Result<HostFacts> {
    let evidence = it.evidence.iter();
    let texts = evidence.flat_map(|it| [&it.feature, &it.source, &it.raw]);
    let longest = texts.clone().map(String::len).max().unwrap_or_default();
    let all: usize = texts.map(String::len).sum();
    if it.evidence.len() > MOST_EVIDENCE || longest > LONGEST_EVIDENCE || all > LARGEST_EVIDENCE {
        return Err(Error::invalid(
            "evidence",
            "is larger than 16 KiB, has a text of more than 256 bytes, or more than 256 entries",
        ));
    }
    if it.agent_version.len() > LONGEST_VERSION {
        return Err(Error::invalid("agent_version", "is longer than 64 bytes"));
    }
    let evidence = it.evidence.into_iter().map(|it| Evidence {
        feature: it.feature,
        source: it.source,
        raw: it.raw,
    });
    Ok(HostFacts {
        features: it.features,
        evidence: evidence.collect(),
        agent_version: it.agent_version,
    })
}

/// A hash in the store's spelling: lower-case hex.
pub(crate) fn hex(hash: &[u8]) -> Secret {
    let hex = hash.iter().take(64).map(|byte| format!("{byte:02x}"));
    Secret::from(hex.collect::<String>())
}

pub(crate) fn host(it: &HostSummary) -> proto::Host {
    let seen = &it.observed;
    let host = it.login.host.as_ref();
    proto::Host {
        user: it.login.user.clone(),
        id: host.map(|host| host.id.clone()).unwrap_or_default(),
        machine_type: it.login.machine_type.clone(),
        login: it.login.name(),
        token: host.map(|host| host.token.clone()).unwrap_or_default(),
        features: seen.features.clone(),
        agent_version: seen.agent_version.clone(),
        first_seen_unix_secs: seen.first_seen_unix_secs,
        last_seen_unix_secs: seen.last_seen_unix_secs,
        address: seen.address.clone().unwrap_or_default(),
        drift: it.drift.clone(),
        drifted_unix_secs: seen.drifted_unix_secs.unwrap_or_default(),
        warnings: it.warnings.clone(),
    }
}

pub(crate) fn host_evidence(it: &HostSummary) -> Vec<proto::HostEvidence> {
    let evidence = it.observed.evidence.iter();
    let evidence = evidence.map(|it| proto::HostEvidence {
        feature: it.feature.clone(),
        source: it.source.clone(),
        raw: it.raw.clone(),
    });
    evidence.collect()
}
