//! The Raft log on disk: entries, vote, purge point, and how far all of it is durable.
//!
//! Every entry carries a CRC-32C over its content and the CRC of the entry before it, so that the
//! log is a chain from the purge point to its end. Beside the database a small file holds a mark
//! of how far the log was reported durable and of the last vote. RocksDB alone cannot tell a damaged
//! record that was synced from a tail that never was; the mark can: a log that ends before it is damaged.
//!
//! One thread syncs: it takes all appends that wait, syncs once, and reports all of them.

mod mark;
mod record;
mod sync;
mod tail;
mod verify;

use crate::data_dir::DataDir;
use crate::database;
use crate::error::{OpenError, StorageError};
use crate::metrics;
use bytes::Bytes;
use mark::MarkFile;
use parking_lot::{Mutex, RwLock};
use rocksdb::{DB, Direction, IteratorMode, ReadOptions, WriteBatch};
use std::ops::Range;
use std::sync::Arc;
use sync::{Pending, Syncer};
use tail::Tail;

/// Where an entry is in the log, and who led when it was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The term.
    pub term: u64,
    /// The index.
    pub index: u64,
}

/// One entry. What it says is opaque here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it is.
    pub position: Position,
    /// What it says.
    pub payload: Bytes,
}

/// Called once an append is durable, or cannot become so. On the syncing thread: it must not block.
pub type Flushed = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// A place in the chain: a position and the CRC of the entry there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Link {
    position: Position,
    crc: u32,
}

/// What readers, the writer and the syncing thread share.
struct Shared {
    db: DB,
    mark: Mutex<MarkFile>,
    tail: RwLock<Tail>,
}

/// The log of one replica. There is one writer; readers are many.
pub struct Log {
    shared: Arc<Shared>,
    syncer: Syncer,
    vote_sequence: Mutex<u64>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("last", &self.last())
            .field("purged", &self.purged())
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log and checks all of it.
    ///
    /// # Errors
    /// [`OpenError::Damaged`] when it is not what this replica reported durable: it must not vote.
    pub fn open(data: &DataDir) -> Result<Arc<Self>, OpenError> {
        let path = data.path("raft");
        let mark_path = data.path("synced");
        let fresh = !path.exists();
        let damaged = |detail: String| verify::damaged(&path, detail);
        if fresh && mark_path.exists() {
            return Err(
                damaged("the log is gone, the mark of how far it reached is there".into()).into(),
            );
        }
        let mark = if fresh {
            MarkFile::create(&mark_path)?
        } else {
            MarkFile::open(&mark_path, &path)?
        };
        let db = database::open_log(&path).map_err(|error| match error {
            StorageError::Corrupt(detail) => OpenError::from(damaged(detail)),
            error => error.into(),
        })?;
        let found = verify::verify(&db, &path, &mark.mark())?;
        let shared = Arc::new(Shared {
            db,
            mark: Mutex::new(mark),
            tail: RwLock::new(Tail::new(found.purged, found.last)),
        });
        let syncer = Syncer::start(shared.clone())?;
        // What was found may be ahead of what was synced: sync it before anything is built on it.
        shared.db.flush_wal(true).map_err(StorageError::from)?;
        Ok(Arc::new(Self {
            shared,
            syncer,
            vote_sequence: Mutex::new(found.vote_sequence),
        }))
    }

    /// The purge point: the last entry that is gone.
    #[must_use]
    pub fn purged(&self) -> Option<Position> {
        self.shared.tail.read().purged.map(|link| link.position)
    }

    /// The last entry, or the purge point when there is none.
    #[must_use]
    pub fn last(&self) -> Option<Position> {
        self.shared.tail.read().end().map(|link| link.position)
    }

    /// Appends entries that follow the last one. They can be read on return; `flushed` is called once they are durable.
    ///
    /// # Errors
    /// [`StorageError`]: the replica must stop. `flushed` is not called.
    pub fn append(&self, records: Vec<Record>, flushed: Flushed) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        let mut end = self.shared.tail.read().end();
        let mut bytes = 0;
        for record in &records {
            if let Some(end) = end
                && end.position.index + 1 != record.position.index
            {
                return Err(StorageError::Corrupt(format!(
                    "entry {} was to follow entry {}",
                    record.position.index, end.position.index
                )));
            }
            let (link, value) = record::encode(end.map_or(0, |link| link.crc), record);
            batch.put(record::entry_key(record.position.index), &value);
            bytes += value.len() as u64;
            end = Some(link);
        }
        let Some(end) = end.filter(|_| !records.is_empty()) else {
            flushed(Ok(()));
            return Ok(());
        };
        self.shared.db.write(batch)?;
        ::metrics::counter!(metrics::APPENDED_BYTES).increment(bytes);
        let epoch = {
            let mut tail = self.shared.tail.write();
            tail.push(records, end);
            tail.epoch
        };
        self.syncer.submit(Pending {
            end: end.position,
            epoch,
            flushed,
        });
        Ok(())
    }

    /// Removes the entries behind `last` (all of them for `None`).
    ///
    /// # Errors
    /// [`StorageError`]: the replica must stop.
    pub fn truncate_after(&self, last: Option<u64>) -> Result<(), StorageError> {
        let mut tail = self.shared.tail.write();
        let Some(end) = tail.end() else { return Ok(()) };
        let from = last.map_or(0, |last| last + 1);
        if end.position.index < from
            || tail
                .purged
                .is_some_and(|purged| purged.position == end.position)
        {
            return Ok(());
        }
        let kept = match last {
            Some(last)
                if tail
                    .purged
                    .is_none_or(|purged| last > purged.position.index) =>
            {
                let value = self.shared.db.get_pinned(record::entry_key(last))?;
                let value = value
                    .ok_or_else(|| StorageError::Corrupt(format!("entry {last} is missing")))?;
                Some(record::decode(last, &value)?.link)
            }
            _ => tail.purged,
        };
        tail.epoch += 1;
        // The mark goes back first, and durably: it must never say more than the log has.
        self.shared
            .mark
            .lock()
            .lower(kept.map(|link| link.position))?;
        let mut batch = WriteBatch::default();
        batch.delete_range(record::entry_key(from), record::entry_end());
        self.shared.db.write(batch)?;
        tail.truncate(from, kept);
        Ok(())
    }

    /// Removes the entries up to and with `upto`. The caller has made durable what they led to.
    ///
    /// # Errors
    /// [`StorageError`]: the replica must stop.
    pub fn purge(&self, upto: Position) -> Result<(), StorageError> {
        let mut tail = self.shared.tail.write();
        if tail.purged.is_some_and(|purged| purged.position >= upto) {
            return Ok(());
        }
        let crc = match self.shared.db.get_pinned(record::entry_key(upto.index))? {
            Some(value) => record::decode(upto.index, &value)?.link.crc,
            // Purging beyond the end: a snapshot took the log's place, and a chain begins anew.
            None => 0,
        };
        let purged = Link {
            position: upto,
            crc,
        };
        let mut batch = WriteBatch::default();
        batch.put(record::PURGED, record::encode_link(&purged));
        batch.delete_range(record::entry_key(0), record::entry_key(upto.index + 1));
        self.shared.db.write(batch)?;
        tail.purge(purged);
        Ok(())
    }

    /// The entries of a range, as far as they are there.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when one is not what was written.
    pub fn read(&self, range: Range<u64>) -> Result<Vec<Record>, StorageError> {
        self.read_limited(range, usize::MAX)
    }

    /// As [`Log::read`], ending behind the entry with which `limit` bytes are reached.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_limited(
        &self,
        range: Range<u64>,
        limit: usize,
    ) -> Result<Vec<Record>, StorageError> {
        let range = {
            let tail = self.shared.tail.read();
            let Some(end) = tail.end() else {
                return Ok(Vec::new());
            };
            let first = tail.purged.map_or(0, |purged| purged.position.index + 1);
            let range = range.start.max(first)..range.end.min(end.position.index + 1);
            if range.is_empty() {
                return Ok(Vec::new());
            }
            if let Some(records) = tail.cached(&range, limit) {
                return Ok(records);
            }
            range
        };
        ::metrics::counter!(metrics::CACHE_MISSES).increment(1);
        self.read_stored(range, limit)
    }

    fn read_stored(&self, range: Range<u64>, limit: usize) -> Result<Vec<Record>, StorageError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(record::entry_key(range.end));
        let from = record::entry_key(range.start);
        let mut records: Vec<Record> = Vec::new();
        let mut bytes = 0;
        for pair in self
            .shared
            .db
            .iterator_opt(IteratorMode::From(&from, Direction::Forward), options)
        {
            let (key, value) = pair?;
            let index = record::entry_index(&key)?;
            if let Some(last) = records.last()
                && last.position.index + 1 != index
            {
                return Err(StorageError::Corrupt(format!(
                    "entry {} is missing",
                    last.position.index + 1
                )));
            }
            let stored = record::decode(index, &value)?;
            bytes += stored.payload.len();
            records.push(Record {
                position: stored.link.position,
                payload: Bytes::copy_from_slice(stored.payload),
            });
            if bytes >= limit {
                break;
            }
        }
        Ok(records)
    }

    /// Saves the vote. It is durable on return, and so is everything appended before.
    ///
    /// # Errors
    /// [`StorageError`]: the replica must stop.
    pub fn save_vote(&self, vote: &[u8]) -> Result<(), StorageError> {
        let mut sequence = self.vote_sequence.lock();
        *sequence += 1;
        self.shared
            .db
            .put(record::VOTE, record::encode_vote(*sequence, vote))?;
        self.shared.db.flush_wal(true)?;
        self.shared.mark.lock().voted(*sequence)
    }

    /// The vote saved last.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when it is not what was written.
    pub fn vote(&self) -> Result<Option<Bytes>, StorageError> {
        let Some(value) = self.shared.db.get_pinned(record::VOTE)? else {
            return Ok(None);
        };
        Ok(Some(Bytes::copy_from_slice(record::decode_vote(&value)?.1)))
    }

    /// Saves how far entries are known to be committed. Not synced: it only saves work at start.
    ///
    /// # Errors
    /// [`StorageError`]: the replica must stop.
    pub fn save_committed(&self, committed: Option<Position>) -> Result<(), StorageError> {
        match committed {
            Some(position) => {
                let link = Link { position, crc: 0 };
                self.shared
                    .db
                    .put(record::COMMITTED, record::encode_link(&link))?;
            }
            None => self.shared.db.delete(record::COMMITTED)?,
        }
        Ok(())
    }

    /// What [`Log::save_committed`] saved last, at most the end of the log.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when it is not what was written.
    pub fn committed(&self) -> Result<Option<Position>, StorageError> {
        let Some(value) = self.shared.db.get_pinned(record::COMMITTED)? else {
            return Ok(None);
        };
        Ok(Some(record::decode_link(&value)?.position))
    }
}
