//! The calls to etcd that the store is made of.
//!
//! One node is asked at a time. When it does not answer, has lost its leader
//! or breaks off, the next one is. Every call is tried until its patience is
//! over, so each must be one that does no harm when it is done twice: reads,
//! and transactions that compare first.

use std::{
    fmt,
    future::ready,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{
    StreamExt as _,
    stream::{once, pending},
};
use tokio::time::{Instant, sleep, timeout};
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use super::{
    causes::causes,
    error::{EtcdError, Verdict},
    nodes::Nodes,
    pb::{
        AuthenticateRequest, LeaseGrantRequest, LeaseKeepAliveRequest, RangeRequest, RangeResponse,
        TxnRequest, TxnResponse, WatchCreateRequest, WatchRequest, WatchResponse,
        auth_client::AuthClient, kv_client::KvClient, lease_client::LeaseClient,
        watch_client::WatchClient, watch_request::RequestUnion,
    },
};

/// How long one node may take to answer.
const ATTEMPT: Duration = Duration::from_secs(4);
/// The same for the first two that are asked: what was on its way when the
/// leader was lost is lost too, and a node that does not know waits in vain.
/// An election takes a second or two.
const QUICK_ATTEMPT: Duration = Duration::from_millis(1_500);
const QUICK_ATTEMPTS: usize = 2;
/// After how many tries certificates are looked at: no other try helps with
/// those. Before that, they may be about to be renewed on both sides.
const CERTIFICATE_ATTEMPTS: usize = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// What an answer may weigh. Pages are cut by number, so a page of large
/// records weighs more than one of small ones.
const LARGEST_ANSWER: usize = 512 << 20;

/// A client of one cluster.
pub(super) struct Client {
    nodes: Arc<Nodes>,
    /// For how long a call is tried.
    patience: Duration,
    /// The place in `nodes` of the one that is asked.
    current: AtomicUsize,
    token: Mutex<Option<MetadataValue<Ascii>>>,
}

/// A watch over one key, by way of one node.
pub(super) struct Watch {
    answers: Streaming<WatchResponse>,
    node: usize,
    url: String,
}

impl Client {
    /// `nodes` has at least one.
    pub(super) fn new(nodes: Arc<Nodes>, patience: Duration) -> Self {
        Self {
            nodes,
            patience,
            current: AtomicUsize::new(0),
            token: Mutex::default(),
        }
    }

    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, EtcdError> {
        self.call(|channel| {
            let request = self.request(request.clone());
            let mut kv = KvClient::new(channel).max_decoding_message_size(LARGEST_ANSWER);
            async move { kv.range(request).await }
        })
        .await
    }

    pub(super) async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, EtcdError> {
        self.call(|channel| {
            let request = self.request(request.clone());
            let mut kv = KvClient::new(channel).max_decoding_message_size(LARGEST_ANSWER);
            async move { kv.txn(request).await }
        })
        .await
    }

    /// Watches `key` from `start_revision` on.
    pub(super) async fn watch(&self, key: &str, start_revision: i64) -> Result<Watch, EtcdError> {
        let node = self.current.load(Relaxed);
        let create = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
                key: key.to_owned().into(),
                start_revision,
                ..WatchCreateRequest::default()
            })),
        };
        let answers = self
            .call(|channel| {
                // The stream of requests stays open for as long as the watch.
                let requests = once(ready(create.clone())).chain(pending());
                let request = self.request(requests);
                async move { WatchClient::new(channel).watch(request).await }
            })
            .await?;
        Ok(Watch {
            answers,
            node,
            url: self.nodes.urls[node].clone(),
        })
    }

    /// A lease that ends by itself `ttl` after it was last kept alive.
    pub(super) async fn grant_lease(&self, ttl: Duration) -> Result<i64, EtcdError> {
        let request = LeaseGrantRequest {
            ttl: i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX),
            id: 0,
        };
        let granted = self
            .call(|channel| {
                let request = self.request(request);
                async move { LeaseClient::new(channel).lease_grant(request).await }
            })
            .await?;
        Ok(granted.id)
    }

    /// Whether the lease was still there to be kept alive.
    pub(super) async fn keep_alive(&self, id: i64) -> Result<bool, EtcdError> {
        let mut answers = self
            .call(|channel| {
                let request = self.request(once(ready(LeaseKeepAliveRequest { id })));
                async move { LeaseClient::new(channel).lease_keep_alive(request).await }
            })
            .await?;
        let answer = timeout(ATTEMPT, answers.message()).await;
        match answer {
            Ok(Ok(Some(answer))) => Ok(answer.ttl > 0),
            Ok(Ok(None)) | Err(_) => Err(self.gone("the stream ended")),
            Ok(Err(status)) => Err(self.gone(status.message())),
        }
    }

    /// Whether calls still go to the node that `watch` goes to.
    pub(super) fn is_where(&self, watch: &Watch) -> bool {
        self.current.load(Relaxed) == watch.node
    }

    /// Has the next call go to another node than the `watch` went to.
    pub(super) fn leave_node_of(&self, watch: &Watch) {
        self.leave(watch.node);
    }

    async fn call<T, A>(&self, ask: impl Fn(Channel) -> A) -> Result<T, EtcdError>
    where
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        let (mut logins, mut tries) = (0, 0);
        loop {
            tries += 1;
            let limit = match tries > QUICK_ATTEMPTS {
                true => ATTEMPT,
                false => QUICK_ATTEMPT,
            };
            let at = self.current.load(Relaxed);
            let (node, channel) = (&self.nodes.urls[at], self.nodes.channel(at));
            let attempt = async {
                self.log_in(&channel).await?;
                ask(channel.clone()).await
            };
            let status = match timeout(limit, attempt).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer in time"),
            };
            match Verdict::of(&status) {
                Verdict::Compacted => return Err(EtcdError::Compacted),
                Verdict::LogInAgain if logins < 2 => {
                    logins += 1;
                    self.set_token(None);
                }
                Verdict::LogInAgain | Verdict::Refused => return Err(refused(node, &status)),
                Verdict::TryElsewhere if Instant::now() + pause >= deadline => {
                    return Err(unreachable(node, &causes(&status)));
                }
                Verdict::TryElsewhere => {
                    if tries == CERTIFICATE_ATTEMPTS
                        && let Some(problem) = self.nodes.tls_problem(at).await
                    {
                        return Err(unreachable(node, problem));
                    }
                    self.leave(at);
                }
            }
            sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Gets a token where one is needed and there is none.
    async fn log_in(&self, channel: &Channel) -> Result<(), Status> {
        if self.token().is_some() {
            return Ok(());
        }
        let user = self.nodes.user();
        let user = user.map_err(|error| Status::unavailable(error.to_string()))?;
        let Some((name, password)) = user else {
            return Ok(());
        };
        let request = AuthenticateRequest {
            name,
            password: password.expose().to_owned(),
        };
        let answer = match AuthClient::new(channel.clone()).authenticate(request).await {
            // Users are switched off, for maintenance: none is asked for.
            Err(status) if status.code() == Code::FailedPrecondition => return Ok(()),
            answer => answer?.into_inner(),
        };
        let token = answer.token.parse();
        let token = token.map_err(|_| Status::internal("a token that cannot be sent back"))?;
        self.set_token(Some(token));
        Ok(())
    }

    /// `hasleader`: a node that has lost touch with the others says so instead
    /// of keeping the caller waiting.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("hasleader", MetadataValue::from_static("true"));
        if let Some(token) = self.token() {
            metadata.insert("token", token);
        }
        request
    }

    /// Of several calls that fail at one node, one moves on.
    fn leave(&self, at: usize) {
        let next = (at + 1) % self.nodes.urls.len();
        let _ = self.current.compare_exchange(at, next, Relaxed, Relaxed);
    }

    fn gone(&self, reason: &str) -> EtcdError {
        unreachable(&self.nodes.urls[self.current.load(Relaxed)], reason)
    }

    fn token(&self) -> Option<MetadataValue<Ascii>> {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        token.clone()
    }

    fn set_token(&self, token: Option<MetadataValue<Ascii>>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

impl Watch {
    /// Waits for something to happen to the key. It may also return when
    /// nothing has: whoever watches looks for themselves.
    pub(super) async fn changed(&mut self) -> Result<(), EtcdError> {
        let reason = match self.answers.message().await {
            Ok(Some(answer)) if !answer.canceled => return Ok(()),
            Ok(Some(answer)) if answer.compact_revision > 0 => return Err(EtcdError::Compacted),
            Ok(Some(answer)) => answer.cancel_reason,
            Ok(None) => "the watch ended".to_owned(),
            Err(status) => status.message().to_owned(),
        };
        Err(EtcdError::Unreachable {
            node: self.url.clone(),
            reason,
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.nodes.urls).finish()
    }
}

fn refused(node: &str, status: &Status) -> EtcdError {
    EtcdError::Refused {
        node: node.to_owned(),
        reason: status.message().to_owned(),
    }
}

fn unreachable(node: &str, reason: &str) -> EtcdError {
    EtcdError::Unreachable {
        node: node.to_owned(),
        reason: reason.to_owned(),
    }
}
