//! Kills the real program under writes, again and again: what was acknowledged
//! is there when it starts again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    time::Duration,
};

use metahub_proto::admin::v1::{
    CreateUserRequest, DeleteUserRequest, ListUsersRequest,
    admin_service_client::AdminServiceClient,
};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

const ROUNDS: usize = 8;
const WRITERS: usize = 6;
const PATIENCE: Duration = Duration::from_secs(30);

type Admin = AdminServiceClient<InterceptedService<Channel, Bearer>>;

#[derive(Clone)]
struct Bearer(String);

/// What the control plane has acknowledged.
enum Acknowledged {
    Created(String),
    Deleted(String),
}

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = MetadataValue::try_from(format!("Bearer {}", self.0)).unwrap();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_writes_it_keeps_every_acknowledged_change() {
    let dir = tempfile::tempdir().unwrap();
    let addr = free_addr();
    let (mut created, mut deleted) = (BTreeSet::new(), BTreeSet::new());

    for round in 0..ROUNDS {
        let (mut control, admin) = start(addr, dir.path()).await;
        let (tell, mut told) = mpsc::channel(1_000);
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let start = format!("r{round}w{writer}n");
            writers.spawn(write(admin.clone(), start, tell.clone()));
        }
        drop(tell);

        for _ in 0..=round * 17 {
            note(told.recv().await.unwrap(), &mut created, &mut deleted);
        }
        control.kill().await.unwrap();
        while let Some(acknowledged) = told.recv().await {
            note(acknowledged, &mut created, &mut deleted);
        }
        writers.join_all().await;

        let (mut control, admin) = start(addr, dir.path()).await;
        let kept = users(admin).await;
        let lost: Vec<_> = created.difference(&kept).collect();
        let risen: Vec<_> = deleted.intersection(&kept).collect();
        assert_eq!((lost.len(), risen.len()), (0, 0), "{lost:?} {risen:?}");
        control.kill().await.unwrap();
    }

    assert!(created.len() > 50, "only {} were kept", created.len());
    let database = rusqlite::Connection::open(dir.path().join("metahub.db")).unwrap();
    let verdict: String = database
        .query_row("pragma integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
}

/// Creates users, and deletes every third again, until the program is gone.
async fn write(mut admin: Admin, start: String, tell: mpsc::Sender<Acknowledged>) {
    for i in 0.. {
        let name = format!("{start}{i}");
        let request = CreateUserRequest {
            name: name.clone(),
            password: String::new(),
        };
        if admin.create_user(request).await.is_err() {
            return;
        }
        if i % 3 != 0 {
            tell.send(Acknowledged::Created(name)).await.unwrap();
            continue;
        }
        let request = DeleteUserRequest { name: name.clone() };
        if admin.delete_user(request).await.is_err() {
            return;
        }
        tell.send(Acknowledged::Deleted(name)).await.unwrap();
    }
}

fn note(
    acknowledged: Acknowledged,
    created: &mut BTreeSet<String>,
    deleted: &mut BTreeSet<String>,
) {
    match acknowledged {
        Acknowledged::Created(name) => created.insert(name),
        Acknowledged::Deleted(name) => deleted.insert(name),
    };
}

async fn users(mut admin: Admin) -> BTreeSet<String> {
    let listed = admin.list_users(ListUsersRequest {}).await.unwrap();
    let users = listed.into_inner().users.into_iter();
    users.map(|user| user.name).collect()
}

/// Starts the program and waits until it answers.
async fn start(addr: SocketAddr, data_dir: &Path) -> (Child, Admin) {
    let child = Command::new(env!("CARGO_BIN_EXE_metahub-control"))
        .arg(format!("--grpc-addr={addr}"))
        .arg("--data-dir")
        .arg(data_dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
    let connected = timeout(PATIENCE, async {
        loop {
            match endpoint.connect().await {
                Ok(channel) => return channel,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    let channel = connected.await.expect("it does not start");
    let answering = timeout(PATIENCE, async {
        loop {
            // Tokens are written before the first answer.
            let token = fs::read_to_string(data_dir.join("admin-token")).unwrap_or_default();
            let bearer = Bearer(token.trim().to_owned());
            let mut admin = AdminServiceClient::with_interceptor(channel.clone(), bearer);
            if admin.list_users(ListUsersRequest {}).await.is_ok() {
                return admin;
            }
        }
    });
    (child, answering.await.expect("it does not answer"))
}

fn free_addr() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
