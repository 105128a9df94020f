//! The calls about the control plane's authority.

use metahub_proto::admin::v1 as proto;

use super::Client;
use crate::{failure::Failure, record::Authority};

impl Client {
    /// Which authorities are trusted.
    pub(crate) async fn authority(&self) -> Result<Authority, Failure> {
        let request = proto::GetAuthorityRequest {};
        let answer = self.authority.clone().get_authority(request).await;
        self.answer(answer).map(|it| authority(it.authority))
    }

    /// Has a new authority take the place of the one that is there.
    pub(crate) async fn rotate_authority(&self) -> Result<Authority, Failure> {
        let request = proto::RotateAuthorityRequest {};
        let answer = self.authority.clone().rotate_authority(request).await;
        self.answer(answer).map(|it| authority(it.authority))
    }

    /// Trusts the former authority no more.
    pub(crate) async fn retire_authority(&self, force: bool) -> Result<Authority, Failure> {
        let request = proto::RetireAuthorityRequest { force };
        let answer = self.authority.clone().retire_authority(request).await;
        self.answer(answer).map(|it| authority(it.authority))
    }
}

fn authority(wire: Option<proto::Authority>) -> Authority {
    let wire = wire.unwrap_or_default();
    Authority {
        fingerprint: wire.fingerprint,
        former_fingerprint: Some(wire.former_fingerprint).filter(|it| !it.is_empty()),
        behind: wire.behind,
    }
}
