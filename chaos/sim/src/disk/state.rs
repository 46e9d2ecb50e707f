//! The model of the applied state: batches that a power failure takes away from some point on, and snapshots.

use super::Shared;
use super::snapshot::{SimSnapshot, receive};
use crate::chance::Chance;
use bytes::Bytes;
use pontoon_consensus::disk::{Incoming, SnapshotData, SnapshotFiles, StateDisk, Taken};
use pontoon_state::kv::{Batch, Pair};
use pontoon_state::{Family, Kv, KvError};
use pontoon_storage::{Manifest, StorageError};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) type Pairs = BTreeMap<(Family, Vec<u8>), Bytes>;

/// A state between a member's lives.
#[derive(Debug, Default)]
pub(super) struct Image {
    live: Pairs,
    durable: Pairs,
    pending: Vec<Batch>,
    current: Option<(String, Arc<SimSnapshot>)>,
}

fn apply(pairs: &mut Pairs, batch: &Batch) {
    for (family, key, value) in &batch.operations {
        match value {
            Some(value) => pairs.insert((*family, key.clone()), value.clone()),
            None => pairs.remove(&(*family, key.clone())),
        };
    }
}

impl Image {
    fn sync(&mut self, batches: usize) {
        for batch in self.pending.drain(..batches) {
            apply(&mut self.durable, &batch);
        }
    }

    /// The power fails: a prefix of the batches that were not synced is there.
    pub fn lose(&mut self, chance: &Chance) {
        let kept = chance.below(self.pending.len() as u64 + 1);
        self.sync(usize::try_from(kept).unwrap_or(0));
        self.pending.clear();
        self.live = self.durable.clone();
    }

    fn adopt(&mut self, name: &str, snapshot: Arc<SimSnapshot>) {
        let newest = self.current.as_ref();
        if newest.is_none_or(|(present, _)| present.as_str() < name) {
            self.current = Some((name.to_owned(), snapshot));
        }
    }
}

/// The state of one life of a member.
#[derive(Debug)]
pub(super) struct SimState {
    shared: Arc<Shared>,
    closed: AtomicBool,
}

impl SimState {
    pub fn open(shared: &Arc<Shared>) -> Arc<dyn StateDisk> {
        Arc::new(Self {
            shared: shared.clone(),
            closed: AtomicBool::new(false),
        })
    }

    fn image(&self) -> Result<parking_lot::MutexGuard<'_, Image>, StorageError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StorageError::Io("the state is closed".into()));
        }
        Ok(self.shared.state.lock())
    }
}

impl Kv for SimState {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        Ok(self.image()?.live.get(&(family, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, KvError> {
        let image = self.image()?;
        let found = image
            .live
            .range((family, from.to_vec())..)
            .take_while(|((at, key), _)| {
                *at == family && until.is_none_or(|until| key.as_slice() < until)
            })
            .take(limit)
            .map(|((_, key), value)| (Bytes::copy_from_slice(key), value.clone()));
        Ok(found.collect())
    }

    fn write(&self, batch: Batch) -> Result<(), KvError> {
        let mut image = self.image()?;
        apply(&mut image.live, &batch);
        image.pending.push(batch);
        // Memtables are flushed now and then.
        if self.shared.chance.percent(2) {
            let all = image.pending.len();
            image.sync(all);
        }
        Ok(())
    }
}

impl StateDisk for SimState {
    fn take(&self, applied: &[u8]) -> Result<Box<dyn Taken>, StorageError> {
        let mut image = self.image()?;
        let all = image.pending.len();
        image.sync(all);
        let snapshot = SimSnapshot::new(applied, &image.live);
        drop(image);
        Ok(Box::new(SimTaken {
            shared: self.shared.clone(),
            snapshot: Arc::new(snapshot),
        }))
    }

    fn receive(&self, manifest: Manifest) -> Result<Box<dyn Incoming>, StorageError> {
        Ok(receive(manifest))
    }

    fn install(&self, snapshot: &dyn SnapshotFiles, name: &str) -> Result<(), StorageError> {
        let any: &dyn Any = snapshot;
        let snapshot: &SimSnapshot = any
            .downcast_ref()
            .ok_or_else(|| StorageError::Corrupt("a snapshot is of another kind of disk".into()))?;
        let pairs = snapshot.pairs()?;
        let mut image = self.image()?;
        image.live.clone_from(&pairs);
        image.durable = pairs;
        image.pending.clear();
        image.adopt(name, Arc::new(snapshot.clone()));
        Ok(())
    }

    fn current(&self) -> Option<SnapshotData> {
        let image = self.image().ok()?;
        let (_, snapshot) = image.current.as_ref()?;
        Some(snapshot.clone())
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

#[derive(Debug)]
struct SimTaken {
    shared: Arc<Shared>,
    snapshot: Arc<SimSnapshot>,
}

impl Taken for SimTaken {
    fn finish(self: Box<Self>, name: &str) -> Result<SnapshotData, StorageError> {
        self.shared.state.lock().adopt(name, self.snapshot.clone());
        Ok(self.snapshot)
    }
}
