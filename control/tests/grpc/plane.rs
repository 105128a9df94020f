//! A control plane inside the test, and what talks to it.

use std::{fs, future::Future, time::Duration};

use bytes::Bytes;
use clap::Parser;
use metahub_control::{App, Catalog, Config};
use metahub_proto::{
    admin::v1::{
        CreateTokenRequest, CreateTypeRequest, CreateUserRequest, ListWorkersRequest, NewLogin,
        Role, Worker, access_service_client::AccessServiceClient,
        admin_service_client::AdminServiceClient, audit_service_client::AuditServiceClient,
    },
    policy::v1::{
        Applied, Change, ControlMessage, Heartbeat, Hello, MachineType, Record, Rejected, Revision,
        WorkerMessage, control_message::Message as Told,
        policy_service_client::PolicyServiceClient, worker_message::Message as Said,
    },
};
use prost::Message;
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status, Streaming,
    metadata::MetadataValue,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

/// Nothing here may take longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Adds a token to each call.
#[derive(Clone, Debug)]
pub(crate) struct Bearer(pub(crate) String);

pub(crate) type Authorised = InterceptedService<Channel, Bearer>;

/// A control plane that runs until it is stopped.
pub(crate) struct Plane {
    pub(crate) dir: TempDir,
    pub(crate) addr: String,
    pub(crate) catalog: Catalog,
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

/// One worker's stream.
pub(crate) struct Follower {
    say: mpsc::Sender<WorkerMessage>,
    hear: Streaming<ControlMessage>,
}

/// A whole snapshot as it came.
pub(crate) struct Snapshot {
    pub(crate) revision: Revision,
    pub(crate) digest: Bytes,
    pub(crate) records: Vec<Record>,
    pub(crate) chunk_sizes: Vec<usize>,
}

/// What changed, and what a whole snapshot is made of: `State` and `Delta` of
/// the contract with their records decoded, since those have one encoding.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Delta {
    #[prost(message, repeated, tag = "1")]
    pub(crate) put: Vec<Record>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) deleted: Vec<String>,
}

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = MetadataValue::try_from(format!("Bearer {}", self.0)).unwrap();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0", TempDir::new().unwrap()).await
    }

    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        Self::start_in("127.0.0.1:0", TempDir::new().unwrap(), flags).await
    }

    pub(crate) async fn start_at(addr: &str, dir: TempDir) -> Self {
        Self::start_in(addr, dir, &[]).await
    }

    async fn start_in(addr: &str, dir: TempDir, flags: &[&str]) -> Self {
        let data_dir = dir.path().to_str().unwrap();
        let arguments = ["control", "--grpc-addr", addr, "--data-dir", data_dir];
        let config = Config::parse_from(arguments.iter().chain(flags));
        let app = App::bind(config).await.unwrap();
        let shutdown = CancellationToken::new();
        Self {
            dir,
            addr: app.grpc_addr().to_string(),
            catalog: app.catalog(),
            running: tokio::spawn(app.run(shutdown.clone())),
            shutdown,
        }
    }

    /// Stops it. What it kept stays in the directory.
    pub(crate) async fn stop(self) -> (String, TempDir) {
        self.shutdown.cancel();
        drop(self.catalog);
        in_time(self.running).await.unwrap().unwrap();
        (self.addr, self.dir)
    }

    pub(crate) fn token(&self, name: &str) -> String {
        let text = fs::read_to_string(self.dir.path().join(name)).unwrap();
        text.trim().to_owned()
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.addr)).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub(crate) async fn admin(&self) -> AdminServiceClient<Authorised> {
        let token = Bearer(self.token("admin-token"));
        AdminServiceClient::with_interceptor(self.channel().await, token)
            .max_decoding_message_size(64 << 20)
    }

    /// The admin API with another token than the one of the file.
    pub(crate) async fn admin_with(&self, token: &str) -> AdminServiceClient<Authorised> {
        let token = Bearer(token.to_owned());
        AdminServiceClient::with_interceptor(self.channel().await, token)
    }

    /// The access service, with the token of the file.
    pub(crate) async fn access(&self) -> AccessServiceClient<Authorised> {
        self.access_with(&self.token("admin-token")).await
    }

    /// The access service, with any token.
    pub(crate) async fn access_with(&self, token: &str) -> AccessServiceClient<Authorised> {
        AccessServiceClient::with_interceptor(self.channel().await, Bearer(token.to_owned()))
    }

    /// The audit service, with any token.
    pub(crate) async fn audit_with(&self, token: &str) -> AuditServiceClient<Authorised> {
        AuditServiceClient::with_interceptor(self.channel().await, Bearer(token.to_owned()))
    }

    /// The secret of a new admin token. An owner's is for the user `qnib`.
    pub(crate) async fn create_token(&self, name: &str, role: Role) -> String {
        let user = match role {
            Role::Owner => "qnib".into(),
            _ => String::new(),
        };
        self.create_token_as(CreateTokenRequest {
            name: name.into(),
            role: role.into(),
            user,
            ..Default::default()
        })
        .await
    }

    pub(crate) async fn create_token_as(&self, request: CreateTokenRequest) -> String {
        let created = self.access().await.create_token(request).await;
        created.unwrap().into_inner().secret
    }

    pub(crate) async fn worker(&self) -> PolicyServiceClient<Authorised> {
        let token = Bearer(self.token("worker-token"));
        PolicyServiceClient::with_interceptor(self.channel().await, token)
    }

    /// Opens a stream as the worker `id` that holds `held`.
    pub(crate) async fn follow(&self, id: &str, held: Option<Revision>) -> Follower {
        let hello = Hello {
            worker_id: id.into(),
            version: "0.1.0".into(),
            held,
            registry_address: "127.0.0.1:5000".into(),
            ..Hello::default()
        };
        self.follow_saying(Said::Hello(hello)).await
    }

    /// One who holds something with this digest.
    pub(crate) async fn follow_holding(&self, id: &str, held: Revision, digest: Bytes) -> Follower {
        let hello = Hello {
            worker_id: id.into(),
            held: Some(held),
            digest,
            ..Hello::default()
        };
        self.follow_saying(Said::Hello(hello)).await
    }

    pub(crate) async fn follow_saying(&self, first: Said) -> Follower {
        let (say, said) = mpsc::channel(4);
        let mut client = self.worker().await;
        let hear = client.follow(ReceiverStream::new(said)).await.unwrap();
        let follower = Follower {
            say,
            hear: hear.into_inner(),
        };
        follower.say(first).await;
        follower
    }

    pub(crate) async fn create_user(&self, name: &str) {
        let mut admin = self.admin().await;
        let request = CreateUserRequest {
            name: name.into(),
            password: String::new(),
        };
        admin.create_user(request).await.unwrap();
    }

    pub(crate) async fn create_type(&self, user: &str, name: &str) -> NewLogin {
        let request = CreateTypeRequest {
            machine_type: Some(machine_type(user, name)),
            ..Default::default()
        };
        let created = self.admin().await.create_type(request).await.unwrap();
        created.into_inner().login.unwrap()
    }

    /// Waits until the only worker is as `wanted`.
    pub(crate) async fn until_worker(&self, wanted: impl Fn(&Worker) -> bool) {
        let mut admin = self.admin().await;
        in_time(async {
            loop {
                let listed = admin.list_workers(ListWorkersRequest {}).await.unwrap();
                if listed.into_inner().workers.first().is_some_and(&wanted) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

impl Follower {
    pub(crate) async fn say(&self, message: Said) {
        let message = Some(message);
        self.say.send(WorkerMessage { message }).await.unwrap();
    }

    pub(crate) async fn applied(&self, revision: Revision) {
        let revision = Some(revision);
        self.say(Said::Applied(Applied { revision })).await;
    }

    pub(crate) async fn holds(&self, revision: Revision, digest: Bytes) {
        let revision = Some(revision);
        self.say(Said::Heartbeat(Heartbeat {
            revision,
            digest,
            ..Heartbeat::default()
        }))
        .await;
    }

    pub(crate) async fn rejected(&self, revision: Revision, reason: &str) {
        self.say(Said::Rejected(Rejected {
            revision: Some(revision),
            reason: reason.into(),
        }))
        .await;
    }

    /// The next message. `None`: the stream ended.
    pub(crate) async fn next_even_heartbeat(&mut self) -> Result<Option<Told>, Status> {
        let heard = in_time(self.hear.message()).await?;
        Ok(heard.and_then(|heard| heard.message))
    }

    /// The next message that is no heartbeat. `None`: the stream ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Told>, Status> {
        loop {
            let Some(heard) = in_time(self.hear.message()).await? else {
                return Ok(None);
            };
            match heard.message {
                Some(Told::Heartbeat(_)) | None => {}
                Some(told) => return Ok(Some(told)),
            }
        }
    }

    pub(crate) async fn change(&mut self) -> (Change, Delta) {
        match self.next().await.unwrap() {
            Some(Told::Change(change)) => {
                let delta = Delta::decode(change.delta.clone()).unwrap();
                (change, delta)
            }
            other => panic!("expected a change, got {other:?}"),
        }
    }

    pub(crate) async fn snapshot(&mut self) -> Snapshot {
        let Some(Told::SnapshotBegin(begin)) = self.next().await.unwrap() else {
            panic!("expected a snapshot to begin");
        };
        let mut bytes = Vec::new();
        let mut chunk_sizes = Vec::new();
        loop {
            match self.next().await.unwrap() {
                Some(Told::SnapshotChunk(chunk)) => {
                    chunk_sizes.push(chunk.data.len());
                    bytes.extend_from_slice(&chunk.data);
                }
                Some(Told::SnapshotCommit(commit)) => {
                    assert_eq!(commit.revision, begin.revision);
                    assert_eq!(bytes.len() as u64, begin.size_bytes);
                    return Snapshot {
                        revision: commit.revision.unwrap(),
                        digest: commit.digest,
                        records: Delta::decode(&bytes[..]).unwrap().put,
                        chunk_sizes,
                    };
                }
                other => panic!("expected a piece of the snapshot, got {other:?}"),
            }
        }
    }
}

impl Snapshot {
    pub(crate) fn keys(&self) -> Vec<&str> {
        let records = self.records.iter();
        records.map(|record| record.key.as_str()).collect()
    }
}

pub(crate) fn machine_type(user: &str, name: &str) -> MachineType {
    MachineType {
        user: user.into(),
        name: name.into(),
        features: vec!["cpu:broadwell".into()],
        ..Default::default()
    }
}

pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("it takes too long")
}
