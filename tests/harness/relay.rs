//! A way to the control plane that spoils what it is told to spoil: all of the
//! rest goes through as it is.

use std::sync::{Arc, Mutex};

use metahub_proto::policy::v1::{
    ControlMessage, Delta, FindRecipeRequest, FindRecipeResponse, RecordRecipeRequest,
    RecordRecipeResponse, WorkerMessage,
    control_message::Message as Told,
    policy_service_client::PolicyServiceClient,
    policy_service_server::{PolicyService, PolicyServiceServer},
};
use prost::Message as _;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{
    StreamExt as _,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Extensions, Request, Response, Status, Streaming,
    transport::{Channel, Server},
};

use crate::control::Place;

/// What is done to the next change.
#[derive(Clone, Copy, Debug)]
pub enum Spoil {
    /// It is made bytes that are no message.
    Unreadable,
    /// It is without the last record that it puts.
    LosesRecord,
}

/// The relay. It ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    place: Place,
    spoil: Arc<Mutex<Option<Spoil>>>,
    _shutdown: DropGuard,
}

struct Relaying {
    control: String,
    spoil: Arc<Mutex<Option<Spoil>>>,
}

impl Relay {
    /// Starts one before the control plane at `control`.
    pub async fn before(control: &Place) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback has a free port");
        let addr = listener.local_addr().expect("it is bound");
        let (spoil, shutdown) = (Arc::default(), CancellationToken::new());
        let relaying = Relaying {
            control: control.url(),
            spoil: Arc::clone(&spoil),
        };
        let server = Server::builder().add_service(PolicyServiceServer::new(relaying));
        let stopped = shutdown.clone().cancelled_owned();
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(server.serve_with_incoming_shutdown(incoming, stopped));
        Self {
            place: control.seen_at(addr),
            spoil,
            _shutdown: shutdown.drop_guard(),
        }
    }

    /// The control plane as it is seen through the relay.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Spoils the next change.
    pub fn spoil(&self, spoil: Spoil) {
        *self.spoil.lock().expect("no panic") = Some(spoil);
    }
}

impl Relaying {
    async fn client(&self) -> Result<PolicyServiceClient<Channel>, Status> {
        let client = PolicyServiceClient::connect(self.control.clone()).await;
        client.map_err(|error| Status::unavailable(error.to_string()))
    }
}

#[tonic::async_trait]
impl PolicyService for Relaying {
    type FollowStream = ReceiverStream<Result<ControlMessage, Status>>;

    async fn follow(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let (metadata, _, said) = request.into_parts();
        let said = said.filter_map(Result::ok);
        let request = Request::from_parts(metadata, Extensions::default(), said);
        let mut told = self.client().await?.follow(request).await?.into_inner();
        let (pass, passed) = mpsc::channel(1);
        let spoil = self.spoil.clone();
        tokio::spawn(async move {
            while let Some(message) = told.message().await.transpose() {
                let message = message.map(|message| spoiled(message, &spoil));
                if pass.send(message).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(passed)))
    }

    async fn record_recipe(
        &self,
        request: Request<RecordRecipeRequest>,
    ) -> Result<Response<RecordRecipeResponse>, Status> {
        self.client().await?.record_recipe(request).await
    }

    async fn find_recipe(
        &self,
        request: Request<FindRecipeRequest>,
    ) -> Result<Response<FindRecipeResponse>, Status> {
        self.client().await?.find_recipe(request).await
    }
}

fn spoiled(mut message: ControlMessage, spoil: &Mutex<Option<Spoil>>) -> ControlMessage {
    if let Some(Told::Change(change)) = &mut message.message {
        match spoil.lock().expect("no panic").take() {
            None => {}
            Some(Spoil::Unreadable) => change.delta = b"\xff\xff"[..].into(),
            Some(Spoil::LosesRecord) => {
                let mut delta = Delta::decode(change.delta.clone()).expect("it is a delta");
                delta.put.pop().expect("it puts a record");
                change.delta = delta.encode_to_vec().into();
            }
        }
    }
    message
}
