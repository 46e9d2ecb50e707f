//! The Raft log of a simulated member: the very log of servers on a disk in memory, beside a model of what it must hold.
//!
//! The log writes and syncs within a call. So that a sync takes time, appends wait before they reach it, as they wait for the
//! syncing thread in a server. The model knows what was reported durable, and is compared with what each life finds.

use super::{Loss, Shared};
use bytes::Bytes;
use parking_lot::Mutex;
use pontoon_consensus::disk::RaftLog;
use pontoon_storage::log::{Flushed, Settings, Syncing};
use pontoon_storage::{Log, OpenError, Position, Record, StorageError};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Weak};

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
    /// The last vote that was to be saved.
    tried: Option<Bytes>,
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

    /// What a new life finds takes the place of what the model says; gives what it should have found and did not.
    fn find(&mut self, real: &Log) -> Result<Vec<String>, StorageError> {
        let purged = real.purged();
        let found: BTreeMap<u64, Record> = real
            .read(0..u64::MAX)?
            .into_iter()
            .map(|record| (record.position.index, record))
            .collect();
        let mut missing = Vec::new();
        let first = purged.map_or(0, |purged| purged.index + 1);
        for (index, record) in self.durable.entries.range(first..) {
            // One that was truncated may be there still, or not.
            let stands = self.live.entries.get(index) == Some(record);
            if stands && found.get(index) != Some(record) {
                missing.push(format!(
                    "entry {index} was durable and is {:?}",
                    found.get(index)
                ));
            }
        }
        if purged.is_some_and(|purged| Some(purged) > self.live.purged) {
            missing.push(format!("it is purged up to {purged:?}"));
        }
        let vote = real.vote();
        // One that was being saved may be there or not.
        if ![&self.live.vote, &self.durable.vote, &self.tried].contains(&&vote) {
            missing.push(format!(
                "the vote was {:?} and is {vote:?}",
                self.durable.vote
            ));
        }
        let before = purged.map(|purged| purged.term);
        let journal = found.values().scan(before, |before, record| {
            let before = before.replace(record.position.term);
            Some(Appended {
                position: record.position,
                before,
                payload: record.payload.clone(),
            })
        });
        self.journal.extend(journal);
        self.live = Contents {
            entries: found,
            purged,
            vote,
            committed: real.committed(),
        };
        self.durable = self.live.clone();
        self.synced += self.pending.len() as u64;
        self.pending.clear();
        Ok(missing)
    }
}

/// The log of one life of a member.
pub(super) struct SimLog {
    shared: Arc<Shared>,
    real: Arc<Log>,
    life: Mutex<Life>,
    me: Weak<SimLog>,
}

/// What ends with the life.
#[derive(Default)]
struct Life {
    waiting: VecDeque<Waiting>,
    syncing: bool,
    failed: Option<StorageError>,
}

/// An append that has not reached the log.
struct Waiting {
    records: Vec<Record>,
    /// How many operations had been written with it.
    written: u64,
    flushed: Flushed,
}

impl std::fmt::Debug for SimLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimLog").finish_non_exhaustive()
    }
}

impl SimLog {
    pub fn open(shared: &Arc<Shared>) -> Result<Arc<Self>, OpenError> {
        let files = shared.files.lock().clone();
        let settings = Settings {
            segment_bytes: shared.segment_bytes,
            syncing: Syncing::Inline,
        };
        let real = Log::open_on(Arc::new(files), Path::new("/"), settings);
        let real = real.inspect_err(|error| {
            if matches!(error, OpenError::Damaged(_)) {
                shared.broken(format!("its log does not open: {error}"));
            }
        })?;
        let missing = shared.log.lock().find(&real)?;
        for missing in missing {
            shared.broken(missing);
        }
        let log = Arc::new_cyclic(|me| Self {
            shared: shared.clone(),
            real,
            life: Mutex::default(),
            me: me.clone(),
        });
        *shared.living.lock() = Arc::downgrade(&log);
        Ok(log)
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

    /// Has the log do something, behind all that waits; what fails once stays failed.
    fn real<T>(
        &self,
        work: impl FnOnce(&Log) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        self.sync(u64::MAX)?;
        let done = work(&self.real);
        if let Err(error) = &done {
            self.life.lock().failed.get_or_insert(error.clone());
        }
        done
    }

    /// Hands appends to the log, which makes them durable, up to the number that had been written at some point.
    fn sync(&self, written: u64) -> Result<(), StorageError> {
        loop {
            let next = {
                let mut life = self.life.lock();
                let due = life
                    .waiting
                    .front()
                    .is_some_and(|next| next.written <= written);
                if due { life.waiting.pop_front() } else { None }
            };
            let Some(waiting) = next else {
                return self.check();
            };
            let result = match self.check() {
                Ok(()) => self.append_real(waiting.records),
                failed => failed,
            };
            match &result {
                Ok(()) => self.image().sync(waiting.written),
                Err(error) => drop(self.life.lock().failed.get_or_insert(error.clone())),
            }
            (waiting.flushed)(result);
        }
    }

    fn append_real(&self, records: Vec<Record>) -> Result<(), StorageError> {
        let (told, tells) = std::sync::mpsc::channel();
        self.real
            .append(records, Box::new(move |result| drop(told.send(result))))?;
        tells
            .try_recv()
            .unwrap_or_else(|_| Err(StorageError::Io("an append was not answered".into())))
    }

    /// The life ends: some of what waits had been written, and where the power failed, perhaps in part.
    pub fn end(&self, loss: Loss) {
        let waiting = std::mem::take(&mut self.life.lock().waiting);
        let chance = &self.shared.chance;
        if loss == Loss::Unsynced {
            self.shared.health.lock().cut_after = Some(chance.below(4));
        }
        let some = usize::try_from(chance.below(waiting.len() as u64 + 1)).unwrap_or(0);
        for waiting in waiting.into_iter().take(some) {
            // Nobody is told any more.
            let _ = self.append_real(waiting.records);
        }
    }
}

/// Syncs until nobody waits: what had been written when a sync begins is durable when it ends.
async fn sync_all(log: Arc<SimLog>) {
    loop {
        let written = log.image().written();
        let latency = log.shared.chance.millis(0, 4) + log.shared.health.lock().slow;
        tokio::time::sleep(latency).await;
        let synced = log.sync(written);
        let mut life = log.life.lock();
        life.syncing = !life.waiting.is_empty() && synced.is_ok();
        if synced.is_err() {
            drop(life);
            // Those that came meanwhile are told as well.
            let _ = log.sync(u64::MAX);
            return;
        }
        if !life.syncing {
            return;
        }
    }
}

/// What Raft holds: it ends with Raft, though a sync may be on its way.
#[derive(Debug)]
pub(super) struct Handle(pub Arc<SimLog>);

impl RaftLog for Handle {
    fn purged(&self) -> Option<Position> {
        self.0.image().live.purged
    }

    fn last(&self) -> Option<Position> {
        self.0.image().live.last()
    }

    fn append(&self, records: Vec<Record>, flushed: Flushed) -> Result<(), StorageError> {
        let log = &self.0;
        log.check()?;
        if records.is_empty() {
            flushed(Ok(()));
            return Ok(());
        }
        let mut image = log.image();
        let mut before = image.live.last();
        for record in &records {
            if before.is_some_and(|before| before.index + 1 != record.position.index) {
                return Err(StorageError::Corrupt(format!(
                    "entry {} does not follow the log's end",
                    record.position.index
                )));
            }
            image.journal.push(Appended {
                position: record.position,
                before: before.map(|before| before.term),
                payload: record.payload.clone(),
            });
            before = Some(record.position);
        }
        image.add(Operation::Append(records.clone()));
        let written = image.written();
        drop(image);
        let mut life = log.life.lock();
        life.waiting.push_back(Waiting {
            records,
            written,
            flushed,
        });
        if !std::mem::replace(&mut life.syncing, true)
            && let Some(log) = log.me.upgrade()
        {
            tokio::spawn(sync_all(log));
        }
        Ok(())
    }

    fn truncate_after(&self, last: Option<u64>) -> Result<(), StorageError> {
        let from = last.map_or(0, |last| last + 1);
        self.0.real(|real| real.truncate_after(last))?;
        self.0.image().add(Operation::Truncate(from));
        Ok(())
    }

    fn purge(&self, upto: Position) -> Result<(), StorageError> {
        self.0.real(|real| real.purge(upto))?;
        let mut image = self.0.image();
        if image.live.purged.is_none_or(|purged| purged < upto) {
            image.add(Operation::Purge(upto));
        }
        Ok(())
    }

    fn read(&self, range: Range<u64>, limit: usize) -> Result<Vec<Record>, StorageError> {
        let mut found = self.0.real.read_limited(range.clone(), limit)?;
        let mut bytes: usize = found.iter().map(|record| record.payload.len()).sum();
        let next = found
            .last()
            .map_or(range.start, |last| last.position.index + 1);
        // What waits can be read as well.
        let reached = self.0.real.last().map_or(0, |last| last.index + 1);
        let image = self.0.image();
        if next >= reached && next < range.end {
            for (_, record) in image.live.entries.range(next..range.end) {
                if bytes >= limit {
                    break;
                }
                bytes += record.payload.len();
                found.push(record.clone());
            }
        }
        for record in &found {
            let expected = image.live.entries.get(&record.position.index);
            if expected != Some(record) {
                let what = format!(
                    "it read {:?} where {expected:?} was written",
                    record.position
                );
                self.0.shared.broken(what);
            }
        }
        Ok(found)
    }

    fn save_vote(&self, vote: &[u8]) -> Result<(), StorageError> {
        self.0.image().tried = Some(Bytes::copy_from_slice(vote));
        self.0.real(|real| real.save_vote(vote))?;
        let mut image = self.0.image();
        image.add(Operation::Vote(Bytes::copy_from_slice(vote)));
        let written = image.written();
        image.sync(written);
        Ok(())
    }

    fn vote(&self) -> Result<Option<Bytes>, StorageError> {
        Ok(self.0.real.vote())
    }

    fn save_committed(&self, committed: Option<Position>) -> Result<(), StorageError> {
        self.0.real(|real| real.save_committed(committed))?;
        self.0.image().add(Operation::Committed(committed));
        Ok(())
    }

    fn committed(&self) -> Result<Option<Position>, StorageError> {
        Ok(self.0.real.committed())
    }
}
