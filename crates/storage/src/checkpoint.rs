//! Snapshots: checkpoints of the state as directories of files with a manifest.
//!
//! A snapshot directory gets its final name only when all its files are written, summed and
//! synced; what has no final name is removed at the next start.

use crate::data_dir::{DataDir, replace_file, sync_dir};
use crate::error::{OpenError, StorageError};
use crate::kv::StateStore;
use crate::limits::SNAPSHOT_CHUNK_BYTES;
use crate::metrics;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// The name of the manifest inside a snapshot.
const MANIFEST: &str = "pontoon-snapshot.json";

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What consensus had applied: opaque here, the same bytes as in the state itself.
    pub applied: Vec<u8>,
    /// Every file, in the order in which they are sent.
    pub files: Vec<SnapshotFile>,
}

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFile {
    /// Its name, without directories.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// CRC-32C of its content.
    pub crc32c: u32,
}

/// A whole, verified snapshot on disk. Its directory goes when it is replaced and nobody reads it.
#[derive(Debug)]
pub struct Snapshot {
    dir: PathBuf,
    manifest: Manifest,
    replaced: AtomicBool,
}

impl Snapshot {
    /// What it holds.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Opens one of its files for reading.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn open_file(&self, file: &SnapshotFile) -> Result<File, StorageError> {
        let path = self.dir.join(&file.name);
        File::open(&path).map_err(|error| StorageError::io("opening", &path, &error))
    }

    /// Checks every file against the manifest.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when one differs.
    pub fn verify(&self) -> Result<(), StorageError> {
        for file in &self.manifest.files {
            let found = sum_file(&self.dir.join(&file.name))?;
            if found != (file.size, file.crc32c) {
                return Err(StorageError::Corrupt(format!(
                    "snapshot file {} is not what was written",
                    file.name
                )));
            }
        }
        Ok(())
    }

    /// Lays out a state in `target`: immutable files are linked, the others copied.
    pub(crate) fn copy_to(&self, target: &Path) -> Result<(), StorageError> {
        let io = |error: std::io::Error| StorageError::io("copying a snapshot to", target, &error);
        fs::create_dir(target).map_err(io)?;
        for file in &self.manifest.files {
            let (from, to) = (self.dir.join(&file.name), target.join(&file.name));
            if Path::new(&file.name)
                .extension()
                .is_some_and(|extension| extension == "sst")
            {
                fs::hard_link(&from, &to).map_err(io)?;
            } else {
                fs::copy(&from, &to).map_err(io)?;
                File::open(&to)
                    .and_then(|file| file.sync_all())
                    .map_err(io)?;
            }
        }
        sync_dir(target)
    }

    fn read(dir: &Path) -> Result<Self, StorageError> {
        let path = dir.join(MANIFEST);
        let text = fs::read(&path).map_err(|error| StorageError::io("reading", &path, &error))?;
        let manifest = serde_json::from_slice(&text)
            .map_err(|error| StorageError::Corrupt(format!("{}: {error}", path.display())))?;
        Ok(Self {
            dir: dir.into(),
            manifest,
            replaced: AtomicBool::new(false),
        })
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if self.replaced.load(Ordering::Acquire)
            && let Err(error) = fs::remove_dir_all(&self.dir)
        {
            tracing::warn!(path = %self.dir.display(), %error, "a replaced snapshot could not be removed");
        }
    }
}

/// The snapshots of one replica: the current one, and those in the making.
#[derive(Debug)]
pub struct Snapshots {
    dir: PathBuf,
    current: Mutex<Option<Arc<Snapshot>>>,
    staged: AtomicU64,
}

const COMPLETE: &str = "snapshot-";
const STAGED: &str = "staged-";

impl Snapshots {
    /// Opens the directory of snapshots; removes what was not completed and all but the newest. A current one that is
    /// damaged is dropped: it can be made again.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(data: &DataDir) -> Result<Arc<Self>, OpenError> {
        let dir = data.path("snapshots");
        let io = |error: std::io::Error| StorageError::io("listing", &dir, &error);
        fs::create_dir_all(&dir).map_err(io)?;
        sync_dir(&data.path(""))?;
        let mut complete = Vec::new();
        for entry in fs::read_dir(&dir).map_err(io)? {
            let entry = entry.map_err(io)?;
            if entry.file_name().to_string_lossy().starts_with(COMPLETE) {
                complete.push(entry.path());
            } else {
                remove(&entry.path())?;
            }
        }
        complete.sort();
        let mut current = None;
        for path in complete.into_iter().rev() {
            match Snapshot::read(&path).and_then(|snapshot| snapshot.verify().map(|()| snapshot)) {
                Ok(snapshot) if current.is_none() => current = Some(Arc::new(snapshot)),
                Ok(_) => remove(&path)?,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a damaged snapshot is dropped");
                    remove(&path)?;
                }
            }
        }
        Ok(Arc::new(Self {
            dir,
            current: Mutex::new(current),
            staged: AtomicU64::new(0),
        }))
    }

    /// The last snapshot made or received.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Snapshot>> {
        self.current.lock().clone()
    }

    /// Takes this instant's state; `applied` is what it says it has applied. Cheap next to [`Taken::finish`], which
    /// may run while the state goes on.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn take(
        self: &Arc<Self>,
        state: &StateStore,
        applied: &[u8],
    ) -> Result<Taken, StorageError> {
        let begun = Instant::now();
        let dir = self.stage();
        state.checkpoint(&dir)?;
        Ok(Taken {
            snapshots: self.clone(),
            dir,
            applied: applied.into(),
            begun,
        })
    }

    /// Begins to receive a snapshot.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when the manifest makes no sense.
    pub fn receive(&self, manifest: Manifest) -> Result<Incoming, StorageError> {
        for file in &manifest.files {
            let plain = !file.name.is_empty()
                && !file.name.starts_with('.')
                && !file.name.contains(['/', '\\', '\0']);
            if !plain || file.name == MANIFEST {
                return Err(StorageError::Corrupt(format!(
                    "a snapshot file is named {:?}",
                    file.name
                )));
            }
        }
        let dir = self.stage();
        fs::create_dir(&dir).map_err(|error| StorageError::io("making", &dir, &error))?;
        Ok(Incoming {
            dir,
            manifest,
            next: 0,
            open: None,
        })
    }

    /// Makes a snapshot that was received, and is installed, the current one.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn adopt(&self, snapshot: &Snapshot, name: &str) -> Result<Arc<Snapshot>, StorageError> {
        let dir = self.stage();
        snapshot.copy_to(&dir)?;
        self.complete(&dir, &snapshot.manifest, name)
    }

    fn stage(&self) -> PathBuf {
        self.dir.join(format!(
            "{STAGED}{}",
            self.staged.fetch_add(1, Ordering::Relaxed)
        ))
    }

    /// Gives a complete staged directory its final name; `name` sorts as snapshots follow each other.
    fn complete(
        &self,
        staged: &Path,
        manifest: &Manifest,
        name: &str,
    ) -> Result<Arc<Snapshot>, StorageError> {
        let text =
            serde_json::to_vec(manifest).expect("a struct of text and numbers always encodes");
        replace_file(&staged.join(MANIFEST), &text)?;
        let path = self.dir.join(format!("{COMPLETE}{name}"));
        let mut current = self.current.lock();
        if let Some(present) = current.as_ref().filter(|present| present.dir == path) {
            remove(staged)?;
            return Ok(present.clone());
        }
        fs::rename(staged, &path).map_err(|error| StorageError::io("renaming", staged, &error))?;
        sync_dir(&self.dir)?;
        let snapshot = Arc::new(Snapshot::read(&path)?);
        if current.as_ref().is_none_or(|present| present.dir < path) {
            if let Some(before) = current.replace(snapshot.clone()) {
                before.replaced.store(true, Ordering::Release);
            }
        } else {
            snapshot.replaced.store(true, Ordering::Release);
        }
        Ok(snapshot)
    }
}

fn remove(path: &Path) -> Result<(), StorageError> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.map_err(|error| StorageError::io("removing", path, &error))
}

/// An instant of the state, not yet a snapshot.
#[derive(Debug)]
pub struct Taken {
    snapshots: Arc<Snapshots>,
    dir: PathBuf,
    applied: Vec<u8>,
    begun: Instant,
}

impl Taken {
    /// Sums and syncs the files and makes this the current snapshot. `name` must sort as snapshots follow each
    /// other.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn finish(self, name: &str) -> Result<Arc<Snapshot>, StorageError> {
        let io = |error: std::io::Error| StorageError::io("listing", &self.dir, &error);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let (size, crc32c) = sum_file(&entry.path())?;
            files.push(SnapshotFile { name, size, crc32c });
        }
        files.sort_by(|one, other| one.name.cmp(&other.name));
        sync_dir(&self.dir)?;
        let manifest = Manifest {
            applied: self.applied,
            files,
        };
        let snapshot = self.snapshots.complete(&self.dir, &manifest, name)?;
        ::metrics::histogram!(metrics::SNAPSHOT_SECONDS).record(self.begun.elapsed());
        Ok(snapshot)
    }
}

/// Size and CRC-32C of a file, which is synced on the way.
fn sum_file(path: &Path) -> Result<(u64, u32), StorageError> {
    let io = |error: std::io::Error| StorageError::io("reading", path, &error);
    let mut file = File::open(path).map_err(io)?;
    let mut buffer = vec![0; SNAPSHOT_CHUNK_BYTES];
    let (mut size, mut crc) = (0, 0);
    loop {
        let read = file.read(&mut buffer).map_err(io)?;
        if read == 0 {
            file.sync_all().map_err(io)?;
            return Ok((size, crc));
        }
        size += read as u64;
        crc = crc32c::crc32c_append(crc, &buffer[..read]);
    }
}

/// A snapshot being received. Dropped before it is finished, it leaves nothing that is referred to.
#[derive(Debug)]
pub struct Incoming {
    dir: PathBuf,
    manifest: Manifest,
    next: usize,
    open: Option<(File, u64, u32)>,
}

impl Incoming {
    /// Writes the next bytes of a file. Files come in the order of the manifest.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when they are not the next, or a file ends up other than the manifest says.
    pub fn write(
        &mut self,
        name: &str,
        offset: u64,
        data: &[u8],
        last: bool,
    ) -> Result<(), StorageError> {
        let corrupt =
            |detail: &str| StorageError::Corrupt(format!("snapshot file {name:?}: {detail}"));
        let expected = self
            .manifest
            .files
            .get(self.next)
            .ok_or_else(|| corrupt("more files than announced"))?;
        if expected.name != name {
            return Err(corrupt("out of order"));
        }
        let path = self.dir.join(name);
        let io = |error: std::io::Error| StorageError::io("writing", &path, &error);
        if self.open.is_none() {
            self.open = Some((File::create_new(&path).map_err(io)?, 0, 0));
        }
        let (file, size, crc) = self.open.as_mut().expect("it was opened above");
        if *size != offset {
            return Err(corrupt("a chunk is missing"));
        }
        file.write_all(data).map_err(io)?;
        *size += data.len() as u64;
        *crc = crc32c::crc32c_append(*crc, data);
        if *size > expected.size {
            return Err(corrupt("longer than announced"));
        }
        if last {
            if (*size, *crc) != (expected.size, expected.crc32c) {
                return Err(corrupt("not what was sent"));
            }
            file.sync_all().map_err(io)?;
            self.open = None;
            self.next += 1;
        }
        Ok(())
    }

    /// Ends it. What was received is whole, and goes when it is dropped: [`StateStore::install`] and
    /// [`Snapshots::adopt`] keep it.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when files are missing.
    pub fn finish(mut self) -> Result<Arc<Snapshot>, StorageError> {
        if self.next != self.manifest.files.len() || self.open.is_some() {
            return Err(StorageError::Corrupt(
                "a snapshot ended before its last file".into(),
            ));
        }
        sync_dir(&self.dir)?;
        let dir = std::mem::take(&mut self.dir);
        Ok(Arc::new(Snapshot {
            dir,
            manifest: self.manifest.clone(),
            replaced: AtomicBool::new(true),
        }))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.dir.as_os_str().is_empty() {
            // What stays is removed at the next start.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
