//! The files of the log: made, recycled, read, dropped.
//!
//! A segment has its name only when its header is whole and synced. One that is dropped becomes a spare, to be
//! overwritten: that spares the disk the work of finding room while a sync waits.

use super::Record;
use super::format::{self, HEADER_BYTES, Header, Kind};
use super::tail::Place;
use crate::disk::{Disk, DiskFile};
use crate::error::StorageError;
use crate::limits::{LOG_READ_BYTES, LOG_SPARE_SEGMENTS};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SEGMENT: &str = "segment-";
const SPARE: &str = "spare-";

#[derive(Debug)]
pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Of a segment, unless its first record needs more.
    size: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    open: BTreeMap<u32, Arc<dyn DiskFile>>,
    spares: Vec<PathBuf>,
}

fn named(prefix: &str, name: &str) -> Option<u32> {
    name.strip_prefix(prefix)?.parse().ok()
}

impl Segments {
    /// Over a directory that exists. Gives the numbers of the segments in it, ascending.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        size: u64,
    ) -> Result<(Self, Vec<u32>), StorageError> {
        let io = |error: io::Error| StorageError::io("opening the log in", dir, &error);
        let (mut inner, mut numbers) = (Inner::default(), Vec::new());
        for name in disk.list(dir).map_err(io)? {
            if let Some(number) = named(SEGMENT, &name) {
                let file = disk.open(&dir.join(&name)).map_err(io)?;
                inner.open.insert(number, file);
                numbers.push(number);
            } else if named(SPARE, &name).is_some() {
                inner.spares.push(dir.join(name));
            }
        }
        numbers.sort_unstable();
        let inner = Mutex::new(inner);
        let segments = Self {
            disk,
            dir: dir.into(),
            size,
            inner,
        };
        Ok((segments, numbers))
    }

    fn path(&self, prefix: &str, number: u32) -> PathBuf {
        self.dir.join(format!("{prefix}{number:010}"))
    }

    pub(super) fn path_of(&self, number: u32) -> PathBuf {
        self.path(SEGMENT, number)
    }

    pub(super) fn file(&self, number: u32) -> Result<Arc<dyn DiskFile>, StorageError> {
        let file = self.inner.lock().open.get(&number).cloned();
        file.ok_or_else(|| {
            let path = self.path_of(number);
            StorageError::Corrupt(format!("{} is missing", path.display()))
        })
    }

    /// Makes a segment durable under its name. What lies behind its header is of no segment, or of an earlier one.
    pub(super) fn make(&self, header: &Header) -> Result<Arc<dyn DiskFile>, StorageError> {
        let path = self.path_of(header.segment);
        let io = |error: io::Error| StorageError::io("making", &path, &error);
        let spare = self.inner.lock().spares.pop();
        let (staged, file) = match spare {
            Some(spare) => {
                let file = self.disk.open(&spare).map_err(io)?;
                (spare, file)
            }
            None => {
                let staged = self.path(SPARE, header.segment);
                let file = self.disk.create(&staged).map_err(io)?;
                file.allocate(self.size).map_err(io)?;
                (staged, file)
            }
        };
        file.write_at(0, &header.encode()).map_err(io)?;
        file.sync().map_err(io)?;
        self.disk.rename(&staged, &path).map_err(io)?;
        self.disk.sync_dir(&self.dir).map_err(io)?;
        self.inner.lock().open.insert(header.segment, file.clone());
        Ok(file)
    }

    /// Makes the names durable: a spare may only be overwritten when its old name, a segment's, will not come back.
    pub(super) fn settle(&self) -> Result<(), StorageError> {
        self.disk
            .sync_dir(&self.dir)
            .map_err(|error| StorageError::io("syncing", &self.dir, &error))
    }

    /// Drops all segments before `first`, oldest first.
    pub(super) fn drop_before(&self, first: u32) -> Result<(), StorageError> {
        let io = |error: io::Error| StorageError::io("dropping a segment in", &self.dir, &error);
        let mut dropped = false;
        loop {
            let (number, file, spares) = {
                let mut inner = self.inner.lock();
                match inner.open.first_entry() {
                    Some(oldest) if *oldest.key() < first => {
                        let (number, file) = oldest.remove_entry();
                        (number, file, inner.spares.len())
                    }
                    _ if dropped => break self.settle(),
                    _ => break Ok(()),
                }
            };
            dropped = true;
            let path = self.path_of(number);
            // Somebody may still read it: such a one is not overwritten.
            let unread = Arc::strong_count(&file) == 1;
            if unread && spares < LOG_SPARE_SEGMENTS && file.length().map_err(io)? == self.size {
                let spare = self.path(SPARE, number);
                self.disk.rename(&path, &spare).map_err(io)?;
                self.inner.lock().spares.push(spare);
            } else {
                self.disk.remove(&path).map_err(io)?;
            }
        }
    }

    /// Removes spares beyond what is kept, after a start.
    pub(super) fn trim_spares(&self) -> Result<(), StorageError> {
        let io = |error: io::Error| StorageError::io("removing a spare in", &self.dir, &error);
        let mut inner = self.inner.lock();
        let spares = std::mem::take(&mut inner.spares);
        for spare in spares {
            let whole = self
                .disk
                .open(&spare)
                .and_then(|file| file.length())
                .map_err(io)?
                == self.size;
            if whole && inner.spares.len() < LOG_SPARE_SEGMENTS {
                inner.spares.push(spare);
            } else {
                self.disk.remove(&spare).map_err(io)?;
            }
        }
        drop(inner);
        Ok(())
    }

    /// The files that `places` lie in. Who holds them can read, whatever is dropped meanwhile.
    pub(super) fn files_of(
        &self,
        places: &[Place],
    ) -> Result<BTreeMap<u32, Arc<dyn DiskFile>>, StorageError> {
        let mut files = BTreeMap::new();
        for place in places {
            if let std::collections::btree_map::Entry::Vacant(vacant) = files.entry(place.segment) {
                vacant.insert(self.file(place.segment)?);
            }
        }
        Ok(files)
    }

    /// Reads the entries at `places`, the first of which has index `first`.
    pub(super) fn read(
        &self,
        places: &[Place],
        first: u64,
        files: &BTreeMap<u32, Arc<dyn DiskFile>>,
    ) -> Result<Vec<Record>, StorageError> {
        let mut records = Vec::with_capacity(places.len());
        let mut rest = places;
        while let Some(begin) = rest.first() {
            // As many as lie close together.
            let near = |place: &&Place| {
                place.segment == begin.segment
                    && (place.offset + place.size - begin.offset) as usize <= LOG_READ_BYTES
            };
            let count = rest.iter().take_while(near).count().max(1);
            let (run, behind) = rest.split_at(count);
            let end = run[run.len() - 1];
            let mut buffer = vec![0; (end.offset + end.size - begin.offset) as usize];
            let path = self.path_of(begin.segment);
            files[&begin.segment]
                .read_at(u64::from(begin.offset), &mut buffer)
                .map_err(|error| StorageError::io("reading", &path, &error))?;
            for place in run {
                let index = first + records.len() as u64;
                let at = (place.offset - begin.offset) as usize;
                let stored = format::decode(&buffer[at..], place.segment)
                    .filter(|stored| stored.kind == Kind::Entry && stored.position.index == index);
                let stored = stored.ok_or_else(|| {
                    StorageError::Corrupt(format!("entry {index} is not what was written"))
                })?;
                records.push(Record {
                    position: stored.position,
                    payload: Bytes::copy_from_slice(stored.payload),
                });
            }
            rest = behind;
        }
        Ok(records)
    }

    /// All of a segment.
    pub(super) fn content(&self, number: u32) -> Result<Vec<u8>, StorageError> {
        let path = self.path_of(number);
        let io = |error: io::Error| StorageError::io("reading", &path, &error);
        let file = self.file(number)?;
        let length = file.length().map_err(io)?;
        let length = usize::try_from(length).map_err(|error| io(io::Error::other(error)))?;
        let mut content = vec![0; length.max(HEADER_BYTES as usize)];
        file.read_at(0, &mut content[..length]).map_err(io)?;
        Ok(content)
    }
}
