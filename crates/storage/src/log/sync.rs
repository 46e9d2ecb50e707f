//! The thread that makes appends durable: one sync for all that wait.

use super::{Flushed, Position, Shared};
use crate::error::StorageError;
use crate::limits::SYNC_QUEUE;
use crate::metrics;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

/// An append that is written, not yet synced.
pub(super) struct Pending {
    pub end: Position,
    /// Truncations seen when it was written: a later one may have removed it again.
    pub epoch: u64,
    pub flushed: Flushed,
}

pub(super) struct Syncer {
    queue: Option<SyncSender<Pending>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self, StorageError> {
        let (queue, appends) = sync_channel(SYNC_QUEUE);
        let thread = std::thread::Builder::new()
            .name("log-sync".into())
            .spawn(move || run(&shared, &appends))
            .map_err(|error| {
                StorageError::Io(format!("starting the log's syncing thread: {error}"))
            })?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Waits when [`SYNC_QUEUE`] appends wait already.
    pub(super) fn submit(&self, pending: Pending) {
        let queue = self
            .queue
            .as_ref()
            .expect("the queue is there until the log is dropped");
        if let Err(refused) = queue.send(pending) {
            (refused.0.flushed)(Err(StorageError::Io(
                "the log's syncing thread has ended".into(),
            )));
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log's syncing thread panicked");
        }
    }
}

fn run(shared: &Shared, appends: &Receiver<Pending>) {
    // A failed sync is final: what came after it is refused, since the page cache can no longer be believed.
    let mut failed: Option<StorageError> = None;
    loop {
        let Some(first) = next(shared, appends, &mut failed) else {
            break;
        };
        let mut group = vec![first];
        while group.len() < SYNC_QUEUE
            && let Ok(pending) = appends.try_recv()
        {
            group.push(pending);
        }
        let result = match &failed {
            Some(error) => Err(error.clone()),
            None => sync(shared, &group),
        };
        if let Err(error) = &result
            && failed.is_none()
        {
            tracing::error!(%error, "the replicated log cannot be made durable");
            failed = Some(error.clone());
        }
        for pending in group {
            (pending.flushed)(result.clone());
        }
    }
    let closed = shared.mark.lock().sync();
    if let Err(error) = closed {
        tracing::warn!(%error, "the log's mark was not synced at close");
    }
}

/// The next append; syncs the mark when it is due. `None` when the log is closed.
fn next(
    shared: &Shared,
    appends: &Receiver<Pending>,
    failed: &mut Option<StorageError>,
) -> Option<Pending> {
    loop {
        let deadline = shared.mark.lock().deadline().filter(|_| failed.is_none());
        let Some(deadline) = deadline else {
            return appends.recv().ok();
        };
        match appends.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(pending) => return Some(pending),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => *failed = shared.mark.lock().sync().err(),
        }
    }
}

fn sync(shared: &Shared, group: &[Pending]) -> Result<(), StorageError> {
    let begun = Instant::now();
    shared.db.flush_wal(true)?;
    ::metrics::histogram!(metrics::SYNC_SECONDS).record(begun.elapsed());
    ::metrics::histogram!(metrics::SYNC_APPENDS)
        .record(u32::try_from(group.len()).unwrap_or(u32::MAX));
    // Truncation takes the tail's lock first as well, so that the epoch stands while the mark is raised.
    let tail = shared.tail.read();
    let mut mark = shared.mark.lock();
    let standing = group
        .iter()
        .filter(|pending| pending.epoch == tail.epoch)
        .map(|pending| pending.end);
    if let Some(end) = standing.max_by_key(|end| end.index) {
        mark.raise(end)?;
    }
    if mark
        .deadline()
        .is_some_and(|deadline| deadline <= Instant::now())
    {
        mark.sync()?;
    }
    Ok(())
}
