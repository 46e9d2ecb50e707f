//! A data directory as a replica's disk.

use super::{Disk, Incoming, RaftLog, Room, SnapshotData, SnapshotFiles, StateDisk, Taken};
use bytes::Bytes;
use pontoon_state::kv::{Batch, Pair};
use pontoon_state::{Family, Kv, KvError};
use pontoon_storage::checkpoint::{self, SnapshotFile};
use pontoon_storage::log::Flushed;
use pontoon_storage::{
    DataDir, Identity, Log, Manifest, OpenError, Position, Record, Snapshot, Snapshots, StateStore,
    StorageError,
};
use std::any::Any;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

impl Disk {
    /// Opens or makes the data directory of `identity`.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed.
    pub fn open(root: &Path, identity: &Identity) -> Result<Self, OpenError> {
        let data = DataDir::open(root, identity)?;
        let state = StateDirectory {
            store: StateStore::open(&data)?,
            snapshots: Snapshots::open(&data)?,
        };
        Ok(Self {
            log: Log::open(&data)?,
            state: Arc::new(state),
            room: Arc::new(data),
        })
    }
}

impl RaftLog for Log {
    fn purged(&self) -> Option<Position> {
        self.purged()
    }

    fn last(&self) -> Option<Position> {
        self.last()
    }

    fn append(&self, records: Vec<Record>, flushed: Flushed) -> Result<(), StorageError> {
        self.append(records, flushed)
    }

    fn truncate_after(&self, last: Option<u64>) -> Result<(), StorageError> {
        self.truncate_after(last)
    }

    fn purge(&self, upto: Position) -> Result<(), StorageError> {
        self.purge(upto)
    }

    fn read(&self, range: Range<u64>, limit: usize) -> Result<Vec<Record>, StorageError> {
        self.read_limited(range, limit)
    }

    fn save_vote(&self, vote: &[u8]) -> Result<(), StorageError> {
        self.save_vote(vote)
    }

    fn vote(&self) -> Result<Option<Bytes>, StorageError> {
        Ok(self.vote())
    }

    fn save_committed(&self, committed: Option<Position>) -> Result<(), StorageError> {
        self.save_committed(committed)
    }

    fn committed(&self) -> Result<Option<Position>, StorageError> {
        Ok(self.committed())
    }
}

/// The state and its snapshots, beside each other in a data directory.
#[derive(Debug)]
struct StateDirectory {
    store: Arc<StateStore>,
    snapshots: Arc<Snapshots>,
}

impl Kv for StateDirectory {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.store.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, KvError> {
        self.store.scan(family, from, until, limit)
    }

    fn write(&self, batch: Batch) -> Result<(), KvError> {
        self.store.write(batch)
    }
}

impl StateDisk for StateDirectory {
    fn take(&self, applied: &[u8]) -> Result<Box<dyn Taken>, StorageError> {
        Ok(Box::new(self.snapshots.take(&self.store, applied)?))
    }

    fn receive(&self, manifest: Manifest) -> Result<Box<dyn Incoming>, StorageError> {
        Ok(Box::new(self.snapshots.receive(manifest)?))
    }

    fn install(&self, snapshot: &dyn SnapshotFiles, name: &str) -> Result<(), StorageError> {
        let any: &dyn Any = snapshot;
        // Immutable files are linked, which needs to know where they are.
        let snapshot: &Snapshot = any
            .downcast_ref()
            .ok_or_else(|| StorageError::Corrupt("a snapshot is of another kind of disk".into()))?;
        self.store.install(snapshot)?;
        self.snapshots.adopt(snapshot, name)?;
        Ok(())
    }

    fn current(&self) -> Option<SnapshotData> {
        let current = self.snapshots.current()?;
        Some(current)
    }

    fn close(&self) {
        self.store.close();
    }
}

impl Taken for checkpoint::Taken {
    fn finish(self: Box<Self>, name: &str) -> Result<SnapshotData, StorageError> {
        let snapshot = (*self).finish(name)?;
        Ok(snapshot)
    }
}

impl Incoming for checkpoint::Incoming {
    fn write(
        &mut self,
        name: &str,
        offset: u64,
        data: &[u8],
        last: bool,
    ) -> Result<(), StorageError> {
        self.write(name, offset, data, last)
    }

    fn finish(self: Box<Self>) -> Result<SnapshotData, StorageError> {
        let snapshot = (*self).finish()?;
        Ok(snapshot)
    }
}

impl SnapshotFiles for Snapshot {
    fn manifest(&self) -> &Manifest {
        self.manifest()
    }

    fn open_file(&self, file: &SnapshotFile) -> Result<Box<dyn Read + Send>, StorageError> {
        Ok(Box::new(self.open_file(file)?))
    }
}

impl Room for DataDir {
    fn available_bytes(&self) -> Result<u64, StorageError> {
        self.available_bytes()
    }
}
