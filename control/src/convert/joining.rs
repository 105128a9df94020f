//! Who may join.

use std::time::Duration;

use metahub_proto::{admin::v1 as proto, policy::v1 as policy};

use crate::{
    Secret,
    catalog::{JoinTokenWish, Trusted},
    records::JoinToken,
    tls::Issued,
};

/// Without the secret.
pub(crate) fn join_token(it: &JoinToken) -> proto::JoinToken {
    proto::JoinToken {
        name: it.name.clone(),
        uses_left: it.uses_left,
        expires_unix_secs: it.expires_unix_secs.unwrap_or_default(),
    }
}

pub(crate) fn join_token_wish_from(it: proto::CreateJoinTokenRequest) -> JoinTokenWish {
    JoinTokenWish {
        name: it.name,
        uses: Some(it.uses).filter(|uses| *uses > 0),
        lifetime: Some(Duration::from_secs(it.lifetime_secs)).filter(|it| !it.is_zero()),
    }
}

/// What a worker is given: the secret, and whom to trust.
pub(crate) fn join_token_text(secret: &Secret, fingerprint: &str) -> String {
    let fingerprint = fingerprint.trim_start_matches("sha256:");
    format!("{}.{fingerprint}", secret.expose())
}

pub(crate) fn issued_certificate(it: &Issued, lifetime: Duration) -> policy::IssuedCertificate {
    policy::IssuedCertificate {
        certificate_pem: it.certificate_pem.clone(),
        lifetime_secs: lifetime.as_secs(),
        authority: it.authority.clone(),
    }
}

pub(crate) fn authority(it: Trusted) -> proto::Authority {
    proto::Authority {
        fingerprint: it.fingerprint,
        former_fingerprint: it.former.unwrap_or_default(),
        behind: it.behind,
    }
}
