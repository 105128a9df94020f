//! The calls about workers that join.

use std::time::{Duration, UNIX_EPOCH};

use metahub_proto::admin::v1 as proto;

use super::Client;
use crate::{
    failure::Failure,
    record::{JoinToken, NewJoinToken},
};

impl Client {
    /// Creates a join token. `uses` 0: for any number of workers; `lifetime` 0:
    /// it does not expire.
    pub(crate) async fn create_join_token(
        &self,
        name: String,
        uses: u32,
        lifetime: Duration,
    ) -> Result<NewJoinToken, Failure> {
        let request = proto::CreateJoinTokenRequest {
            name,
            uses,
            lifetime_secs: lifetime.as_secs(),
        };
        let created = self.answer(self.joining.clone().create_join_token(request).await)?;
        Ok(NewJoinToken {
            token: join_token(created.token.unwrap_or_default()),
            secret: created.secret,
        })
    }

    /// All join tokens, without their secrets.
    pub(crate) async fn join_tokens(&self) -> Result<Vec<JoinToken>, Failure> {
        let request = proto::ListJoinTokensRequest {};
        let listed = self.answer(self.joining.clone().list_join_tokens(request).await)?;
        Ok(listed.tokens.into_iter().map(join_token).collect())
    }

    /// Revokes a join token.
    pub(crate) async fn revoke_join_token(&self, name: String) -> Result<(), Failure> {
        let request = proto::RevokeJoinTokenRequest { name };
        let answer = self.joining.clone().revoke_join_token(request).await;
        self.answer(answer).map(|_| ())
    }

    /// Revokes a worker's certificate.
    pub(crate) async fn remove_worker(&self, id: String) -> Result<(), Failure> {
        let request = proto::RemoveWorkerRequest { id };
        let answer = self.joining.clone().remove_worker(request).await;
        self.answer(answer).map(|_| ())
    }
}

fn join_token(it: proto::JoinToken) -> JoinToken {
    let end = Some(it.expires_unix_secs).filter(|end| *end > 0);
    let end = end.map(|end| UNIX_EPOCH + Duration::from_secs(end));
    JoinToken {
        name: it.name,
        uses_left: it.uses_left,
        expires: end.map(|end| humantime::format_rfc3339_seconds(end).to_string()),
    }
}
