//! The mark: how far the log was reported durable, and the last vote, in a small file of its own.
//!
//! Two slots in two sectors are written in turn, so that a torn write leaves the other. The
//! mark is written behind each sync of the log and synced itself at most a second later, on every vote
//! and before every truncation. It never says more than the log has.

use super::record::{number, sealed, unsealed};
use super::{Position, verify};
use crate::data_dir::sync_dir;
use crate::error::{OpenError, StorageError};
use crate::limits::MARK_SYNC_MILLISECONDS;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    sequence: u64,
    /// The log reaches at least here.
    pub synced: Option<Position>,
    /// The number of the last vote.
    pub vote: u64,
}

/// Sectors are written whole or not at all, or so disks have promised since they have them.
const SLOT_BYTES: u64 = 512;

pub(super) struct MarkFile {
    file: File,
    path: PathBuf,
    mark: Mark,
    unsynced_since: Option<Instant>,
}

impl MarkFile {
    /// Makes the file for a log that is about to be made.
    pub(super) fn create(path: &Path) -> Result<Self, StorageError> {
        let io = |error: std::io::Error| StorageError::io("making", path, &error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(io)?;
        file.set_len(2 * SLOT_BYTES).map_err(io)?;
        let mut created = Self {
            file,
            path: path.into(),
            mark: Mark::default(),
            unsynced_since: None,
        };
        created.write(Mark::default())?;
        created.sync()?;
        sync_dir(path.parent().unwrap_or(path))?;
        Ok(created)
    }

    /// Opens the file of the log at `log`.
    pub(super) fn open(path: &Path, log: &Path) -> Result<Self, OpenError> {
        let io = |error: std::io::Error| StorageError::io("reading", path, &error);
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(verify::damaged(
                    log,
                    "the mark of how far it is synced is gone".into(),
                )
                .into());
            }
            Err(error) => return Err(io(error).into()),
        };
        let slots = [0, SLOT_BYTES].map(|at| {
            usize::try_from(at)
                .ok()
                .and_then(|at| decode(bytes.get(at..)?))
        });
        let mark = slots.into_iter().flatten().max_by_key(|mark| mark.sequence);
        let mark = mark.ok_or_else(|| {
            verify::damaged(log, "the mark of how far it is synced is unreadable".into())
        })?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(io)?;
        Ok(Self {
            file,
            path: path.into(),
            mark,
            unsynced_since: None,
        })
    }

    pub(super) const fn mark(&self) -> Mark {
        self.mark
    }

    /// The log is synced up to `position`.
    pub(super) fn raise(&mut self, position: Position) -> Result<(), StorageError> {
        if self
            .mark
            .synced
            .is_none_or(|synced| synced.index < position.index)
        {
            self.write(Mark {
                synced: Some(position),
                ..self.mark
            })?;
        }
        Ok(())
    }

    /// The log is about to end at `position`.
    pub(super) fn lower(&mut self, position: Option<Position>) -> Result<(), StorageError> {
        if self
            .mark
            .synced
            .is_some_and(|synced| position.is_none_or(|position| synced.index > position.index))
        {
            self.write(Mark {
                synced: position,
                ..self.mark
            })?;
        }
        self.sync()
    }

    /// Vote number `vote` is durable.
    pub(super) fn voted(&mut self, vote: u64) -> Result<(), StorageError> {
        self.write(Mark { vote, ..self.mark })?;
        self.sync()
    }

    /// When the mark is to be synced at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.unsynced_since
            .map(|since| since + Duration::from_millis(MARK_SYNC_MILLISECONDS))
    }

    pub(super) fn sync(&mut self) -> Result<(), StorageError> {
        if self.unsynced_since.is_some() {
            self.file
                .sync_data()
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
        let at = (mark.sequence % 2) * SLOT_BYTES;
        self.file
            .write_all_at(&encode(&mark), at)
            .map_err(|error| StorageError::io("writing", &self.path, &error))?;
        self.mark = mark;
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(())
    }
}

/// `crc (4) | sequence (8) | vote (8) | whether synced (8) | term (8) | index (8)`.
fn encode(mark: &Mark) -> Vec<u8> {
    let synced = mark.synced.unwrap_or(Position { term: 0, index: 0 });
    let numbers = [
        mark.sequence,
        mark.vote,
        u64::from(mark.synced.is_some()),
        synced.term,
        synced.index,
    ];
    sealed(&numbers.map(u64::to_le_bytes).concat())
}

fn decode(slot: &[u8]) -> Option<Mark> {
    let numbers = unsealed(slot.get(..44)?).ok()?;
    let at = |nth: usize| number(&numbers[nth * 8..nth * 8 + 8]);
    let synced = (at(2) == 1).then(|| Position {
        term: at(3),
        index: at(4),
    });
    Some(Mark {
        sequence: at(0),
        synced,
        vote: at(1),
    })
}
