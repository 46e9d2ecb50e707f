//! The mark: how far the log was reported durable, in a small file of its own.
//!
//! Two slots in two sectors are written in turn, so that a torn write leaves the other. The mark is written behind each
//! sync of the log, and synced itself at most a second later and with every vote. It never says more than the log
//! has, and never goes back: a truncation is a record of the log like any other.

use super::Position;
use super::format::{number, small};
use crate::disk::{Disk, DiskFile, SECTOR_BYTES};
use crate::error::StorageError;
use crate::limits::MARK_SYNC_MILLISECONDS;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    /// Counts marks: of two slots the later one holds.
    pub sequence: u64,
    /// The log is synced up to this segment,
    pub segment: u32,
    /// and this place in it,
    pub offset: u32,
    /// where its chain has this CRC,
    pub chain: u32,
    /// its last entry this position,
    pub last: Option<Position>,
    /// and its last vote this number.
    pub vote_number: u64,
}

const SLOT_BYTES: usize = 52;

#[derive(Debug)]
pub(super) struct MarkFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    mark: Mark,
    unsynced_since: Option<Instant>,
}

impl MarkFile {
    /// Makes the file of a log that is made. A crash leaves none, or one that says `mark`.
    pub(super) fn create(disk: &dyn Disk, path: &Path, mark: Mark) -> Result<Self, StorageError> {
        let io = |error: io::Error| StorageError::io("making", path, &error);
        let staged = path.with_extension("tmp");
        match disk.remove(&staged) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let file = disk.create(&staged).map_err(io)?;
        file.allocate(2 * SECTOR_BYTES).map_err(io)?;
        let mut created = Self {
            file,
            path: path.into(),
            mark: Mark::default(),
            unsynced_since: None,
        };
        created.write(mark)?;
        created.sync()?;
        disk.rename(&staged, path).map_err(io)?;
        disk.sync_dir(path.parent().unwrap_or(path)).map_err(io)?;
        Ok(created)
    }

    /// Opens the file. `Ok(None)` when there is none, `Ok(Some(Err))` when it cannot be understood.
    pub(super) fn open(
        disk: &dyn Disk,
        path: &Path,
    ) -> Result<Option<Result<Self, ()>>, StorageError> {
        let io = |error: io::Error| StorageError::io("reading", path, &error);
        let file = match disk.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let mut newest: Option<Mark> = None;
        for at in [0, SECTOR_BYTES] {
            let mut slot = [0; SLOT_BYTES];
            match file.read_at(at, &mut slot) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                Err(error) => return Err(io(error)),
                Ok(()) => {}
            }
            let mark = decode(&slot);
            newest = mark
                .into_iter()
                .chain(newest)
                .max_by_key(|mark| mark.sequence);
        }
        let Some(mark) = newest else {
            return Ok(Some(Err(())));
        };
        Ok(Some(Ok(Self {
            file,
            path: path.into(),
            mark,
            unsynced_since: None,
        })))
    }

    pub(super) const fn mark(&self) -> Mark {
        self.mark
    }

    /// The log is synced as far as `mark` says.
    pub(super) fn raise(&mut self, mark: Mark) -> Result<(), StorageError> {
        if (self.mark.segment, self.mark.offset) == (mark.segment, mark.offset) {
            return Ok(());
        }
        self.write(mark)
    }

    /// When the mark is to be synced at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.unsynced_since
            .map(|since| since + Duration::from_millis(MARK_SYNC_MILLISECONDS))
    }

    pub(super) fn sync(&mut self) -> Result<(), StorageError> {
        if self.unsynced_since.is_some() {
            self.file
                .sync()
                .map_err(|error| StorageError::io("syncing", &self.path, &error))?;
            self.unsynced_since = None;
        }
        Ok(())
    }

    fn write(&mut self, mark: Mark) -> Result<(), StorageError> {
        let mark = Mark {
            sequence: self.mark.sequence + 1,
            ..mark
        };
        let at = (mark.sequence % 2) * SECTOR_BYTES;
        self.file
            .write_at(at, &encode(&mark))
            .map_err(|error| StorageError::io("writing", &self.path, &error))?;
        self.mark = mark;
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(())
    }
}

/// `crc (4) | segment (4) | offset (4) | chain (4) | whether there is an entry (4) | sequence, term, index, vote (8 each)`.
fn encode(mark: &Mark) -> [u8; SLOT_BYTES] {
    let last = mark.last.unwrap_or(Position { term: 0, index: 0 });
    let mut slot = [0; SLOT_BYTES];
    let halves = [
        mark.segment,
        mark.offset,
        mark.chain,
        u32::from(mark.last.is_some()),
    ];
    for (nth, half) in halves.into_iter().enumerate() {
        slot[4 + nth * 4..8 + nth * 4].copy_from_slice(&half.to_le_bytes());
    }
    let wholes = [mark.sequence, last.term, last.index, mark.vote_number];
    for (nth, whole) in wholes.into_iter().enumerate() {
        slot[20 + nth * 8..28 + nth * 8].copy_from_slice(&whole.to_le_bytes());
    }
    let crc = crc32c::crc32c(&slot[4..]);
    slot[..4].copy_from_slice(&crc.to_le_bytes());
    slot
}

fn decode(slot: &[u8; SLOT_BYTES]) -> Option<Mark> {
    if crc32c::crc32c(&slot[4..]) != small(slot) {
        return None;
    }
    let last = Position {
        term: number(&slot[28..]),
        index: number(&slot[36..]),
    };
    Some(Mark {
        sequence: number(&slot[20..]),
        segment: small(&slot[4..]),
        offset: small(&slot[8..]),
        chain: small(&slot[12..]),
        last: (small(&slot[16..]) == 1).then_some(last),
        vote_number: number(&slot[44..]),
    })
}
