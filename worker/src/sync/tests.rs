//! Following a scripted control plane over a real connection.

use std::{io::Write as _, net::SocketAddr};

use metahub_proto::policy::v1::{
    FindRecipeRequest, FindRecipeResponse, RecordRecipeRequest, RecordRecipeResponse, Revision,
    SnapshotBegin, SnapshotChunk, SnapshotCommit,
    control_message::Message as Said,
    policy_service_server::{PolicyService, PolicyServiceServer},
    worker_message::Message as Says,
};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tokio_util::sync::DropGuard;
use tonic::{Response, transport::Server};

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

type Line = mpsc::Sender<Result<ControlMessage, Status>>;

/// What the control plane notices.
#[derive(Debug)]
enum Noticed {
    /// A worker has opened a stream. What is sent here, it hears.
    Came(Line),
    /// A worker says something.
    Says(Says),
}

/// A control plane that does what a test says.
struct Control(mpsc::Sender<Noticed>);

#[tonic::async_trait]
impl PolicyService for Control {
    type FollowStream = ReceiverStream<Result<ControlMessage, Status>>;

    async fn follow(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let token = request.metadata().get("authorization");
        if token.is_none_or(|token| token != "Bearer sesame") {
            return Err(Status::unauthenticated("no"));
        }
        let (line, heard) = mpsc::channel(16);
        let (notices, mut said) = (self.0.clone(), request.into_inner());
        tokio::spawn(async move {
            notices.send(Noticed::Came(line)).await.ok();
            while let Some(Ok(message)) = said.next().await {
                let message = message.message.expect("a message");
                notices.send(Noticed::Says(message)).await.ok();
            }
        });
        Ok(Response::new(ReceiverStream::new(heard)))
    }

    async fn record_recipe(
        &self,
        _: Request<RecordRecipeRequest>,
    ) -> Result<Response<RecordRecipeResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn find_recipe(
        &self,
        _: Request<FindRecipeRequest>,
    ) -> Result<Response<FindRecipeResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

/// A worker that follows a control plane.
struct Stage {
    current: Arc<Current>,
    noticed: mpsc::Receiver<Noticed>,
    _guard: DropGuard,
    _token: NamedTempFile,
}

impl Stage {
    async fn new() -> Self {
        let (notices, noticed) = mpsc::channel(16);
        let addr = serve(Control(notices)).await;
        let mut token = NamedTempFile::new().expect("a file");
        writeln!(token, "sesame").expect("it can be written");
        let current = Arc::new(Current::default());
        let introduction = Introduction {
            worker_id: "worker-0".into(),
            registry_address: "here:1".into(),
            identity: Identity::plain(format!("http://{addr}"), token.path().into()),
        };
        let shutdown = CancellationToken::new();
        let guard = shutdown.clone().drop_guard();
        tokio::spawn(Sync::new(introduction, current.clone(), Arc::default(), None).run(shutdown));
        Self {
            current,
            noticed,
            _guard: guard,
            _token: token,
        }
    }

    async fn notices(&mut self) -> Noticed {
        let noticed = timeout(PATIENCE, self.noticed.recv()).await;
        noticed.expect("in time").expect("it goes on")
    }

    /// Waits for a stream, and for the hello in it.
    async fn came(&mut self) -> (Line, Option<Revision>) {
        let line = loop {
            if let Noticed::Came(line) = self.notices().await {
                break line;
            }
        };
        match self.notices().await {
            Noticed::Says(Says::Hello(hello)) => (line, hello.held),
            other => panic!("not hello first, but {other:?}"),
        }
    }

    /// Waits until the worker says something besides that it is alive.
    async fn says(&mut self) -> Says {
        loop {
            match self.notices().await {
                Noticed::Says(Says::Heartbeat(_)) => {}
                Noticed::Says(says) => return says,
                Noticed::Came(_) => panic!("it came again"),
            }
        }
    }
}

async fn serve(control: Control) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let serving = Server::builder()
        .add_service(PolicyServiceServer::new(control))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    addr
}

fn at(number: u64) -> Option<Revision> {
    Some(Revision { epoch: 7, number })
}

fn commit(revision: Option<Revision>) -> SnapshotCommit {
    SnapshotCommit {
        revision,
        ..Default::default()
    }
}

/// Sends `state` as a snapshot in one chunk.
async fn send(line: &Line, number: u64, state: &'static [u8]) {
    let revision = at(number);
    let size_bytes = state.len() as u64;
    for message in [
        Said::SnapshotBegin(SnapshotBegin {
            revision,
            size_bytes,
        }),
        Said::SnapshotChunk(SnapshotChunk { data: state.into() }),
        Said::SnapshotCommit(commit(revision)),
    ] {
        let message = Some(message);
        line.send(Ok(ControlMessage { message }))
            .await
            .expect("it listens");
    }
}

#[tokio::test]
async fn a_worker_says_hello_takes_the_policy_and_says_so() {
    let mut stage = Stage::new().await;
    let (line, held) = stage.came().await;

    send(&line, 3, b"").await;

    let says = stage.says().await;
    assert_eq!(held, None);
    assert!(matches!(says, Says::Applied(applied) if applied.revision == at(3)));
    assert!(stage.current.load().is_some());
}

#[tokio::test]
async fn a_worker_that_lost_its_control_plane_serves_on_and_comes_back() {
    let mut stage = Stage::new().await;
    let (line, _) = stage.came().await;
    send(&line, 3, b"").await;
    stage.says().await;

    line.send(Err(Status::unavailable("gone")))
        .await
        .expect("it listens");
    drop(line);

    let (_line, held) = stage.came().await;
    assert_eq!(held, at(3));
    assert!(stage.current.load().is_some());
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_is_refused_with_a_reason() {
    let mut stage = Stage::new().await;
    let (line, _) = stage.came().await;

    send(&line, 4, b"\xff\xff").await;

    match stage.says().await {
        Says::Rejected(rejected) => {
            assert_eq!(rejected.revision, at(4));
            assert!(!rejected.reason.is_empty());
        }
        other => panic!("not refused: {other:?}"),
    }
    assert!(stage.current.load().is_none());
}

#[tokio::test]
async fn a_worker_out_of_step_opens_a_new_stream() {
    let mut stage = Stage::new().await;
    let (line, _) = stage.came().await;

    let revision = at(1);
    let message = Some(Said::SnapshotCommit(commit(revision)));
    line.send(Ok(ControlMessage { message }))
        .await
        .expect("it listens");

    stage.came().await;
}
