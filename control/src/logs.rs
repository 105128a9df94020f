//! The program's own logs.
//!
//! Logging fails or delays nothing else: a thread writes the lines to stderr,
//! and drops those that stderr does not take.

use std::{
    io::{self, IsTerminal, Write, stderr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::Context;
use tracing::warn;
use tracing_subscriber::EnvFilter;

use crate::Config;

/// How many lines may wait for stderr. More are dropped, and counted.
const MOST_LINES: usize = 4_096;
/// How long the end of the program waits for stderr.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes logs to stderr from now on: for people, or as JSON lines.
///
/// For a program that runs nothing but the control plane. It fails where logs
/// are being written already.
pub fn start_logs(config: &Config) -> anyhow::Result<LogFlush> {
    let filter = EnvFilter::try_new(&config.log)
        .with_context(|| format!("--log `{}`: try `info`", config.log))?;
    let (writer, flush) = LogWriter::to(stderr());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .log_internal_errors(false)
        .with_writer(move || writer.clone());
    let started = match config.log_json {
        true => logs.json().try_init(),
        false => logs.try_init(),
    };
    started.map_err(|error| anyhow::anyhow!(error).context("cannot start the logs"))?;
    Ok(flush)
}

/// Takes lines of a log, and never fails or waits. Clones share one thread.
#[derive(Clone, Debug)]
pub struct LogWriter {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

/// When dropped, waits a moment until the lines so far are written.
#[derive(Debug)]
pub struct LogFlush {
    lines: SyncSender<Vec<u8>>,
    flushed: Receiver<()>,
}

impl LogWriter {
    /// Starts the thread that writes to `target`.
    pub fn to(mut target: impl Write + Send + 'static) -> (Self, LogFlush) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A target whose writes wait until the test lets them go on.
    struct Blocked(Receiver<()>);

    impl Write for Blocked {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_target_that_blocks_delays_no_writer_and_dropped_lines_are_counted() {
        let (release, blocked) = sync_channel(0);
        let (mut writer, flush) = LogWriter::to(Blocked(blocked));

        for _ in 0..2 * MOST_LINES {
            writer.write_all(b"line\n").unwrap();
        }

        let dropped = writer.dropped.load(Relaxed);
        assert!(dropped >= MOST_LINES as u64 - 1, "{dropped}");
        drop(release);
        drop(flush);
    }

    #[test]
    fn what_was_logged_is_written_before_the_program_ends() {
        let (reader, target) = io::pipe().unwrap();
        let (mut writer, flush) = LogWriter::to(target);

        writer.write_all(b"the last line\n").unwrap();
        drop(flush);

        let mut read = io::BufReader::new(reader);
        let mut line = String::new();
        io::BufRead::read_line(&mut read, &mut line).unwrap();
        assert_eq!(line, "the last line\n");
    }
}
