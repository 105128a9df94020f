//! One reading of a blob into a file, and who reads the file meanwhile.

use std::{
    fs::File,
    future::poll_fn,
    io,
    os::unix::fs::FileExt as _,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{BlobCache, blocking, directory::Claim, metrics::Cause};
use crate::{
    reference::Digest,
    upstream::{Error, Origin, blob::transfer::Transfer},
};

/// What is written at a time, in bytes, if as much has come.
const BATCH: usize = 256 << 10;

/// A file that this worker writes.
#[derive(Debug)]
pub(super) struct Fill {
    file: Arc<File>,
    length: u64,
    progress: watch::Sender<Progress>,
}

/// A file to read a blob from.
#[derive(Clone, Debug)]
pub(in crate::upstream::blob) struct Held {
    pub(super) file: Arc<File>,
    /// How long the blob is, in bytes.
    pub(in crate::upstream::blob) length: u64,
    pub(super) growth: Growth,
}

/// How a file comes to be whole.
#[derive(Clone, Debug)]
pub(super) enum Growth {
    /// It is.
    Whole,
    /// This worker writes it.
    Here(watch::Receiver<Progress>),
    /// Another worker does.
    Elsewhere,
}

/// How far a file has come.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// The bytes that can be read.
    pub(super) written: u64,
    pub(super) state: State,
}

/// Whether more will come.
#[derive(Clone, Debug)]
pub(super) enum State {
    Growing,
    /// No, and no more is needed.
    Whole,
    /// No, and none can be had.
    Failed(Error),
    /// No, but the upstream has the rest.
    GivenUp,
}

/// Why a file will not become whole.
enum Halt {
    Upstream(Error),
    Disk(io::Error),
    /// Nobody is left to write for.
    Deserted,
}

impl Held {
    pub(super) fn new(file: Arc<File>, length: u64, growth: Growth) -> Self {
        Self {
            file,
            length,
            growth,
        }
    }

    /// Whether all of it is there.
    pub(in crate::upstream::blob) fn is_whole(&self) -> bool {
        matches!(self.growth, Growth::Whole)
    }

    /// How many bytes can be read now.
    pub(in crate::upstream::blob) fn written(&self) -> u64 {
        match &self.growth {
            Growth::Whole => self.length,
            Growth::Here(progress) => progress.borrow().written,
            Growth::Elsewhere => self.file.metadata().map_or(0, |it| it.len()),
        }
    }
}

impl Fill {
    /// A file of which nothing is written yet, and a seat to read it from.
    pub(super) fn new(file: Arc<File>, length: u64) -> (Self, Held) {
        let (progress, seen) = watch::channel(Progress {
            written: 0,
            state: State::Growing,
        });
        let held = Held::new(Arc::clone(&file), length, Growth::Here(seen));
        let fill = Self {
            file,
            length,
            progress,
        };
        (fill, held)
    }

    /// A seat to read it from. None: it will not become whole.
    pub(super) fn join(&self) -> Option<Held> {
        let progress = self.progress.subscribe();
        let is_good = matches!(progress.borrow().state, State::Growing | State::Whole);
        is_good.then(|| {
            let file = Arc::clone(&self.file);
            Held::new(file, self.length, Growth::Here(progress))
        })
    }

    /// Writes all of `transfer`, and keeps what has been written if it is
    /// right.
    pub(super) async fn run(
        self: Arc<Self>,
        cache: Arc<BlobCache>,
        wanted: (Digest, Origin),
        claim: Claim,
        transfer: Transfer,
    ) {
        let landing = Landing {
            fill: Arc::clone(&self),
            cache: Arc::clone(&cache),
            wanted,
        };
        match self.pour(&cache, transfer).await {
            Ok(()) => {
                self.settle(State::Whole);
                cache.keep(claim).await;
                cache.checks.found_good(&landing.wanted.0);
            }
            Err(halt) => {
                let _ = blocking(move || claim.give_up()).await;
                self.settle(match halt {
                    Halt::Upstream(error) => State::Failed(error),
                    Halt::Disk(error) => {
                        cache.failed(Cause::Write, &error);
                        State::GivenUp
                    }
                    Halt::Deserted => State::GivenUp,
                });
            }
        }
        drop(landing);
    }

    async fn pour(&self, cache: &BlobCache, mut transfer: Transfer) -> Result<(), Halt> {
        let mut position = 0;
        let mut alone = None;
        loop {
            let batch = poll_fn(|cx| poll_batch(&mut transfer, cx)).await;
            let batch = batch.map_err(Halt::Upstream)?;
            if batch.is_empty() {
                return Ok(());
            }
            self.check_company(cache, &mut alone)?;
            let file = Arc::clone(&self.file);
            let write = move || {
                batch.iter().try_fold(position, |at, bytes| {
                    file.write_all_at(bytes, at)?;
                    Ok(at + bytes.len() as u64)
                })
            };
            position = blocking(write).await.map_err(Halt::Disk)?;
            self.progress.send_modify(|it| it.written = position);
        }
    }

    /// Goes on without a client only if not too many others do: the blob will
    /// be asked for again.
    fn check_company(
        &self,
        cache: &BlobCache,
        alone: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<(), Halt> {
        if self.progress.receiver_count() > 0 {
            *alone = None;
        } else if alone.is_none() {
            let permit = Arc::clone(&cache.deserted).try_acquire_owned();
            *alone = Some(permit.map_err(|_| Halt::Deserted)?);
        }
        Ok(())
    }

    fn settle(&self, state: State) {
        self.progress.send_modify(|it| it.state = state);
    }
}

/// Takes a fill out of those that can be joined, also when its task panics or
/// is cancelled.
struct Landing {
    fill: Arc<Fill>,
    cache: Arc<BlobCache>,
    wanted: (Digest, Origin),
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.cache
            .fills
            .remove_if(&self.wanted, |_, fill| Arc::ptr_eq(fill, &self.fill));
        self.fill.progress.send_if_modified(|it| {
            let is_orphaned = matches!(it.state, State::Growing);
            if is_orphaned {
                it.state = State::GivenUp;
            }
            is_orphaned
        });
    }
}

/// What has come by now, at least something; nothing at the end.
fn poll_batch(transfer: &mut Transfer, cx: &mut Context<'_>) -> Poll<Result<Vec<Bytes>, Error>> {
    let (mut batch, mut size) = (Vec::new(), 0);
    while size < BATCH {
        match transfer.poll_bytes(cx) {
            Poll::Ready(Some(Ok(bytes))) => {
                size += bytes.len();
                batch.push(bytes);
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
            Poll::Ready(None) => break,
            Poll::Pending if batch.is_empty() => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready(Ok(batch))
}
