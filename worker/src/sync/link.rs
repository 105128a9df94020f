//! Questions to the control plane, over the connection that the policy comes by.
//!
//! Without that connection no question is asked, and one that has not been
//! answered keeps the next ones from waiting: whoever asks has something else
//! to do without an answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use metahub_proto::policy::v1::policy_service_client::PolicyServiceClient;
use tokio::time::{Instant, timeout};
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
};

use crate::{
    convert::{self, Unreadable},
    grpc_channel::GrpcChannel,
    snapshot::{Recipe, RecipeName},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// For how long no question is asked after one that was not answered.
const REST: Duration = Duration::from_secs(3);

/// The way to the control plane, while it is there.
#[derive(Debug, Default)]
pub(crate) struct Link(ArcSwapOption<Line>);

/// A connection that the policy comes by.
#[derive(Debug)]
pub(crate) struct Line {
    client: PolicyServiceClient<GrpcChannel>,
    /// `None`: the connection itself shows who asks.
    bearer: Option<MetadataValue<Ascii>>,
    opened: Instant,
    /// Until when no question is asked, in milliseconds after `opened`.
    rests_until: AtomicU64,
}

/// Keeps the line open; closes it when it is dropped.
#[derive(Debug)]
pub(super) struct Linked<'a>(&'a Link);

/// Why a question has no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Unanswered {
    /// There is no connection.
    #[error("there is no connection to the control plane")]
    NoConnection,
    /// It is slow, or was a moment ago.
    #[error("the control plane does not answer in time")]
    Late,
    /// It refuses.
    #[error("the control plane says {:?}: {}", .0.code(), .0.message())]
    Refused(Status),
    /// The answer is none.
    #[error("the control plane sent what cannot be read: {0}")]
    Unreadable(Arc<Unreadable>),
}

impl Link {
    /// Asks through `line` until what this returns is dropped.
    pub(super) fn connect(&self, line: Line) -> Linked<'_> {
        self.set(Some(line));
        Linked(self)
    }

    pub(super) fn set(&self, line: Option<Line>) {
        self.0.store(line.map(Arc::new));
    }

    /// Makes a recipe durable at the control plane, which pushes it to all
    /// workers.
    pub(crate) async fn record(&self, recipe: &Recipe) -> Result<(), Unanswered> {
        let line = self.line()?;
        let mut client = line.client.clone();
        let request = line.request(convert::record_recipe(recipe));
        line.ask(client.record_recipe(request)).await.map(|_| ())
    }

    /// Asks for a recipe. `None`: there is none.
    pub(crate) async fn find(&self, name: &RecipeName) -> Result<Option<Recipe>, Unanswered> {
        let line = self.line()?;
        let mut client = line.client.clone();
        let request = line.request(convert::find_recipe(name));
        match line.ask(client.find_recipe(request)).await {
            Ok(response) => {
                let recipe = convert::found_recipe(response.into_inner());
                let unreadable = |error| Unanswered::Unreadable(Arc::new(error));
                recipe.map(Some).map_err(unreadable)
            }
            Err(Unanswered::Refused(status)) if status.code() == Code::NotFound => Ok(None),
            Err(unanswered) => Err(unanswered),
        }
    }

    fn line(&self) -> Result<Arc<Line>, Unanswered> {
        let line = self.0.load_full().ok_or(Unanswered::NoConnection)?;
        match line.is_resting() {
            true => Err(Unanswered::Late),
            false => Ok(line),
        }
    }
}

impl Line {
    /// A line to where `client` is connected to.
    pub(super) fn new(
        client: PolicyServiceClient<GrpcChannel>,
        bearer: Option<MetadataValue<Ascii>>,
    ) -> Self {
        Self {
            client,
            bearer,
            opened: Instant::now(),
            rests_until: AtomicU64::new(0),
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(bearer) = self.bearer.clone() {
            request.metadata_mut().insert("authorization", bearer);
        }
        request
    }

    async fn ask<T>(
        &self,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<Response<T>, Unanswered> {
        let answer = timeout(PATIENCE, answer).await;
        let is_lost = match &answer {
            Ok(Err(status)) => matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded),
            Ok(Ok(_)) => false,
            Err(_) => true,
        };
        if is_lost {
            self.rests_until.store(self.now() + millis(REST), Relaxed);
        }
        let answer = answer.map_err(|_| Unanswered::Late)?;
        answer.map_err(Unanswered::Refused)
    }

    fn is_resting(&self) -> bool {
        self.now() < self.rests_until.load(Relaxed)
    }

    fn now(&self) -> u64 {
        millis(self.opened.elapsed())
    }
}

impl Drop for Linked<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
