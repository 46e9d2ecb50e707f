//! The model of the Raft log: contents as readers see them, as they are durable, and the operations between the two.

use super::Shared;
use crate::chance::Chance;
use bytes::Bytes;
use parking_lot::Mutex;
use pontoon_consensus::disk::RaftLog;
use pontoon_storage::log::Flushed;
use pontoon_storage::{Position, Record, StorageError};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// What a log holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    entries: BTreeMap<u64, Record>,
    pub purged: Option<Position>,
    vote: Option<Bytes>,
    committed: Option<Position>,
}

/// A change of a log.
#[derive(Debug, Clone)]
enum Operation {
    Append(Vec<Record>),
    Truncate(u64),
    Purge(Position),
    Vote(Bytes),
    Committed(Option<Position>),
}

/// One entry that was appended, for the invariants.
#[derive(Debug, Clone)]
pub struct Appended {
    /// Where.
    pub position: Position,
    /// The term of the entry before it, where that is known.
    pub before: Option<u64>,
    /// Its content.
    pub payload: Bytes,
}

/// A log between its lives.
#[derive(Debug, Default)]
pub(super) struct Image {
    pub live: Contents,
    pub durable: Contents,
    pending: Vec<Operation>,
    /// Operations ever made durable: what is pending follows them.
    synced: u64,
    pub journal: Vec<Appended>,
}

impl Contents {
    pub fn term(&self, index: u64) -> Option<u64> {
        self.entries.get(&index).map(|record| record.position.term)
    }

    fn last(&self) -> Option<Position> {
        self.entries
            .last_key_value()
            .map(|(_, record)| record.position)
            .or(self.purged)
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Append(records) => {
                for record in records {
                    self.entries.insert(record.position.index, record.clone());
                }
            }
            Operation::Truncate(from) => drop(self.entries.split_off(from)),
            Operation::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                self.purged = Some(*upto);
            }
            Operation::Vote(vote) => self.vote = Some(vote.clone()),
            Operation::Committed(committed) => self.committed = *committed,
        }
    }
}

impl Image {
    fn add(&mut self, operation: Operation) {
        self.live.apply(&operation);
        self.pending.push(operation);
    }

    fn written(&self) -> u64 {
        self.synced + self.pending.len() as u64
    }

    /// Makes the first operations durable, up to the number that had been written at some point.
    fn sync(&mut self, written: u64) {
        let upto = usize::try_from(written.saturating_sub(self.synced)).unwrap_or(0);
        for operation in self.pending.drain(..upto.min(self.pending.len())) {
            self.durable.apply(&operation);
            self.synced += 1;
        }
    }

    /// The power fails: a prefix of what was not synced is there, its last append perhaps in part.
    pub fn lose(&mut self, chance: &Chance) {
        let kept = chance.below(self.pending.len() as u64 + 1);
        self.sync(self.synced + kept);
        if let Some(Operation::Append(records)) = self.pending.first()
            && chance.percent(50)
        {
            let part = usize::try_from(chance.below(records.len() as u64)).unwrap_or(0);
            let part = Operation::Append(records[..part].to_vec());
            self.durable.apply(&part);
        }
        self.pending.clear();
        self.live = self.durable.clone();
    }
}

/// The log of one life of a member. Raft and the task that syncs share it.
pub(super) struct SimLog {
    shared: Arc<Shared>,
    life: Arc<Mutex<Life>>,
}

/// What ends with the life.
#[derive(Default)]
struct Life {
    waiting: Vec<(u64, Flushed)>,
    syncing: bool,
    failed: Option<StorageError>,
}

impl std::fmt::Debug for SimLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimLog").finish_non_exhaustive()
    }
}

impl SimLog {
    pub fn open(shared: &Arc<Shared>) -> Arc<dyn RaftLog> {
        // As the real one: what is found is written anew and synced before anything is built on it, also what a failed
        // sync left in the page cache alone.
        let mut image = shared.log.lock();
        image.durable = image.live.clone();
        image.synced += image.pending.len() as u64;
        image.pending.clear();
        drop(image);
        Arc::new(Self {
            shared: shared.clone(),
            life: Arc::default(),
        })
    }

    fn image(&self) -> parking_lot::MutexGuard<'_, Image> {
        self.shared.log.lock()
    }

    fn check(&self) -> Result<(), StorageError> {
        match &self.life.lock().failed {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

/// Syncs now what had been written when it was begun. A failure is final.
fn sync(shared: &Shared, life: &Mutex<Life>, written: u64) -> Result<(), StorageError> {
    if let Some(error) = &life.lock().failed {
        return Err(error.clone());
    }
    let fails = std::mem::take(&mut shared.health.lock().sync_fails);
    if fails {
        let error = StorageError::Io("syncing the log: the disk failed".into());
        life.lock().failed = Some(error.clone());
        // The page cache shows what it could not write, and never writes it.
        shared.log.lock().pending.clear();
        return Err(error);
    }
    shared.log.lock().sync(written);
    Ok(())
}

/// Syncs until nobody waits: one sync for all that wait when it begins.
async fn sync_all(shared: Arc<Shared>, life: Arc<Mutex<Life>>) {
    loop {
        let written = shared.log.lock().written();
        let latency = shared.chance.millis(0, 4) + shared.health.lock().slow;
        tokio::time::sleep(latency).await;
        let result = sync(&shared, &life, written);
        let (done, more) = {
            let mut life = life.lock();
            let waiting = std::mem::take(&mut life.waiting);
            let (done, rest): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .partition(|(behind, _)| *behind <= written || result.is_err());
            life.waiting = rest;
            life.syncing = !life.waiting.is_empty();
            (done, life.syncing)
        };
        for (_, flushed) in done {
            flushed(result.clone());
        }
        if !more {
            return;
        }
    }
}

impl RaftLog for SimLog {
    fn purged(&self) -> Option<Position> {
        self.image().live.purged
    }

    fn last(&self) -> Option<Position> {
        self.image().live.last()
    }

    fn append(&self, records: Vec<Record>, flushed: Flushed) -> Result<(), StorageError> {
        self.check()?;
        if records.is_empty() {
            flushed(Ok(()));
            return Ok(());
        }
        if self.shared.health.lock().full {
            let error = StorageError::NoSpace("appending to the log".into());
            self.life.lock().failed = Some(error.clone());
            return Err(error);
        }
        let mut image = self.image();
        let mut before = image.live.last();
        for record in &records {
            if before.is_some_and(|before| before.index + 1 != record.position.index) {
                return Err(StorageError::Corrupt(format!(
                    "entry {} does not follow the log's end",
                    record.position.index
                )));
            }
            let entry = Appended {
                position: record.position,
                before: before.map(|before| before.term),
                payload: record.payload.clone(),
            };
            image.journal.push(entry);
            before = Some(record.position);
        }
        image.add(Operation::Append(records));
        let written = image.written();
        drop(image);
        let mut life = self.life.lock();
        life.waiting.push((written, flushed));
        if !std::mem::replace(&mut life.syncing, true) {
            tokio::spawn(sync_all(self.shared.clone(), self.life.clone()));
        }
        Ok(())
    }

    fn truncate_after(&self, last: Option<u64>) -> Result<(), StorageError> {
        self.check()?;
        let from = last.map_or(0, |last| last + 1);
        self.image().add(Operation::Truncate(from));
        Ok(())
    }

    fn purge(&self, upto: Position) -> Result<(), StorageError> {
        self.check()?;
        let mut image = self.image();
        if image.live.purged.is_none_or(|purged| purged < upto) {
            image.add(Operation::Purge(upto));
        }
        Ok(())
    }

    fn read(&self, range: Range<u64>, limit: usize) -> Result<Vec<Record>, StorageError> {
        let image = self.image();
        let mut bytes = 0;
        let mut found = Vec::new();
        if range.is_empty() {
            return Ok(found);
        }
        for (_, record) in image.live.entries.range(range) {
            bytes += record.payload.len();
            found.push(record.clone());
            if bytes >= limit {
                break;
            }
        }
        Ok(found)
    }

    fn save_vote(&self, vote: &[u8]) -> Result<(), StorageError> {
        self.check()?;
        let mut image = self.image();
        image.add(Operation::Vote(Bytes::copy_from_slice(vote)));
        let written = image.written();
        drop(image);
        sync(&self.shared, &self.life, written)
    }

    fn vote(&self) -> Result<Option<Bytes>, StorageError> {
        Ok(self.image().live.vote.clone())
    }

    fn save_committed(&self, committed: Option<Position>) -> Result<(), StorageError> {
        self.check()?;
        self.image().add(Operation::Committed(committed));
        Ok(())
    }

    fn committed(&self) -> Result<Option<Position>, StorageError> {
        Ok(self.image().live.committed)
    }
}
