//! Hosts that answer with whatever bytes a test makes up, well-formed or not,
//! and remember every byte that they were sent.
//!
//! Each has an address of loopback of its own: `127.0.0.2` is another host
//! than `127.0.0.1`, as far as anybody can tell.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::interval,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A host that says what it was told to until it is dropped.
#[derive(Debug)]
pub struct HostileHost {
    address: SocketAddr,
    state: Arc<State>,
    _stop: DropGuard,
}

/// The bytes of an answer, and what comes after them.
#[derive(Clone, Debug)]
pub struct Said {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone, Debug)]
enum Then {
    Close,
    /// The same bytes again and again, with a pause before each.
    Repeat(Vec<u8>, Duration),
}

type Script = Arc<dyn Fn(&str) -> Said + Send + Sync>;

struct State {
    script: Mutex<Script>,
    received: Mutex<Vec<u8>>,
    sent: AtomicU64,
    open: AtomicUsize,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl HostileHost {
    /// Starts one at `127.0.0.n`. Until it is told what to say it answers 404.
    pub async fn start(n: u8) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, n), 0)).await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound port has an address");
        let state = Arc::new(State {
            script: Mutex::new(Arc::new(|_| Said::status("404 Not Found"))),
            received: Mutex::default(),
            sent: AtomicU64::new(0),
            open: AtomicUsize::new(0),
        });
        let stop = CancellationToken::new();
        let accepting = accept(listener, state.clone(), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Self {
            address,
            state,
            _stop: stop.drop_guard(),
        }
    }

    /// Its URL, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says to each request what `script` makes of the request's text.
    pub fn says(&self, script: impl Fn(&str) -> Said + Send + Sync + 'static) {
        *locked(&self.state.script) = Arc::new(script);
    }

    /// Every byte that it was sent so far, as text.
    pub fn received(&self) -> String {
        String::from_utf8_lossy(&locked(&self.state.received)).into_owned()
    }

    /// How many bytes it has sent so far.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Relaxed)
    }

    /// How many connections to it are open.
    pub fn open(&self) -> usize {
        self.state.open.load(Relaxed)
    }
}

impl Said {
    /// These bytes, as they are, and the end of the connection.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            then: Then::Close,
        }
    }

    /// A status without a body, for example `404 Not Found`.
    pub fn status(status: &str) -> Self {
        Self::headed(status, &[("Content-Length", "0")])
    }

    /// A status with headers, which should tell how long the body is that
    /// follows.
    pub fn headed(status: &str, headers: &[(&str, &str)]) -> Self {
        let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        Self::bytes(head)
    }

    /// 200 with a body of this media type.
    pub fn ok(media_type: &str, body: impl AsRef<[u8]>) -> Self {
        let length = body.as_ref().len().to_string();
        Self::headed(
            "200 OK",
            &[("Content-Type", media_type), ("Content-Length", &length)],
        )
        .and(body)
    }

    /// A redirect.
    pub fn redirect(location: &str) -> Self {
        let headers = [("Location", location), ("Content-Length", "0")];
        Self::headed("307 Temporary Redirect", &headers)
    }

    /// 401 with a challenge.
    pub fn challenge(challenge: &str) -> Self {
        let headers = [("WWW-Authenticate", challenge), ("Content-Length", "0")];
        Self::headed("401 Unauthorized", &headers)
    }

    /// The same with more bytes.
    #[must_use]
    pub fn and(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.bytes.extend_from_slice(bytes.as_ref());
        self
    }

    /// The same, and then `bytes` for ever, with a pause before each.
    #[must_use]
    pub fn then_for_ever(mut self, bytes: impl Into<Vec<u8>>, pause: Duration) -> Self {
        self.then = Then::Repeat(bytes.into(), pause);
        self
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, stop: CancellationToken) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection = connection(stream, state.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
    }
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    let (mut from, to) = stream.into_split();
    state.open.fetch_add(1, Relaxed);
    let mut request = Vec::new();
    while !is_whole(&request) && hear(&mut from, &mut request, &state).await {}
    if !request.is_empty() {
        let script = locked(&state.script).clone();
        let said = script(&String::from_utf8_lossy(&request));
        tokio::select! {
            () = say(to, said, &state) => (),
            () = async { while hear(&mut from, &mut request, &state).await {} } => (),
        }
    }
    state.open.fetch_sub(1, Relaxed);
}

/// Reads some bytes, and writes them down. Whether there were any.
async fn hear(from: &mut OwnedReadHalf, request: &mut Vec<u8>, state: &State) -> bool {
    let before = request.len();
    let heard = from.read_buf(request).await;
    locked(&state.received).extend_from_slice(&request[before..]);
    heard.is_ok_and(|bytes| bytes > 0)
}

/// Whether a request has ended, or is none of HTTP.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    if !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return true;
    }
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.split_once("content-length: ").map(|(_, rest)| {
        let digits = rest.split("\r\n").next().unwrap_or_default();
        digits.parse().unwrap_or(0)
    });
    body.len() >= length.unwrap_or(0)
}

async fn say(mut to: OwnedWriteHalf, said: Said, state: &State) {
    for part in said.bytes.chunks(64 << 10) {
        if to.write_all(part).await.is_err() {
            return;
        }
        state.sent.fetch_add(part.len() as u64, Relaxed);
    }
    if let Then::Repeat(bytes, pause) = said.then {
        let mut ticks = (!pause.is_zero()).then(|| interval(pause));
        while to.write_all(&bytes).await.is_ok() {
            state.sent.fetch_add(bytes.len() as u64, Relaxed);
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
        }
    }
    let _ = to.shutdown().await;
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
