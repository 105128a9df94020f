//! What only admins see.

use std::time::{SystemTime, UNIX_EPOCH};

use metahub_proto::admin::v1 as proto;

use super::revision;
use crate::{
    catalog::NewLogin,
    fleet::Member,
    policy::Policy,
    records::{Login, User},
};

pub(crate) fn user(it: &User) -> proto::User {
    proto::User {
        name: it.name.clone(),
    }
}

pub(crate) fn new_login(it: NewLogin) -> proto::NewLogin {
    proto::NewLogin {
        name: it.name,
        secret: it.secret.expose().to_owned(),
    }
}

pub(crate) fn login_summary(it: &Login) -> proto::LoginSummary {
    proto::LoginSummary {
        name: it.name(),
        user: it.user.clone(),
        machine_type: it.machine_type.clone(),
        allow_selectors: it.allow_selectors,
    }
}

pub(crate) fn worker(it: &Member, policy: &Policy) -> proto::Worker {
    let identity = it.identity.clone();
    proto::Worker {
        id: identity.id,
        version: identity.version,
        registry_address: identity.registry_address,
        peer_address: identity.peer.map(|it| it.to_string()).unwrap_or_default(),
        connected: it.connected,
        applied: it.applied.map(revision),
        lag_ms: u64::try_from(it.lag(policy).as_millis()).unwrap_or(u64::MAX),
        rejected_reason: it.rejected.clone().unwrap_or_default(),
        since_unix_secs: unix_secs(it.since),
        digest: it.digest.map(|it| it.to_string()).unwrap_or_default(),
        mismatches: it.mismatches,
        mismatch: it.mismatch.clone().unwrap_or_default(),
        doubled: it.is_doubled(),
    }
}

fn unix_secs(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
