//! The applied state on disk: `state`'s port over a RocksDB that a snapshot can replace.
//!
//! Writes are not synced: the log is, and what a crash takes away is applied again from it. Before
//! the log is purged, a checkpoint has made the state durable.

use crate::checkpoint::Snapshot;
use crate::data_dir::{DataDir, replace_file, sync_dir};
use crate::database;
use crate::error::{OpenError, StorageError};
use bytes::Bytes;
use parking_lot::RwLock;
use pontoon_state::kv::{Batch, Pair};
use pontoon_state::{Family, Kv, KvError};
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, ReadOptions, WriteBatch};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The live state. Readers go on undisturbed while a snapshot replaces it: each call sees one
/// generation or the other.
#[derive(Debug)]
pub struct StateStore {
    dir: PathBuf,
    /// `None` once it is closed.
    live: RwLock<Option<Arc<Generation>>>,
}

/// One database of the state. The directory of a retired one goes with its last reader.
pub(crate) struct Generation {
    db: DB,
    number: u64,
    // Behind `db`, so that it is dropped when the database is closed.
    remains: Remains,
}

struct Remains {
    path: PathBuf,
    retired: AtomicBool,
}

impl Drop for Remains {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Acquire)
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            // The next start removes it.
            tracing::warn!(path = %self.path.display(), %error, "a replaced state could not be removed");
        }
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Generation {
    fn open(dir: &Path, number: u64) -> Result<Self, StorageError> {
        let path = dir.join(generation_name(number));
        let db = database::open_state(&path)?;
        Ok(Self {
            db,
            number,
            remains: Remains {
                path,
                retired: AtomicBool::new(false),
            },
        })
    }

    fn family(&self, family: Family) -> &ColumnFamily {
        self.db
            .cf_handle(family.name())
            .expect("every family is created when the state is opened")
    }
}

fn generation_name(number: u64) -> String {
    format!("generation-{number:08}")
}

const LIVE: &str = "LIVE";

impl StateStore {
    /// Opens the live generation, and removes what a crash left of others.
    ///
    /// # Errors
    /// [`OpenError`] when it cannot be read.
    pub fn open(data: &DataDir) -> Result<Arc<Self>, OpenError> {
        let dir = data.path("state");
        fs::create_dir_all(&dir).map_err(|error| StorageError::io("making", &dir, &error))?;
        sync_dir(&data.path(""))?;
        let number = match fs::read_to_string(dir.join(LIVE)) {
            Ok(text) => text.trim().parse().map_err(|_| {
                StorageError::Corrupt(format!(
                    "{} does not name a generation",
                    dir.join(LIVE).display()
                ))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                replace_file(&dir.join(LIVE), b"1\n")?;
                1
            }
            Err(error) => return Err(StorageError::io("reading", &dir.join(LIVE), &error).into()),
        };
        remove_others(&dir, number)?;
        let live = Generation::open(&dir, number)?;
        // A state whose name is lost would be made anew, empty, beside a log that begins later.
        sync_dir(&dir)?;
        Ok(Arc::new(Self {
            dir,
            live: RwLock::new(Some(Arc::new(live))),
        }))
    }

    /// Replaces the state by a snapshot's. A crash leaves the old one or the new one; an error
    /// leaves the old one.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn install(&self, snapshot: &Snapshot) -> Result<(), StorageError> {
        let number = self.generation()?.number + 1;
        let path = self.dir.join(generation_name(number));
        let staged = path.with_extension("staged");
        for leftover in [&path, &staged] {
            if leftover.exists() {
                fs::remove_dir_all(leftover)
                    .map_err(|error| StorageError::io("removing", leftover, &error))?;
            }
        }
        snapshot.copy_to(&staged)?;
        fs::rename(&staged, &path)
            .map_err(|error| StorageError::io("renaming", &staged, &error))?;
        sync_dir(&self.dir)?;
        let next = Arc::new(Generation::open(&self.dir, number)?);
        replace_file(&self.dir.join(LIVE), format!("{number}\n").as_bytes())?;
        if let Some(before) = self.live.write().replace(next) {
            before.remains.retired.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn sync(&self) -> Result<(), StorageError> {
        Ok(self.generation()?.db.flush_wal(true)?)
    }

    /// Writes a copy of this instant's state to `path`, which must not exist. What it holds is durable in the live
    /// state as well from here on, since its memtables are flushed.
    pub(crate) fn checkpoint(&self, path: &Path) -> Result<(), StorageError> {
        let generation = self.generation()?;
        rocksdb::checkpoint::Checkpoint::new(&generation.db)?.create_checkpoint(path)?;
        Ok(generation.db.flush_wal(true)?)
    }

    /// Closes the database: whoever still has the store gets errors.
    pub fn close(&self) {
        *self.live.write() = None;
    }

    fn generation(&self) -> Result<Arc<Generation>, StorageError> {
        self.live
            .read()
            .clone()
            .ok_or_else(|| StorageError::Io("the state is closed".into()))
    }
}

fn remove_others(dir: &Path, live: u64) -> Result<(), StorageError> {
    let io = |error: std::io::Error| StorageError::io("listing", dir, &error);
    for entry in fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let path = entry.path();
        if name.to_string_lossy().starts_with("generation-") && *name != *generation_name(live) {
            fs::remove_dir_all(&path)
                .map_err(|error| StorageError::io("removing", &path, &error))?;
        }
    }
    Ok(())
}

impl Kv for StateStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        let generation = self.generation()?;
        let found = generation
            .db
            .get_pinned_cf(generation.family(family), key)
            .map_err(StorageError::from)?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, KvError> {
        let generation = self.generation()?;
        if until.is_some_and(|until| until <= from) {
            return Ok(Vec::new());
        }
        let mut options = ReadOptions::default();
        if let Some(until) = until {
            options.set_iterate_upper_bound(until);
        }
        let mode = IteratorMode::From(from, Direction::Forward);
        let iterator = generation
            .db
            .iterator_cf_opt(generation.family(family), options, mode);
        let mut pairs = Vec::new();
        for pair in iterator.take(limit) {
            let (key, value) = pair.map_err(StorageError::from)?;
            pairs.push((Bytes::from(key), Bytes::from(value)));
        }
        Ok(pairs)
    }

    fn write(&self, batch: Batch) -> Result<(), KvError> {
        let generation = self.generation()?;
        let mut writes = WriteBatch::default();
        for (family, key, value) in batch.operations {
            let family = generation.family(family);
            match value {
                Some(value) => writes.put_cf(family, key, value),
                None => writes.delete_cf(family, key),
            }
        }
        generation
            .db
            .write(writes)
            .map_err(|error| StorageError::from(error).into())
    }
}
