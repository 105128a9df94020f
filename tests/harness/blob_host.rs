//! An upstream of one large blob, which counts what it sends.
//!
//! The blob is one block of noise again and again, so that its size costs no
//! memory.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use bytes::Bytes;
use metahub_cli::demo::digest::sha256_of;
use tokio::sync::watch;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::large::noise;

/// How much of the blob is noise before it begins again, in bytes.
const BLOCK: usize = 1 << 20;
/// How much is written at a time, in bytes.
const PIECE: usize = 64 << 10;

/// A blob that is never in memory as a whole.
#[derive(Clone, Debug)]
pub struct HugeBlob {
    block: Bytes,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest.
    pub digest: String,
}

/// A registry that has one blob, in every repository, until it is dropped.
#[derive(Debug)]
pub struct BlobHost {
    address: SocketAddr,
    state: Arc<State>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct State {
    blob: HugeBlob,
    sent: AtomicU64,
    first_byte: OnceLock<Instant>,
    /// How far it sends the blob.
    limit: watch::Sender<u64>,
}

impl HugeBlob {
    /// A blob of this many MiB.
    pub fn new(mebibytes: u64) -> Self {
        let block = Bytes::from(noise(BLOCK));
        let digest = sha256_of((0..mebibytes).map(|_| &block[..]));
        Self {
            block,
            size: mebibytes << 20,
            digest,
        }
    }

    /// Its bytes from `position` on, as far as they come in one piece.
    pub fn at(&self, position: u64) -> Bytes {
        let begin = usize::try_from(position).map_or(0, |at| at % BLOCK);
        let left = usize::try_from(self.size - position).unwrap_or(BLOCK);
        let end = BLOCK.min(begin + left);
        self.block.slice(begin..end)
    }
}

impl BlobHost {
    /// Starts one on a free port of the loopback address.
    pub async fn start(blob: HugeBlob) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound port has an address");
        let state = Arc::new(State {
            blob,
            sent: AtomicU64::new(0),
            first_byte: OnceLock::new(),
            limit: watch::Sender::new(u64::MAX),
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

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many bytes of the blob it has sent, to all together.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Relaxed)
    }

    /// Sends no byte of the blob from `position` on, until told otherwise.
    pub fn hold_at(&self, position: u64) {
        self.state.limit.send_replace(position);
    }

    /// When it began to send the blob for the first time.
    pub fn first_byte(&self) -> Option<Instant> {
        self.state.first_byte.get().copied()
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, stop: CancellationToken) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        let connection = async move {
            // A client that breaks off is its own affair.
            let _ = answer(stream, &state).await;
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
    }
}

/// Answers one request: the blob from where its range begins, or its head.
async fn answer(stream: TcpStream, state: &State) -> std::io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut lines = BufReader::new(from).lines();
    let mut position = None;
    let mut is_head = false;
    while let Some(line) = lines.next_line().await?.filter(|line| !line.is_empty()) {
        let lower = line.to_ascii_lowercase();
        is_head |= lower.starts_with("head ");
        if let Some(range) = lower.strip_prefix("range: bytes=") {
            let (first, _) = range.split_once('-').unwrap_or_default();
            position = first.parse().ok();
        }
    }
    let size = state.blob.size;
    let range =
        position.map(|at: u64| format!("Content-Range: bytes {at}-{}/{size}\r\n", size - 1));
    let status = if range.is_some() {
        "206 Partial Content"
    } else {
        "200 OK"
    };
    let mut position = position.unwrap_or(0);
    let length = size - position;
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{}\r\n",
        range.unwrap_or_default()
    );
    to.write_all(head.as_bytes()).await?;
    if is_head {
        return to.shutdown().await;
    }
    let mut limit = state.limit.subscribe();
    state.first_byte.get_or_init(Instant::now);
    while position < size {
        let free = limit.wait_for(|limit| position < *limit).await;
        free.map_err(std::io::Error::other)?;
        let bytes = state.blob.at(position);
        let piece = &bytes[..bytes.len().min(PIECE)];
        let length = piece.len() as u64;
        // First: who has read it all may ask at once how much there was.
        state.sent.fetch_add(length, Relaxed);
        to.write_all(piece).await.inspect_err(|_| {
            state.sent.fetch_sub(length, Relaxed);
        })?;
        position += length;
    }
    to.shutdown().await
}
