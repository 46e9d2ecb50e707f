//! What a replica needs of a disk: a log, a state with snapshots of it, and room.
//!
//! `storage` fulfils it on a data directory ([`Disk::open`]); the simulation, in memory. Calls are coarse, so that what
//! lies behind them may be a `dyn` at no price that shows.

mod directory;

use bytes::Bytes;
use pontoon_state::{Kv, KvError};
use pontoon_storage::checkpoint::SnapshotFile;
use pontoon_storage::log::Flushed;
use pontoon_storage::{Manifest, Position, Record, StorageError};
use std::any::Any;
use std::fmt::Debug;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

/// A disk that one replica has opened.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The replicated log.
    pub log: Arc<dyn RaftLog>,
    /// The applied state.
    pub state: Arc<dyn StateDisk>,
    /// Its space; what keeps others from opening it.
    pub room: Arc<dyn Room>,
}

/// The Raft log with vote and purge point. An error of any call is final: the replica must stop.
pub trait RaftLog: Debug + Send + Sync + 'static {
    /// The purge point: the last entry that is gone.
    fn purged(&self) -> Option<Position>;

    /// The last entry, or the purge point when there is none.
    fn last(&self) -> Option<Position>;

    /// Appends entries that follow the last one. They can be read on return; `flushed` is called once they are durable.
    ///
    /// # Errors
    /// [`StorageError`]; `flushed` is not called.
    fn append(&self, records: Vec<Record>, flushed: Flushed) -> Result<(), StorageError>;

    /// Removes the entries behind `last` (all of them for `None`).
    ///
    /// # Errors
    /// [`StorageError`].
    fn truncate_after(&self, last: Option<u64>) -> Result<(), StorageError>;

    /// Removes the entries up to and with `upto`. The caller has made durable what they led to.
    ///
    /// # Errors
    /// [`StorageError`].
    fn purge(&self, upto: Position) -> Result<(), StorageError>;

    /// The entries of a range, as far as they are there, ending behind the one with which `limit` bytes are reached.
    ///
    /// # Errors
    /// [`StorageError`].
    fn read(&self, range: Range<u64>, limit: usize) -> Result<Vec<Record>, StorageError>;

    /// Saves the vote. It is durable on return, and so is everything appended before.
    ///
    /// # Errors
    /// [`StorageError`].
    fn save_vote(&self, vote: &[u8]) -> Result<(), StorageError>;

    /// The vote saved last.
    ///
    /// # Errors
    /// [`StorageError`].
    fn vote(&self) -> Result<Option<Bytes>, StorageError>;

    /// Saves how far entries are known to be committed. Not synced.
    ///
    /// # Errors
    /// [`StorageError`].
    fn save_committed(&self, committed: Option<Position>) -> Result<(), StorageError>;

    /// What was last saved by [`RaftLog::save_committed`].
    ///
    /// # Errors
    /// [`StorageError`].
    fn committed(&self) -> Result<Option<Position>, StorageError>;
}

/// The applied state, and snapshots of it. An error is final, but for those of a snapshot being received.
pub trait StateDisk: Kv + Debug {
    /// Takes this instant's state, to be finished as a snapshot while the state goes on; `applied` is what it says it
    /// has applied. All of it is durable in the state as well when the snapshot is finished.
    ///
    /// # Errors
    /// [`StorageError`].
    fn take(&self, applied: &[u8]) -> Result<Box<dyn Taken>, StorageError>;

    /// Begins to receive a snapshot.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when the manifest makes no sense.
    fn receive(&self, manifest: Manifest) -> Result<Box<dyn Incoming>, StorageError>;

    /// Replaces the state by a snapshot's in one step, and makes the snapshot the current one under a `name` that sorts
    /// as snapshots follow each other.
    ///
    /// # Errors
    /// [`StorageError`].
    fn install(&self, snapshot: &dyn SnapshotFiles, name: &str) -> Result<(), StorageError>;

    /// The last snapshot made or installed.
    fn current(&self) -> Option<SnapshotData>;

    /// Ends it: whoever still has the state gets errors.
    fn close(&self);
}

/// An instant of the state, not yet a snapshot.
pub trait Taken: Debug + Send + Sync {
    /// Makes this the current snapshot. `name` must sort as snapshots follow each other.
    ///
    /// # Errors
    /// [`StorageError`].
    fn finish(self: Box<Self>, name: &str) -> Result<SnapshotData, StorageError>;
}

/// A snapshot being received. Dropped before it is finished, it leaves nothing.
pub trait Incoming: Debug + Send {
    /// Takes the next bytes of a file. Files come in the order of the manifest.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when they are not the next, or a file ends up other than the manifest says.
    fn write(
        &mut self,
        name: &str,
        offset: u64,
        data: &[u8],
        last: bool,
    ) -> Result<(), StorageError>;

    /// Ends it.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when files are missing.
    fn finish(self: Box<Self>) -> Result<SnapshotData, StorageError>;
}

/// A whole, verified snapshot.
pub trait SnapshotFiles: Any + Debug + Send + Sync {
    /// What it holds.
    fn manifest(&self) -> &Manifest;

    /// Opens one of its files for reading.
    ///
    /// # Errors
    /// [`StorageError`].
    fn open_file(&self, file: &SnapshotFile) -> Result<Box<dyn Read + Send>, StorageError>;
}

/// A snapshot, as it goes through openraft.
pub type SnapshotData = Arc<dyn SnapshotFiles>;

/// The space of a disk.
pub trait Room: Debug + Send + Sync + 'static {
    /// Bytes that are left.
    ///
    /// # Errors
    /// [`StorageError`] where the system does not say.
    fn available_bytes(&self) -> Result<u64, StorageError>;
}

/// The state as `state`'s port, whichever disk it is on.
#[derive(Debug, Clone)]
pub(crate) struct State(pub Arc<dyn StateDisk>);

impl Kv for State {
    fn get(&self, family: pontoon_state::Family, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.0.get(family, key)
    }

    fn scan(
        &self,
        family: pontoon_state::Family,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<pontoon_state::kv::Pair>, KvError> {
        self.0.scan(family, from, until, limit)
    }

    fn write(&self, batch: pontoon_state::kv::Batch) -> Result<(), KvError> {
        self.0.write(batch)
    }
}
