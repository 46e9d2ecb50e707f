//! The one who writes: takes all records that wait, writes them, syncs once, and reports all of them.

use super::format::Header;
use super::mark::{Mark, MarkFile};
use super::{Core, Flushed, Shared};
use crate::disk::DiskFile;
use crate::error::StorageError;
use crate::limits::{LOG_BUFFER_BYTES, MARK_SYNC_MILLISECONDS};
use crate::metrics;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Records of one segment that wait to be written.
pub(super) struct Chunk {
    /// Of the segment that they begin.
    pub header: Option<Header>,
    pub at: u32,
    pub bytes: Vec<u8>,
}

/// All that waits.
struct Group {
    chunks: Vec<Chunk>,
    waiting: Vec<Flushed>,
    /// What can be said once it is durable.
    mark: Mark,
    voted: bool,
    drop_before: Option<u32>,
}

/// Writes the log's files. There is one.
pub(super) struct Writer {
    shared: Arc<Shared>,
    mark: MarkFile,
    /// The last segment.
    file: Arc<dyn DiskFile>,
}

impl Core {
    fn take(&mut self) -> Group {
        self.queued_since = None;
        self.queued_bytes = 0;
        Group {
            chunks: std::mem::take(&mut self.queue),
            waiting: std::mem::take(&mut self.waiting),
            mark: self.mark(),
            voted: std::mem::take(&mut self.voted),
            drop_before: self.drop_before.take(),
        }
    }
}

impl Writer {
    pub(super) const fn new(shared: Arc<Shared>, mark: MarkFile, file: Arc<dyn DiskFile>) -> Self {
        Self { shared, mark, file }
    }

    /// Makes durable all that waits, and reports it.
    pub(super) fn flush(&mut self) {
        let shared = self.shared.clone();
        let (group, failed) = {
            let mut core = shared.core.lock();
            (core.take(), core.failed.clone())
        };
        let result = match failed {
            Some(error) => Err(error),
            None => self.flush_group(group.chunks, group.waiting.len(), group.mark, group.voted),
        };
        self.note(&result);
        shared.room.notify_all();
        let durable = result.is_ok();
        for flushed in group.waiting {
            flushed(result.clone());
        }
        // The purge point is durable: what lies before it may go.
        if let Some(first) = group.drop_before.filter(|_| durable) {
            self.note(&shared.segments.drop_before(first));
        }
    }

    /// A failure is final: what comes after it is refused, since the page cache can no longer be believed.
    fn note(&self, result: &Result<(), StorageError>) {
        let Err(error) = result else { return };
        let mut core = self.shared.core.lock();
        if core.failed.is_none() {
            tracing::error!(%error, "the replicated log cannot be made durable");
            core.failed = Some(error.clone());
        }
    }

    fn flush_group(
        &mut self,
        chunks: Vec<Chunk>,
        appends: usize,
        mark: Mark,
        voted: bool,
    ) -> Result<(), StorageError> {
        let begun = Instant::now();
        self.write(&chunks).map_err(|error| {
            StorageError::io(
                "writing",
                &self.shared.segments.path_of(mark.segment),
                &error,
            )
        })?;
        if !chunks.is_empty() {
            ::metrics::histogram!(metrics::SYNC_SECONDS).record(begun.elapsed());
            ::metrics::histogram!(metrics::SYNC_APPENDS)
                .record(u32::try_from(appends).unwrap_or(u32::MAX));
        }
        self.shared.core.lock().written(mark, chunks);
        self.mark.raise(mark)?;
        let due = self.mark.deadline();
        if voted || due.is_some_and(|due| due <= Instant::now()) {
            self.mark.sync()?;
        }
        Ok(())
    }

    fn write(&mut self, chunks: &[Chunk]) -> io::Result<()> {
        for chunk in chunks {
            if let Some(header) = &chunk.header {
                // A segment begins when the one before it is durable: a later start relies on it.
                self.file.sync()?;
                self.file = self.shared.segments.make(header).map_err(io::Error::from)?;
            }
            self.file.write_at(u64::from(chunk.at), &chunk.bytes)?;
        }
        if chunks.is_empty() {
            return Ok(());
        }
        self.file.sync()
    }

    /// As on closing: nothing is left that a power failure could take.
    pub(super) fn close(&mut self) {
        self.flush();
        if self.shared.core.lock().failed.is_none()
            && let Err(error) = self.mark.sync()
        {
            tracing::warn!(%error, "the log's mark was not synced at close");
        }
    }

    /// Waits for work; `false` when the log is closed.
    fn wait(&mut self) -> bool {
        let shared = self.shared.clone();
        let mut core = shared.core.lock();
        loop {
            if !core.waiting.is_empty() {
                return true;
            }
            if core.closed {
                return false;
            }
            let patience = Duration::from_millis(MARK_SYNC_MILLISECONDS);
            let queued = core.queued_since.map(|since| since + patience);
            let deadline = queued.into_iter().chain(self.mark.deadline()).min();
            match deadline.filter(|_| core.failed.is_none()) {
                None => {
                    core.resting = true;
                    shared.work.wait(&mut core);
                    core.resting = false;
                }
                Some(deadline) => {
                    if shared.work.wait_until(&mut core, deadline).timed_out() {
                        // Records that nobody waits for, a mark that is due, or both.
                        return true;
                    }
                }
            }
        }
    }
}

impl Core {
    fn written(&mut self, mark: Mark, mut chunks: Vec<Chunk>) {
        self.durable = (mark.segment, mark.offset);
        self.tail.written(mark.segment, mark.offset);
        if let Some(chunk) = chunks.pop()
            && chunk.bytes.capacity() <= LOG_BUFFER_BYTES
        {
            self.buffer = chunk.bytes;
            self.buffer.clear();
        }
    }
}

/// Starts the thread that writes until the log is closed.
pub(super) fn start(mut writer: Writer) -> Result<JoinHandle<()>, StorageError> {
    let run = move || {
        while writer.wait() {
            writer.flush();
        }
        writer.close();
    };
    std::thread::Builder::new()
        .name("log-sync".into())
        .spawn(run)
        .map_err(|error| StorageError::Io(format!("starting the log's syncing thread: {error}")))
}
