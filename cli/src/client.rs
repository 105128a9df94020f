//! The connection to the control plane's admin API.
//!
//! The rest of metahubctl sees records only: protobuf stays in here and in
//! [`convert`].

mod access;
mod audit;
mod authority;
mod calls;
mod convert;
mod declaration;
mod hosts;
mod joining;
mod policy;
mod settle;
mod trust;

use std::time::Duration;

use anyhow::{Context, ensure};
use metahub_proto::admin::v1::{
    access_service_client::AccessServiceClient, admin_service_client::AdminServiceClient,
    audit_service_client::AuditServiceClient, authority_service_client::AuthorityServiceClient,
    declaration_service_client::DeclarationServiceClient, hosts_service_client::HostsServiceClient,
    joining_service_client::JoiningServiceClient,
};
use metahub_worker::{
    grpc_channel::GrpcChannel,
    trust::{Successor, Trust},
};
use secrecy::{ExposeSecret, SecretString};
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Endpoint,
};
use url::{Host, Url};

pub(crate) use self::{
    audit::AuditStart,
    calls::Created,
    declaration::Manner,
    hosts::{HostClient, JoinWish, Joined},
    trust::TrustSettings,
};
use crate::{
    config::Settings,
    credential::{self, Credential},
    failure::Failure,
};

/// How long the control plane may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the access token of a sign-in goes.
const ACCESS_TOKEN: &str = "metahub-access-token";
/// What a token may weigh: the control plane takes no larger one.
const LARGEST_TOKEN: usize = 40 << 10;
/// What an answer may weigh: the control plane sends no larger list.
const LARGEST_ANSWER: usize = 64 << 20;

/// A connection, with a token or without.
#[derive(Clone)]
pub(crate) struct Client {
    rpc: AdminServiceClient<InterceptedService<GrpcChannel, Bearer>>,
    access: AccessServiceClient<InterceptedService<GrpcChannel, Bearer>>,
    audit: AuditServiceClient<InterceptedService<GrpcChannel, Bearer>>,
    authority: AuthorityServiceClient<InterceptedService<GrpcChannel, Bearer>>,
    declaration: DeclarationServiceClient<InterceptedService<GrpcChannel, Bearer>>,
    hosts: HostsServiceClient<InterceptedService<GrpcChannel, Bearer>>,
    joining: JoiningServiceClient<InterceptedService<GrpcChannel, Bearer>>,
    url: Url,
}

/// Adds the tokens to each call, if there are any.
#[derive(Clone, Default)]
struct Bearer {
    token: Option<MetadataValue<Ascii>>,
    access_token: Option<MetadataValue<Ascii>>,
}

impl Client {
    /// Connects as the settings say.
    pub(crate) async fn connect(settings: &Settings) -> anyhow::Result<Self> {
        let found = credential::find(settings).await?;
        Self::connect_with(settings, &found).await
    }

    /// Connects where the settings say, with what was found.
    pub(crate) async fn connect_with(
        settings: &Settings,
        found: &Credential,
    ) -> anyhow::Result<Self> {
        Self::connect_as(settings, Some(&found.token), found.access_token.as_ref()).await
    }

    /// Connects where the settings say, with this token or as a stranger. The
    /// access token goes with it, for what the issuer says elsewhere.
    pub(crate) async fn connect_as(
        settings: &Settings,
        token: Option<&SecretString>,
        access_token: Option<&SecretString>,
    ) -> anyhow::Result<Self> {
        check_plain(&settings.control, settings.insecure)?;
        let bearer = token.map(|it| Bearer::new(it, access_token)).transpose()?;
        let url = &settings.control;
        if url.scheme() != "https" {
            return Self::open(url, bearer, None).await;
        }
        let (trust, successor) = (settings.trust.of(url).await?, Successor::default());
        match Self::open(url, bearer, Some((&trust, &successor))).await {
            Ok(client) => {
                settings.trust.keep(url, &trust, successor.get());
                Ok(client)
            }
            Err(error) => Err(settings.trust.explain(url, error).await),
        }
    }

    /// Connects to the control plane at `url`; over TLS if it is known whom to
    /// trust.
    pub(crate) async fn connect_to(
        url: &Url,
        token: &SecretString,
        trust: Option<&Trust>,
    ) -> anyhow::Result<Self> {
        let successor = Successor::default();
        let trust = trust.map(|trust| (trust, &successor));
        Self::open(url, Some(Bearer::new(token, None)?), trust).await
    }

    async fn open(
        url: &Url,
        bearer: Option<Bearer>,
        trust: Option<(&Trust, &Successor)>,
    ) -> anyhow::Result<Self> {
        let channel = channel(url, trust).await?;
        let channel = InterceptedService::new(channel, bearer.unwrap_or_default());
        Ok(Self {
            access: AccessServiceClient::new(channel.clone())
                .max_decoding_message_size(LARGEST_ANSWER),
            joining: JoiningServiceClient::new(channel.clone())
                .max_decoding_message_size(LARGEST_ANSWER),
            hosts: HostsServiceClient::new(channel.clone())
                .max_decoding_message_size(LARGEST_ANSWER),
            authority: AuthorityServiceClient::new(channel.clone()),
            audit: AuditServiceClient::new(channel.clone())
                .max_decoding_message_size(LARGEST_ANSWER),
            declaration: DeclarationServiceClient::new(channel.clone())
                .max_decoding_message_size(LARGEST_ANSWER),
            rpc: AdminServiceClient::new(channel).max_decoding_message_size(LARGEST_ANSWER),
            url: url.clone(),
        })
    }

    /// The message of an answer, or what the control plane means by its error.
    fn answer<T>(&self, answer: Result<Response<T>, Status>) -> Result<T, Failure> {
        answer
            .map(Response::into_inner)
            .map_err(|status| Failure::of(status, &self.url))
    }
}

impl Bearer {
    fn new(token: &SecretString, access_token: Option<&SecretString>) -> anyhow::Result<Self> {
        let size = token.expose_secret().len();
        ensure!(
            size <= LARGEST_TOKEN,
            "the token weighs {} KiB, and {} are taken: have the issuer name fewer groups in it",
            size.div_ceil(1024),
            LARGEST_TOKEN / 1024
        );
        let access_token = access_token.map(SecretString::expose_secret);
        let access_token = access_token.filter(|it| it.len() <= LARGEST_TOKEN);
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {}", token.expose_secret())
            .parse()
            .context("the admin token holds what no token holds; is it the right file?")?;
        bearer.set_sensitive(true);
        Ok(Self {
            token: Some(bearer),
            access_token: access_token.and_then(|it| it.parse().ok()),
        })
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        if let Some(bearer) = &self.token {
            metadata.insert("authorization", bearer.clone());
        }
        if let Some(access_token) = &self.access_token {
            metadata.insert(ACCESS_TOKEN, access_token.clone());
        }
        Ok(request)
    }
}

/// Refuses to send a secret in plain text to another host, unless `insecure` is
/// set.
fn check_plain(url: &Url, insecure: bool) -> Result<(), Failure> {
    match !insecure && url.scheme() == "http" && !is_local(url) {
        true => Err(Failure::PlainText { url: url.clone() }),
        false => Ok(()),
    }
}

/// Connects to the control plane, by TLS if `trust` is given.
async fn channel(url: &Url, trust: Option<(&Trust, &Successor)>) -> anyhow::Result<GrpcChannel> {
    let mut endpoint = endpoint(url)?;
    if let Some((trust, successor)) = trust {
        endpoint = trust.secure_noting(endpoint, None, successor)?;
    }
    let connected = endpoint.connect().await;
    let channel = connected.map_err(|error| Failure::Unreachable {
        url: url.clone(),
        source: error.into(),
    })?;
    Ok(GrpcChannel::from(channel))
}

fn endpoint(url: &Url) -> anyhow::Result<Endpoint> {
    let endpoint = Endpoint::from_shared(url.to_string())
        .with_context(|| format!("{url} is no URL of a control plane"))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT))
}

/// Whether a URL is on this host, so that no one else sees plain text.
pub(crate) fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_counts_as_this_host() {
        let local = |url: &str| is_local(&url.parse().unwrap());

        assert!(local("http://127.0.0.1:7400") && local("http://[::1]:7400"));
        assert!(!local("http://10.0.0.1:7400") && !local("http://localhost.example:7400"));
    }
}
