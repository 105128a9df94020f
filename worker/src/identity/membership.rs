//! Joining, and staying in: a join token admits the worker once, and from then
//! on it has a certificate that it renews by itself.
//!
//! What cannot be renewed is used to its end. A worker whose certificate has
//! expired serves on, and joins again as soon as it has a token that is good.
//! Whether it has expired is told by the control plane's clock: the worker's
//! own says no more than when to ask.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};
use metahub_proto::policy::v1::{
    IssuedCertificate, JoinRequest, RenewRequest, join_service_client::JoinServiceClient,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    NoWay,
    credential::{Application, Credential},
    read,
    way::{Opened, Way},
};
use crate::{Config, backoff::Backoff, grpc_channel::GrpcChannel, trust::Fingerprint};

/// What a join token starts with.
const PREFIX: &str = "mh_join_";
const STATE_FILE: &str = "identity.json";
/// Clocks may jump: what is to be renewed is looked at this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(8);
const MIN_DELAY: Duration = Duration::from_millis(500);
const MAX_DELAY: Duration = Duration::from_secs(5 * 60);
/// When a certificate of another authority is renewed: not by all at once, and
/// once all replicas know that authority.
const SOONEST: Duration = Duration::from_secs(3);
const LATEST: Duration = Duration::from_secs(10);

/// What makes a worker a member, and what it has from that.
#[derive(Debug)]
pub(super) struct Membership {
    worker_id: String,
    token_file: Option<PathBuf>,
    state_file: Option<PathBuf>,
    current: watch::Sender<Option<Arc<Credential>>>,
    /// By what it joins: the same at each try, for who asks again by the same
    /// is let in by a token that is spent on it.
    application: Mutex<Option<Arc<Application>>>,
    /// The connection of the newest stream.
    connected: Mutex<Option<Opened>>,
    /// The fingerprint of the authority that certificates are from, once the
    /// control plane has told it.
    authority: watch::Sender<String>,
}

impl Membership {
    /// Takes up what the state directory holds.
    pub(super) fn open(config: &Config, worker_id: &str) -> anyhow::Result<Self> {
        let state_file = match &config.state_dir {
            None => None,
            Some(dir) => {
                fs::create_dir_all(dir)
                    .with_context(|| format!("cannot make {}", dir.display()))?;
                Some(dir.join(STATE_FILE))
            }
        };
        let kept = match &state_file {
            Some(path) => Credential::read(path)?,
            None => None,
        };
        ensure!(
            kept.is_some() || config.join_token_file.is_some(),
            "the state directory is empty: give a join token with --join-token-file"
        );
        if let (Some(kept), Some(path)) = (&kept, &state_file) {
            ensure!(
                kept.worker_id == worker_id,
                "{} is of the worker `{}`, and this one is `{worker_id}`: start it with \
                 --worker-id, or give it another state directory",
                path.display(),
                kept.worker_id
            );
        }
        Ok(Self {
            worker_id: worker_id.to_owned(),
            token_file: config.join_token_file.clone(),
            state_file,
            current: watch::Sender::new(kept.map(Arc::new)),
            application: Mutex::default(),
            connected: Mutex::default(),
            authority: watch::Sender::default(),
        })
    }

    /// Notes what certificates are from. Nothing, if nothing is told.
    pub(super) fn heed(&self, authority: &str) {
        self.authority.send_if_modified(|known| {
            let is_new = !authority.is_empty() && known != authority;
            if is_new {
                authority.clone_into(known);
            }
            is_new
        });
    }

    fn is_outdated(&self, credential: &Credential) -> bool {
        let authority = self.authority.borrow();
        !authority.is_empty() && credential.is_from_another(&authority)
    }

    /// A new connection on which the certificate is shown. Joins first if there
    /// is none that is good.
    pub(super) async fn connect(&self, way: &Way) -> Result<GrpcChannel, NoWay> {
        let held = self.current.borrow().clone();
        let credential = match held {
            None => self.join(way).await?,
            Some(held) if !held.is_over(SystemTime::now()) => held,
            Some(over) => match self.renew(way, &over).await {
                Ok(renewed) => renewed,
                Err(_) => self.join(way).await?,
            },
        };
        let identity = Some(credential.identity());
        let opened = way.open(identity, credential.pinned).await?;
        *locked(&self.connected) = Some(opened.clone());
        Ok(opened.channel)
    }

    async fn join(&self, way: &Way) -> Result<Arc<Credential>, NoWay> {
        let file = self.token_file.as_ref().ok_or(NoWay::NoJoinToken)?;
        let refused = |status| NoWay::NotAdmitted(status, file.clone());
        let text = read(file).await?;
        let (secret, pinned) = parse(&text).ok_or_else(|| NoWay::BadJoinToken(file.clone()))?;
        let Opened { channel, successor } = way.open(None, pinned).await?;
        let application = self.application()?;
        let request = JoinRequest {
            worker_id: self.worker_id.clone(),
            secret: secret.to_owned(),
            signing_request: application.signing_request.clone(),
        };
        let answer = in_time(JoinServiceClient::new(channel).join(request)).await;
        let issued = answer.map_err(refused)?.into_inner().issued;
        let pinned = pinned.map(|pinned| successor.unwrap_or(pinned));
        let credential = self.take(&application, pinned, issued.unwrap_or_default());
        *locked(&self.application) = None;
        info!("joined, with a certificate for {:?}", credential.lifetime());
        Ok(credential)
    }

    fn application(&self) -> Result<Arc<Application>, NoWay> {
        let mut application = locked(&self.application);
        if let Some(made) = &*application {
            return Ok(made.clone());
        }
        let made = Arc::new(Application::new()?);
        *application = Some(made.clone());
        Ok(made)
    }

    /// Renews the certificate in good time, for ever.
    pub(super) async fn keep_fresh(&self, way: &Way) {
        let mut current = self.current.subscribe();
        let mut authority = self.authority.subscribe();
        let mut backoff = Backoff::new(MIN_DELAY, MAX_DELAY);
        let mut jitter = fastrand::f64();
        loop {
            let newest = current.borrow_and_update().clone();
            let Some(credential) = newest else {
                // It joins when it connects.
                let _ = timeout(LONGEST_SLEEP, current.changed()).await;
                continue;
            };
            let wait = credential.renewal(SystemTime::now(), jitter);
            if self.is_outdated(&credential) {
                sleep(wait.min(SOONEST + (LATEST - SOONEST).mul_f64(jitter))).await;
            } else if !wait.is_zero() {
                tokio::select! {
                    _ = timeout(wait.min(LONGEST_SLEEP), current.changed()) => {}
                    _ = authority.changed() => {}
                }
                continue;
            }
            match self.renew(way, &credential).await {
                Ok(_) => {
                    backoff.reset();
                    jitter = fastrand::f64();
                }
                Err(error) => {
                    let (end, delay) = (credential.expires(), backoff.next_delay(fastrand::f64()));
                    let delay = delay.min(credential.lifetime() / 10);
                    let end = humantime::format_rfc3339_seconds(end);
                    warn!(?delay, "the certificate's end is {end}: {error}");
                    sleep(delay).await;
                }
            }
        }
    }

    /// Renews it over a new connection. One that the control plane takes for
    /// over gets none: then over the stream's, which was let in by it.
    async fn renew(&self, way: &Way, credential: &Credential) -> Result<Arc<Credential>, NoWay> {
        let renewed = match self.knock(way, credential).await {
            Ok(opened) => self.renew_over(opened, credential).await,
            Err(error) => Err(error),
        };
        let connected = locked(&self.connected).clone();
        match (renewed, connected) {
            (Err(_), Some(opened)) => self.renew_over(opened, credential).await,
            (renewed, _) => renewed,
        }
    }

    async fn knock(&self, way: &Way, credential: &Credential) -> Result<Opened, NoWay> {
        let identity = Some(credential.identity());
        let opened = timeout(PATIENCE, way.open(identity, credential.pinned)).await;
        let late = |_| NoWay::NotRenewed(tonic::Status::unavailable("no connection in time"));
        opened.map_err(late)?
    }

    async fn renew_over(
        &self,
        opened: Opened,
        credential: &Credential,
    ) -> Result<Arc<Credential>, NoWay> {
        let application = Application::new()?;
        let request = RenewRequest {
            signing_request: application.signing_request.clone(),
        };
        let answer = in_time(JoinServiceClient::new(opened.channel).renew(request)).await;
        let issued = answer.map_err(NoWay::NotRenewed)?.into_inner().issued;
        let issued = issued.unwrap_or_default();
        let pinned = credential.pinned_after(opened.successor, &issued.authority);
        Ok(self.take(&application, pinned, issued))
    }

    /// Uses what was issued from now on. What cannot be kept for a restart is
    /// used all the same.
    fn take(
        &self,
        application: &Application,
        pinned: Option<Fingerprint>,
        issued: IssuedCertificate,
    ) -> Arc<Credential> {
        let worker_id = self.worker_id.clone();
        let credential = application.granted(worker_id, pinned, issued);
        if let Some(path) = &self.state_file
            && let Err(error) = credential.write(path)
        {
            warn!("a restart will need a join token: {error:#}");
        }
        let credential = Arc::new(credential);
        self.current.send_replace(Some(credential.clone()));
        credential
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn in_time<T>(
    answer: impl Future<Output = Result<T, tonic::Status>>,
) -> Result<T, tonic::Status> {
    let late = |_| Err(tonic::Status::unavailable("no answer in time"));
    timeout(PATIENCE, answer).await.unwrap_or_else(late)
}

/// The secret of a join token, and whom it says to trust.
fn parse(text: &str) -> Option<(&str, Option<Fingerprint>)> {
    let text = text.trim();
    let (secret, pinned) = match text.split_once('.') {
        Some((secret, pinned)) => (secret, Some(pinned.parse().ok()?)),
        None => (text, None),
    };
    secret.starts_with(PREFIX).then_some((secret, pinned))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use metahub_proto::policy::v1::{
        JoinResponse, RenewResponse,
        join_service_server::{JoinService, JoinServiceServer},
    };
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::{Request, Response, Status, transport::Server};

    use super::*;

    /// Notes what it is asked for, and lets in whoever asks a second time.
    #[derive(Clone, Default)]
    struct LosesFirst(Arc<Mutex<Vec<JoinRequest>>>);

    #[tonic::async_trait]
    impl JoinService for LosesFirst {
        async fn join(
            &self,
            request: Request<JoinRequest>,
        ) -> Result<Response<JoinResponse>, Status> {
            let mut asked = locked(&self.0);
            asked.push(request.into_inner());
            match asked.len() {
                1 => Err(Status::unavailable("lost")),
                _ => Ok(Response::new(JoinResponse::default())),
            }
        }

        async fn renew(&self, _: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
            Err(Status::unimplemented("no one asks"))
        }
    }

    #[tokio::test]
    async fn who_has_not_got_the_answer_asks_by_the_same_key_and_later_by_another() {
        let dir = tempfile::tempdir().unwrap();
        let token_file = dir.path().join("token");
        fs::write(&token_file, "mh_join_secret").unwrap();
        let flag = format!("--join-token-file={}", token_file.display());
        let config = Config::parse_from(["metahub-worker", &flag]);
        let membership = Membership::open(&config, "w1").unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = Way::plain(format!("http://{}", listener.local_addr().unwrap()));
        let control = LosesFirst::default();
        let server = Server::builder().add_service(JoinServiceServer::new(control.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

        assert!(membership.join(&way).await.is_err());
        membership.join(&way).await.unwrap();
        membership.join(&way).await.unwrap();

        let asked = locked(&control.0);
        assert_eq!(asked[0], asked[1]);
        assert_ne!(asked[1].signing_request, asked[2].signing_request);
    }

    #[test]
    fn a_join_token_is_a_secret_and_whom_to_trust() {
        let digits = "0a".repeat(32);

        let text = format!("mh_join_secret.{digits}\n");
        let (secret, pinned) = parse(&text).unwrap();

        assert_eq!(secret, "mh_join_secret");
        assert_eq!(pinned, digits.parse().ok());
        assert_eq!(parse("mh_join_secret"), Some(("mh_join_secret", None)));
        assert_eq!(parse("mh_adm_secret"), None);
        assert_eq!(parse("mh_join_secret.xyz"), None);
    }
}
