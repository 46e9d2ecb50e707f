//! openraft's log storage over `storage`'s log.

use crate::disk::RaftLog;
use crate::durable;
use crate::limits::APPEND_BYTES;
use crate::types::{LogEntry, LogId, TypeConfig, Vote};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use pontoon_state::seeded::{self, Bug};
use pontoon_storage::Record;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

/// The log as Raft sees it. Clones share it.
#[derive(Debug, Clone)]
pub struct LogStore {
    log: Arc<dyn RaftLog>,
}

impl LogStore {
    /// Over an open log.
    #[must_use]
    pub const fn new(log: Arc<dyn RaftLog>) -> Self {
        Self { log }
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

fn entries(records: Vec<Record>) -> Result<Vec<LogEntry>, io::Error> {
    records
        .into_iter()
        .map(|record| durable::decode_entry(record).map_err(io::Error::from))
        .collect()
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<LogEntry>, io::Error> {
        entries(self.log.read(bounds(&range), usize::MAX)?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let vote = self.log.vote()?;
        Ok(vote.map(|bytes| durable::decode_vote(&bytes)).transpose()?)
    }

    // What one message to a follower holds.
    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<LogEntry>, io::Error> {
        let found = self.log.read(start..end, APPEND_BYTES)?;
        // Purged since the leader chose the range. What is left must not be sent as if it followed; with nothing sent the
        // follower answers where it is, and the leader then sends a snapshot.
        let gap = found
            .first()
            .is_some_and(|record| record.position.index != start);
        if gap && !seeded::makes(Bug::GapInAppend) {
            return Ok(Vec::new());
        }
        entries(found)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        Ok(LogState {
            last_purged_log_id: self.log.purged().map(durable::log_id),
            last_log_id: self.log.last().map(durable::log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        if seeded::makes(Bug::VoteNotSaved) {
            return Ok(());
        }
        Ok(self.log.save_vote(&durable::encode_vote(*vote))?)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        Ok(self.log.save_committed(committed.map(durable::position))?)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        // Saved without a sync beside entries that may not have been synced either: after a power failure it
        // must not point behind the end of the log.
        let last = self.log.last();
        let committed = self
            .log
            .committed()?
            .filter(|committed| last.is_some_and(|last| committed.index <= last.index));
        Ok(committed.map(durable::log_id))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries
            .into_iter()
            .map(|entry| durable::encode_entry(&entry))
            .collect();
        if seeded::makes(Bug::AckBeforeSync) {
            self.log.append(records, Box::new(|_| {}))?;
            callback.io_completed(Ok(()));
            return Ok(());
        }
        let flushed = move |result: Result<(), pontoon_storage::StorageError>| {
            callback.io_completed(result.map_err(io::Error::from));
        };
        Ok(self.log.append(records, Box::new(flushed))?)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        Ok(self.log.truncate_after(last_log_id.map(|id| id.index))?)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        Ok(self.log.purge(durable::position(log_id))?)
    }
}
