//! A control plane for tests that keeps recipes, and does nothing else.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use metahub_proto::policy::v1::{
    ControlMessage, FindRecipeRequest, FindRecipeResponse, Recipe, RecordRecipeRequest,
    RecordRecipeResponse, WorkerMessage,
    policy_service_client::PolicyServiceClient,
    policy_service_server::{PolicyService, PolicyServiceServer},
};
use tokio::{net::TcpListener, time::timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Request, Response, Status, Streaming,
    metadata::MetadataValue,
    transport::{Endpoint, Server},
};

use super::{Link, link::Line};

/// The control plane.
#[derive(Debug)]
pub(crate) struct Ledger {
    addr: SocketAddr,
    pages: Arc<Pages>,
    _shutdown: DropGuard,
}

/// What it has recorded and been asked.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    recipes: Mutex<HashMap<[String; 3], Recipe>>,
    records: AtomicUsize,
    lookups: AtomicUsize,
    silent: AtomicBool,
}

impl Ledger {
    /// Starts one on a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let pages = Arc::<Pages>::default();
        let service = PolicyServiceServer::from_arc(pages.clone());
        let shutdown = CancellationToken::new();
        let stopped = shutdown.clone().cancelled_owned();
        let server = Server::builder().add_service(service);
        tokio::spawn(
            server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped),
        );
        Self {
            addr,
            pages,
            _shutdown: shutdown.drop_guard(),
        }
    }

    /// Connects `link` to it.
    pub(crate) async fn connect(&self, link: &Link) {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.addr));
        let channel = endpoint.expect("a URL").connect().await.expect("it is up");
        let bearer = MetadataValue::from_static("Bearer sesame");
        link.set(Some(Line::new(
            PolicyServiceClient::new(channel.into()),
            Some(bearer),
        )));
    }

    /// How often a recipe was recorded.
    pub(crate) fn records(&self) -> usize {
        self.pages.records.load(Relaxed)
    }

    /// Waits until a recipe was recorded this often; fails when it was more.
    pub(crate) async fn recorded(&self, times: usize) {
        let enough = async {
            while self.records() < times {
                tokio::task::yield_now().await;
            }
        };
        let in_time = timeout(Duration::from_secs(5), enough).await;
        in_time.expect("it is recorded in time");
        assert_eq!(self.records(), times);
    }

    /// How often a recipe was looked up.
    pub(crate) fn lookups(&self) -> usize {
        self.pages.lookups.load(Relaxed)
    }

    /// Takes the line away from `link`.
    pub(crate) fn disconnect(link: &Link) {
        link.set(None);
    }

    /// Answers nothing from now on.
    pub(crate) fn fall_silent(&self) {
        self.pages.silent.store(true, Relaxed);
    }

    /// Changes every recipe.
    pub(crate) fn forge(&self, change: impl FnMut(&mut Recipe)) {
        let mut recipes = self.pages.recipes.lock().expect("no panic");
        recipes.values_mut().for_each(change);
    }
}

#[tonic::async_trait]
impl PolicyService for Pages {
    type FollowStream = ReceiverStream<Result<ControlMessage, Status>>;

    async fn follow(
        &self,
        _: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn record_recipe(
        &self,
        request: Request<RecordRecipeRequest>,
    ) -> Result<Response<RecordRecipeResponse>, Status> {
        let token = request.metadata().get("authorization");
        assert!(token.is_some_and(|token| token == "Bearer sesame"));
        if self.silent.load(Relaxed) {
            std::future::pending::<()>().await;
        }
        let recipe = request.into_inner().recipe.expect("a recipe");
        let key = [&recipe.digest, &recipe.upstream, &recipe.repository].map(Clone::clone);
        self.recipes.lock().expect("no panic").insert(key, recipe);
        self.records.fetch_add(1, Relaxed);
        Ok(Response::new(RecordRecipeResponse {}))
    }

    async fn find_recipe(
        &self,
        request: Request<FindRecipeRequest>,
    ) -> Result<Response<FindRecipeResponse>, Status> {
        self.lookups.fetch_add(1, Relaxed);
        let asked = request.into_inner();
        let key = [asked.digest, asked.upstream, asked.repository];
        let found = self.recipes.lock().expect("no panic").get(&key).cloned();
        let recipe = found.ok_or_else(|| Status::not_found("no such recipe"))?;
        Ok(Response::new(FindRecipeResponse {
            recipe: Some(recipe),
        }))
    }
}
