//! Writes lines of a log without failing or delaying their writer: a thread
//! hands them to stderr, and drops those that stderr does not take.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tracing::warn;

/// How many lines may wait for stderr. More are dropped, and counted.
const MOST_LINES: usize = 4_096;
/// How long the end of the program waits for stderr.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Takes lines of a log, and never fails or waits. Clones share one thread.
#[derive(Clone, Debug)]
pub(super) struct LogWriter {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

/// When dropped, waits a moment until the lines so far are written.
#[derive(Debug)]
pub(super) struct LogFlush {
    lines: SyncSender<Vec<u8>>,
    flushed: Receiver<()>,
}

impl LogWriter {
    /// Starts the thread that writes to `target`.
    pub(super) fn to(mut target: impl Write + Send + 'static) -> (Self, LogFlush) {
        let (lines, waiting) = sync_channel::<Vec<u8>>(MOST_LINES);
        let (flush, flushed) = sync_channel(1);
        let dropped = Arc::<AtomicU64>::default();
        let count = dropped.clone();
        thread::spawn(move || {
            for line in waiting {
                // An empty line is a flush: events are never empty.
                if line.is_empty() {
                    let _ = flush.try_send(());
                    continue;
                }
                let _ = target.write_all(&line);
                match count.swap(0, Relaxed) {
                    0 => {}
                    dropped => warn!("dropped {dropped} lines of the log: stderr is too slow"),
                }
            }
        });
        let flush = LogFlush {
            lines: lines.clone(),
            flushed,
        };
        (Self { lines, dropped }, flush)
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(line.to_vec()).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogFlush {
    fn drop(&mut self) {
        if self.lines.try_send(Vec::new()).is_ok() {
            let _ = self.flushed.recv_timeout(LAST_WRITE_TIMEOUT);
        }
    }
}
