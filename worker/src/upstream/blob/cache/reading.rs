//! Reading a blob, or a part of one, from its file.
//!
//! What the file does not give, since its writer has given up or the disk
//! fails, is read from the upstream, from where the file has ended.

use std::{
    fmt,
    future::poll_fn,
    io,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
use tokio::time::{Instant, sleep};

use super::{
    BlobCache, Held, blocking,
    checks::hashed,
    directory::is_held,
    fill::{Growth, State},
    metrics::Cause,
    read_at,
};
use crate::{
    reference::Digest,
    upstream::{
        Error,
        blob::{reopen::Reopen, transfer::Transfer},
        hash::Hasher,
    },
};

/// What is read at a time, in bytes.
const PIECE: usize = 128 << 10;
/// How often a file that another worker writes is looked at, and with how many
/// looks the writer.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const LOOKS_AT_WRITER: u32 = 20;

/// A client's way through a file.
#[derive(Debug)]
pub(in crate::upstream::blob) struct Reading {
    cache: Arc<BlobCache>,
    held: Held,
    digest: Digest,
    reopen: Reopen,
    position: u64,
    end: u64,
    /// Whether it is all of the blob, which can be verified.
    is_all: bool,
    /// What the bytes must hash to, where nobody else has made sure of it.
    hasher: Option<Hasher>,
    /// Where the rest comes from, if not from the file.
    rest: Option<Transfer>,
}

/// Bytes on their way from a file to a client.
pub(in crate::upstream::blob) struct FileBody {
    bytes: BoxStream<'static, Result<Bytes, Error>>,
    remaining: u64,
}

/// What a look at a file has shown.
enum Look {
    /// It can be read up to here.
    UpTo(u64),
    Failed(Error),
    /// It will not go on.
    Over,
}

impl Reading {
    /// Reads `part` of `held`; the rest from the upstream by `reopen`, if need
    /// be.
    pub(in crate::upstream::blob) fn new(
        cache: &Arc<BlobCache>,
        held: Held,
        digest: &Digest,
        reopen: Reopen,
        part: Range<u64>,
    ) -> Self {
        let is_all = part.start == 0 && part.end == held.length;
        // What this worker writes, it verifies as it comes.
        let is_verified = matches!(held.growth, Growth::Here(_));
        if !is_all && held.is_whole() {
            cache.check(digest, &held.file);
        }
        Self {
            cache: Arc::clone(cache),
            hasher: (is_all && !is_verified).then(|| Hasher::new(digest.clone())),
            held,
            is_all,
            digest: digest.clone(),
            reopen,
            position: part.start,
            end: part.end,
            rest: None,
        }
    }

    /// The bytes, as they are read.
    pub(in crate::upstream::blob) fn into_body(self) -> FileBody {
        let remaining = self.end - self.position;
        let bytes = stream::try_unfold(self, |mut reading| async {
            let next = reading.next().await?;
            Ok(next.map(|bytes| (bytes, reading)))
        });
        FileBody::new(bytes, remaining)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(rest) = &mut self.rest {
                return poll_fn(|cx| rest.poll_bytes(cx)).await.transpose();
            }
            if self.position == self.end {
                return Ok(None);
            }
            match self.look().await {
                Look::UpTo(there) => match self.read(there).await {
                    Ok(bytes) => return self.pass(bytes).await.map(Some),
                    Err(error) => {
                        self.cache.failed(Cause::Read, &error);
                        self.go_on_alone().await?;
                    }
                },
                Look::Failed(error) => return Err(error),
                Look::Over => self.go_on_alone().await?,
            }
        }
    }

    /// Waits until there is more to read, or it is clear that there will not
    /// be.
    async fn look(&mut self) -> Look {
        match &mut self.held.growth {
            Growth::Whole => Look::UpTo(self.end),
            Growth::Here(progress) => loop {
                {
                    let seen = progress.borrow_and_update();
                    if seen.written > self.position {
                        return Look::UpTo(seen.written);
                    }
                    match &seen.state {
                        State::Growing => {}
                        State::Failed(error) => return Look::Failed(error.clone()),
                        State::Whole | State::GivenUp => return Look::Over,
                    }
                }
                if progress.changed().await.is_err() {
                    return Look::Over;
                }
            },
            Growth::Elsewhere => {
                let patience = self.reopen.stall_timeout();
                look_elsewhere(&self.held, self.position, patience).await
            }
        }
    }

    fn read(&self, there: u64) -> impl Future<Output = io::Result<Bytes>> + use<> {
        let left = self.end.min(there) - self.position;
        let length = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let (file, position) = (Arc::clone(&self.held.file), self.position);
        let turns = Arc::clone(&self.cache.reads);
        async move {
            // Few threads at a time, and none of their own memory: what many
            // threads have each asked for, the allocator keeps for each.
            let _turn = turns.acquire_owned().await;
            let mut bytes = BytesMut::zeroed(length);
            blocking(move || {
                let read = read_at(&file, &mut bytes, position)?;
                bytes.truncate(read);
                match read {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => Ok(bytes.freeze()),
                }
            })
            .await
        }
    }

    /// The last bytes go out only if all of them are right.
    async fn pass(&mut self, bytes: Bytes) -> Result<Bytes, Error> {
        self.position += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
            let is_over = self.position == self.end;
            if is_over && !hasher.is_complete() {
                if self.held.is_whole() {
                    self.cache.discard(&self.digest).await;
                }
                return Err(self.reopen.given_up());
            }
            if is_over && self.held.is_whole() {
                self.cache.checks.found_good(&self.digest);
            }
        }
        self.cache.metrics.served_bytes.inc_by(bytes.len() as u64);
        Ok(bytes)
    }

    async fn go_on_alone(&mut self) -> Result<(), Error> {
        let hasher = match self.hasher.take() {
            // The file is still there, if only for those who have it open.
            None if self.is_all => {
                let (digest, file) = (self.digest.clone(), Arc::clone(&self.held.file));
                let so_far = hashed(digest, file, self.position).await;
                Some(so_far.map_err(|error| {
                    self.cache.failed(Cause::Read, &error);
                    self.reopen.given_up()
                })?)
            }
            hasher => hasher,
        };
        let reopen = self.reopen.again();
        let rest = Transfer::resumed(reopen, self.position, self.end, hasher)?;
        self.rest = Some(rest);
        Ok(())
    }
}

/// Waits for bytes beyond `position` in a file that another worker writes.
async fn look_elsewhere(held: &Held, position: u64, patience: Duration) -> Look {
    let give_up = Instant::now() + patience;
    for look in 1_u32.. {
        // In this order: a writer that has left in between has written all.
        let has_left = look.is_multiple_of(LOOKS_AT_WRITER) && !is_held(&held.file);
        match held.written() {
            there if there > position => return Look::UpTo(there),
            _ if has_left || Instant::now() >= give_up => break,
            _ => sleep(LOOK_AGAIN).await,
        }
    }
    Look::Over
}

impl FileBody {
    /// The `bytes`, of which there are as many as `remaining` says.
    pub(in crate::upstream::blob) fn new(
        bytes: impl Stream<Item = Result<Bytes, Error>> + Send + 'static,
        remaining: u64,
    ) -> Self {
        let bytes = bytes.boxed();
        Self { bytes, remaining }
    }

    /// The next bytes; None after the last, if all are right.
    pub(in crate::upstream::blob) fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        let next = ready!(Pin::new(&mut self.bytes).poll_next(cx));
        if let Some(Ok(bytes)) = &next {
            self.remaining = self.remaining.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(next)
    }

    /// How many bytes are still to come.
    pub(in crate::upstream::blob) fn remaining(&self) -> u64 {
        self.remaining
    }
}

impl fmt::Debug for FileBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBody")
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}
