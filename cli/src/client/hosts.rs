//! The calls of the host service, and the admin calls for hosts.

use std::time::Duration;

use metahub_proto::{
    admin::v1 as proto,
    policy::v1::{self as host, host_service_client::HostServiceClient},
};
use metahub_worker::{
    grpc_channel::GrpcChannel,
    trust::{Fingerprint, Successor, Trust},
};
use secrecy::{ExposeSecret, SecretString};
use tonic::{Response, Status};
use url::Url;

use super::{Client, TrustSettings, channel, check_plain};
use crate::{
    failure::Failure,
    record::{Host, HostEvidence, HostFacts, HostToken, NewHostToken, ShownHost, time_text},
};

/// A host's connection. Each call carries the host's token or secret.
pub(crate) struct HostClient {
    rpc: HostServiceClient<GrpcChannel>,
    url: Url,
    trust: Option<Trust>,
    successor: Successor,
}

/// A host's request to join.
#[derive(Debug)]
pub(crate) struct JoinWish {
    pub(crate) token: SecretString,
    pub(crate) host_id: String,
    /// The hash of the machine's id. Empty: unknown.
    pub(crate) machine: String,
    pub(crate) secret_sha256: Vec<u8>,
    pub(crate) facts: HostFacts,
    /// The requested type. Empty: the best match.
    pub(crate) machine_type: String,
    pub(crate) replace: bool,
}

/// The control plane's response to a join request.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) login: String,
    /// The host's type, `<user>/<type>`.
    pub(crate) machine_type: String,
    /// The registry's URL. Empty: unknown.
    pub(crate) registry: String,
    pub(crate) why: String,
}

/// The control plane's response to a report.
#[derive(Debug)]
pub(crate) struct Reported {
    pub(crate) login: String,
    /// The host's type, `<user>/<type>`.
    pub(crate) machine_type: String,
    /// The registry's URL. Empty: unknown.
    pub(crate) registry: String,
    pub(crate) drift: Vec<String>,
}

impl HostClient {
    /// Connects to the control plane at `url`. Plain text to another host needs
    /// `insecure`.
    pub(crate) async fn connect(
        url: &Url,
        insecure: bool,
        trust: &TrustSettings,
    ) -> anyhow::Result<Self> {
        check_plain(url, insecure)?;
        let successor = Successor::default();
        let known = match url.scheme() {
            "https" => Some(trust.of(url).await?),
            _ => None,
        };
        let secured = known.as_ref().map(|known| (known, &successor));
        let opened = match channel(url, secured).await {
            Err(error) if known.is_some() => Err(trust.explain(url, error).await),
            opened => opened,
        };
        Ok(Self {
            rpc: HostServiceClient::new(opened?),
            url: url.clone(),
            trust: known,
            successor,
        })
    }

    /// The fingerprint of the control plane's authority, or of its successor.
    /// `None`: the connection does not use a fingerprint.
    pub(crate) fn proved(&self) -> Option<Fingerprint> {
        match self.trust {
            Some(Trust::Fingerprint(proved)) => Some(self.successor.get().unwrap_or(proved)),
            _ => None,
        }
    }

    /// Sends a join request.
    pub(crate) async fn join(&self, wish: &JoinWish) -> Result<Joined, Failure> {
        let request = host::JoinHostRequest {
            token: wish.token.expose_secret().to_owned(),
            host_id: wish.host_id.clone(),
            machine: wish.machine.clone(),
            secret_sha256: wish.secret_sha256.clone().into(),
            facts: Some(facts(&wish.facts)),
            machine_type: wish.machine_type.clone(),
            replace: wish.replace,
        };
        let joined = self.answer(self.rpc.clone().join(request).await)?;
        Ok(Joined {
            login: joined.login,
            machine_type: joined.machine_type,
            registry: joined.registry,
            why: joined.why,
        })
    }

    /// Reports the host's current facts.
    pub(crate) async fn report(
        &self,
        login: &str,
        secret: &SecretString,
        now: &HostFacts,
    ) -> Result<Reported, Failure> {
        let request = host::ReportHostRequest {
            login: login.to_owned(),
            secret: secret.expose_secret().to_owned(),
            facts: Some(facts(now)),
        };
        let reported = self.answer(self.rpc.clone().report(request).await)?;
        Ok(Reported {
            login: reported.login,
            machine_type: reported.machine_type,
            registry: reported.registry,
            drift: reported.drift,
        })
    }

    fn answer<T>(&self, answer: Result<Response<T>, Status>) -> Result<T, Failure> {
        answer
            .map(Response::into_inner)
            .map_err(|status| Failure::of(status, &self.url))
    }
}

impl Client {
    /// Creates a host token. A `lifetime` of 0 never expires.
    pub(crate) async fn create_host_token(
        &self,
        wish: HostToken,
        lifetime: Duration,
    ) -> Result<NewHostToken, Failure> {
        let request = proto::CreateHostTokenRequest {
            user: wish.user,
            name: wish.name,
            types: wish.types,
            auto: wish.auto,
            uses: wish.uses_left.unwrap_or_default(),
            lifetime_secs: lifetime.as_secs(),
        };
        let created = self.answer(self.hosts.clone().create_host_token(request).await)?;
        Ok(NewHostToken {
            token: host_token(created.token.unwrap_or_default()),
            secret: created.secret,
        })
    }

    /// The host tokens, without their secrets.
    pub(crate) async fn host_tokens(&self) -> Result<Vec<HostToken>, Failure> {
        let request = proto::ListHostTokensRequest {};
        let listed = self.answer(self.hosts.clone().list_host_tokens(request).await)?;
        Ok(listed.tokens.into_iter().map(host_token).collect())
    }

    /// Revokes a host token.
    pub(crate) async fn revoke_host_token(&self, user: &str, name: &str) -> Result<(), Failure> {
        let request = proto::RevokeHostTokenRequest {
            user: user.to_owned(),
            name: name.to_owned(),
        };
        let answer = self.hosts.clone().revoke_host_token(request).await;
        self.answer(answer).map(|_| ())
    }

    /// The hosts of `user`, or of all users.
    pub(crate) async fn hosts(&self, user: Option<&str>) -> Result<Vec<Host>, Failure> {
        let request = proto::ListHostsRequest {
            user: user.unwrap_or_default().to_owned(),
        };
        let listed = self.answer(self.hosts.clone().list_hosts(request).await)?;
        Ok(listed.hosts.into_iter().map(shown).collect())
    }

    /// One host, with its evidence.
    pub(crate) async fn host(&self, user: &str, id: &str) -> Result<ShownHost, Failure> {
        let request = proto::GetHostRequest {
            user: user.to_owned(),
            id: id.to_owned(),
        };
        let answer = self.answer(self.hosts.clone().get_host(request).await)?;
        let evidence = answer.evidence.into_iter().map(|it| HostEvidence {
            feature: it.feature,
            source: it.source,
            raw: it.raw,
        });
        Ok(ShownHost {
            host: shown(answer.host.unwrap_or_default()),
            evidence: evidence.collect(),
        })
    }

    /// Removes a host.
    pub(crate) async fn remove_host(&self, user: &str, id: &str) -> Result<(), Failure> {
        let request = proto::RemoveHostRequest {
            user: user.to_owned(),
            id: id.to_owned(),
        };
        let answer = self.hosts.clone().remove_host(request).await;
        self.answer(answer).map(|_| ())
    }

    /// Moves a host to another type. Returns the name of its new login.
    pub(crate) async fn move_host(
        &self,
        user: &str,
        id: &str,
        machine_type: &str,
    ) -> Result<String, Failure> {
        let request = proto::MoveHostRequest {
            user: user.to_owned(),
            id: id.to_owned(),
            machine_type: machine_type.to_owned(),
        };
        let answer = self.answer(self.hosts.clone().move_host(request).await)?;
        Ok(answer.login)
    }
}

fn facts(it: &HostFacts) -> host::HostFacts {
    let evidence = it.evidence.iter();
    let evidence = evidence.map(|(feature, source, raw)| host::FeatureEvidence {
        feature: feature.clone(),
        source: source.clone(),
        raw: raw.clone(),
    });
    host::HostFacts {
        features: it.features.clone(),
        evidence: evidence.collect(),
        agent_version: it.agent_version.clone(),
    }
}

fn host_token(it: proto::HostToken) -> HostToken {
    HostToken {
        user: it.user,
        name: it.name,
        types: it.types,
        auto: it.auto,
        uses_left: it.uses_left,
        expires: time_text(it.expires_unix_secs),
        created_by: it.created_by,
    }
}

fn shown(it: proto::Host) -> Host {
    Host {
        user: it.user,
        id: it.id,
        machine_type: it.machine_type,
        login: it.login,
        token: it.token,
        features: it.features,
        agent_version: it.agent_version,
        first_seen: time_text(it.first_seen_unix_secs),
        last_seen: time_text(it.last_seen_unix_secs),
        address: it.address,
        drift: it.drift,
        drifted: time_text(it.drifted_unix_secs),
        warnings: it.warnings,
    }
}
