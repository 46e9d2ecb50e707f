//! The port to durable storage, and its in-memory model.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// A separate ordered key space of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Every retained version of every object.
    Versions,
    /// What each retained revision changed.
    History,
    /// The store's own facts: revision, compacted revision, what consensus has applied.
    Meta,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 3] = [Self::Versions, Self::History, Self::Meta];

    /// The name of its column family.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Versions => "versions",
            Self::History => "history",
            Self::Meta => "meta",
        }
    }
}

/// Writes that take effect together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Family, key, and the value or `None` to remove, in order.
    pub operations: Vec<(Family, Vec<u8>, Option<Bytes>)>,
}

impl Batch {
    /// Adds a write.
    pub fn put(&mut self, family: Family, key: Vec<u8>, value: impl Into<Bytes>) {
        self.operations.push((family, key, Some(value.into())));
    }

    /// Adds a removal.
    pub fn delete(&mut self, family: Family, key: Vec<u8>) {
        self.operations.push((family, key, None));
    }
}

/// The store cannot be read or written, or holds what it never wrote. The replica stops.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// The storage engine failed.
    #[error("storage failed: {0}")]
    Storage(String),
    /// Stored bytes are not what was written.
    #[error("store is corrupt: {0}")]
    Corrupt(String),
}

/// A key and its value.
pub type Pair = (Bytes, Bytes);

/// An ordered key-value store with atomic batches. A reader sees a batch whole or not at all.
pub trait Kv: Send + Sync + 'static {
    /// The value under `key`.
    ///
    /// # Errors
    /// [`KvError`] when the engine fails.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, KvError>;

    /// Up to `limit` pairs with `from <= key`, and `key < until` where given, ascending, seen at one instant.
    ///
    /// # Errors
    /// [`KvError`] when the engine fails.
    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, KvError>;

    /// Takes effect whole, in order. Need not be durable on return: the log is.
    ///
    /// # Errors
    /// [`KvError`] when the engine fails.
    fn write(&self, batch: Batch) -> Result<(), KvError>;
}

/// The model of [`Kv`]: a sorted map in memory. What it does is what an implementation must do.
#[derive(Debug, Default)]
pub struct MemKv {
    pairs: Mutex<BTreeMap<(Family, Vec<u8>), Bytes>>,
}

impl MemKv {
    fn pairs(&self) -> std::sync::MutexGuard<'_, BTreeMap<(Family, Vec<u8>), Bytes>> {
        self.pairs
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Kv for MemKv {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        Ok(self.pairs().get(&(family, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, KvError> {
        let pairs = self.pairs();
        let found = pairs
            .range((family, from.to_vec())..)
            .take_while(|((at, key), _)| {
                *at == family && until.is_none_or(|until| key.as_slice() < until)
            })
            .take(limit)
            .map(|((_, key), value)| (Bytes::copy_from_slice(key), value.clone()));
        Ok(found.collect())
    }

    fn write(&self, batch: Batch) -> Result<(), KvError> {
        let mut pairs = self.pairs();
        for (family, key, value) in batch.operations {
            match value {
                Some(value) => pairs.insert((family, key), value),
                None => pairs.remove(&(family, key)),
            };
        }
        Ok(())
    }
}
