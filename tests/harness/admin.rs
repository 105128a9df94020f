//! The admin API, as a test uses it.

use std::{path::Path, time::Duration};

use metahub_proto::{
    admin::v1::{
        self as pb, access_service_client::AccessServiceClient,
        admin_service_client::AdminServiceClient, joining_service_client::JoiningServiceClient,
    },
    policy::v1 as policy,
};
use metahub_worker::trust::Trust;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::wait::{PATIENCE, within};

/// A connection with an admin token.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
    access: Access,
    joining: JoiningServiceClient<InterceptedService<Channel, Token>>,
}

/// The generated client, for calls that [`Admin`] has no word for.
pub type Client = AdminServiceClient<InterceptedService<Channel, Token>>;

/// The generated client for admin tokens.
pub type Access = AccessServiceClient<InterceptedService<Channel, Token>>;

/// Adds the admin token to each call.
#[derive(Clone, Debug)]
pub struct Token(MetadataValue<Ascii>);

/// What a host gives to `docker login`.
#[derive(Clone, Debug)]
pub struct Login {
    /// `<user>-<type>`.
    pub name: String,
    /// Its secret.
    pub secret: String,
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Admin {
    /// Connects when it is first used.
    pub fn connect(url: &str, token: &str, ca_file: &Path) -> Self {
        let mut endpoint = Endpoint::from_shared(url.to_owned()).expect("a URL");
        if url.starts_with("https:") {
            let trust = Trust::read(ca_file).expect("there is an authority");
            endpoint = trust.secure(endpoint, None).expect("it can be trusted");
        }
        let channel = endpoint.connect_lazy();
        let bearer = format!("Bearer {token}").parse().expect("a token is ASCII");
        let service = InterceptedService::new(channel, Token(bearer));
        Self {
            client: AdminServiceClient::new(service.clone()),
            joining: JoiningServiceClient::new(service.clone()),
            access: AccessServiceClient::new(service),
        }
    }

    /// Creates a join token called `name` for `uses` workers, 0 for any number,
    /// that is good for an hour. Returns what a worker is given.
    pub async fn create_join_token(&mut self, name: &str, uses: u32) -> String {
        let request = pb::CreateJoinTokenRequest {
            name: name.into(),
            uses,
            lifetime_secs: 60 * 60,
        };
        let created = self.joining.create_join_token(request).await;
        created.expect("a join token").into_inner().secret
    }

    /// Revokes a join token.
    pub async fn revoke_join_token(&mut self, name: &str) {
        let request = pb::RevokeJoinTokenRequest { name: name.into() };
        let revoked = self.joining.revoke_join_token(request).await;
        revoked.expect("it is revoked");
    }

    /// Removes a worker.
    pub async fn remove_worker(&mut self, id: &str) {
        let request = pb::RemoveWorkerRequest { id: id.into() };
        let removed = self.joining.remove_worker(request).await;
        removed.expect("it is removed");
    }

    /// The workers that the control plane remembers, by id.
    pub async fn workers(&mut self) -> Vec<pb::Worker> {
        let listed = self.client.list_workers(pb::ListWorkersRequest {}).await;
        listed.expect("a list").into_inner().workers
    }

    /// The generated client.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The generated client for admin tokens.
    pub fn access(&mut self) -> &mut Access {
        &mut self.access
    }

    /// Creates a user without a password.
    pub async fn create_user(&mut self, name: &str) {
        let request = pb::CreateUserRequest {
            name: name.into(),
            password: String::new(),
        };
        self.client
            .create_user(request)
            .await
            .expect("the user is created");
    }

    /// Creates a machine type for linux, with a login.
    pub async fn create_type(&mut self, user: &str, name: &str, features: &[&str]) -> Login {
        self.create(linux(user, name, features)).await
    }

    /// The same, for a type that is always given an index.
    pub async fn create_lister(&mut self, user: &str, name: &str, features: &[&str]) -> Login {
        let machine_type = policy::MachineType {
            present: policy::Present::Index.into(),
            ..linux(user, name, features)
        };
        self.create(machine_type).await
    }

    /// Creates a machine type, with a login.
    pub async fn create(&mut self, machine_type: policy::MachineType) -> Login {
        let request = pb::CreateTypeRequest {
            machine_type: Some(machine_type),
            ..Default::default()
        };
        let answer = self.client.create_type(request).await;
        let answer = answer.expect("the type is created").into_inner();
        let login = answer.login.expect("it has a login");
        Login {
            name: login.name,
            secret: login.secret,
        }
    }

    /// Deletes a login.
    pub async fn delete_login(&mut self, name: &str) {
        let request = pb::DeleteLoginRequest { name: name.into() };
        self.client
            .delete_login(request)
            .await
            .expect("the login is deleted");
    }

    /// Makes the registry at `url` the default upstream, open to all.
    pub async fn put_default_upstream(&mut self, name: &str, url: &str) {
        self.put_upstream(policy::Upstream {
            name: name.into(),
            url: url.into(),
            is_default: true,
            ..Default::default()
        })
        .await;
    }

    /// Creates or replaces an upstream.
    pub async fn put_upstream(&mut self, upstream: policy::Upstream) {
        let request = pb::PutUpstreamRequest {
            upstream: Some(upstream),
        };
        self.client
            .put_upstream(request)
            .await
            .expect("the upstream is taken");
    }

    /// Opens repositories to a user, or to all.
    pub async fn create_grant(&mut self, user: Option<&str>, repository: &str) {
        let grant = Some(grant(user, repository));
        let request = pb::PutGrantRequest { grant };
        let created = self.client.put_grant(request).await;
        created.expect("the grant is created");
    }

    /// Takes a grant back.
    pub async fn delete_grant(&mut self, user: Option<&str>, repository: &str) {
        let grant = Some(grant(user, repository));
        let request = pb::DeleteGrantRequest { grant };
        let deleted = self.client.delete_grant(request).await;
        deleted.expect("the grant is deleted");
    }

    /// Waits until `workers` workers are connected and serve the newest policy.
    pub async fn all_current(&mut self, workers: usize) {
        self.all_current_within(PATIENCE, workers).await;
    }

    /// The same; fails after `limit`.
    pub async fn all_current_within(&mut self, limit: Duration, workers: usize) {
        let client = &mut self.client;
        within(limit, "all workers serve the newest policy", async || {
            let answer = client.list_workers(pb::ListWorkersRequest {}).await;
            let fleet = answer.expect("workers are listed").into_inner();
            let current = |w: &&pb::Worker| w.connected && w.applied == fleet.revision;
            fleet.workers.iter().filter(current).count() == workers
        })
        .await;
    }
}

fn grant(user: Option<&str>, repository: &str) -> policy::Grant {
    policy::Grant {
        user: user.unwrap_or_default().into(),
        repository: repository.into(),
        all_users: user.is_none(),
    }
}

fn linux(user: &str, name: &str, features: &[&str]) -> policy::MachineType {
    policy::MachineType {
        user: user.into(),
        name: name.into(),
        os: "linux".into(),
        features: features.iter().map(|f| (*f).into()).collect(),
        ..Default::default()
    }
}
