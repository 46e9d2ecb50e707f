//! What was done since the last sync, and how to undo it.

use crate::limits::SECTOR_BYTES;
use rand::RngExt as _;
use rand::rngs::StdRng;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

/// What a power cut took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut {
    /// Writes and changes of names that are undone.
    pub lost: u64,
    /// Writes of which a part stayed.
    pub torn: u64,
}

/// One thing that is not durable.
#[derive(Debug)]
pub(super) enum Undo {
    /// Bytes of a file were others, and it ended elsewhere.
    Data {
        handle: Arc<File>,
        offset: u64,
        old: Vec<u8>,
        old_length: u64,
        new_end: u64,
    },
    /// A name was not there.
    Named { path: PathBuf, is_directory: bool },
    /// A name was there; what it stood for lies at `kept`.
    Removed { path: PathBuf, kept: PathBuf },
    /// An empty directory was there.
    RemovedDirectory { path: PathBuf },
    /// It had another name, and the name perhaps stood for something else.
    Renamed {
        from: PathBuf,
        to: PathBuf,
        replaced: Option<PathBuf>,
    },
}

#[derive(Debug)]
struct Entry {
    /// The inode, of the file or the directory, whose sync makes it durable.
    owner: u64,
    /// A sync of it failed: no later one makes it durable.
    doomed: bool,
    undo: Undo,
}

/// Everything that is not durable, in the order in which it was done.
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: Vec<Entry>,
}

impl Journal {
    /// Notes that `undo` is possible until `owner` is synced.
    pub(super) fn note(&mut self, owner: u64, undo: Undo) {
        self.entries.push(Entry {
            owner,
            doomed: false,
            undo,
        });
    }

    /// `owner` was synced.
    pub(super) fn synced(&mut self, owner: u64) {
        self.entries.retain(|entry| {
            let keep = entry.owner != owner || entry.doomed;
            if !keep {
                entry.undo.forget();
            }
            keep
        });
    }

    /// A sync of `owner` failed.
    pub(super) fn sync_failed(&mut self, owner: u64) {
        for entry in self.entries.iter_mut().filter(|entry| entry.owner == owner) {
            entry.doomed = true;
        }
    }

    /// Undoes everything, last first, but for parts of writes that `random` keeps.
    pub(super) fn undo(&mut self, random: &mut StdRng) -> Cut {
        let mut cut = Cut::default();
        while let Some(entry) = self.entries.pop() {
            cut.lost += 1;
            cut.torn += u64::from(entry.undo.apply(random));
        }
        cut
    }
}

impl Undo {
    /// What was kept for undoing is of no use any more.
    fn forget(&self) {
        if let Self::Removed { kept, .. }
        | Self::Renamed {
            replaced: Some(kept),
            ..
        } = self
        {
            let _ = fs::remove_file(kept);
        }
    }

    /// Undoes it; says whether a part stayed. What a durable later change has made impossible stays as it is: that, too, may happen.
    fn apply(self, random: &mut StdRng) -> bool {
        match self {
            Self::Data {
                handle,
                offset,
                old,
                old_length,
                new_end,
            } => return undo_write(&handle, (offset, new_end), &old, old_length, random),
            Self::Named {
                path,
                is_directory: true,
            } => {
                let _ = fs::remove_dir_all(path);
            }
            Self::Named { path, .. } => {
                let _ = fs::remove_file(path);
            }
            Self::Removed { path, kept } => {
                let _ = fs::rename(kept, path);
            }
            Self::RemovedDirectory { path } => {
                let _ = fs::create_dir(path);
            }
            Self::Renamed { from, to, replaced } => {
                let _ = fs::rename(&to, from);
                if let Some(replaced) = replaced {
                    let _ = fs::rename(replaced, to);
                }
            }
        }
        false
    }
}

fn undo_write(
    file: &File,
    (offset, new_end): (u64, u64),
    old: &[u8],
    old_length: u64,
    random: &mut StdRng,
) -> bool {
    // One write in four is torn: its first sectors stay.
    let first_boundary = offset.next_multiple_of(SECTOR_BYTES);
    let boundaries = new_end
        .saturating_sub(first_boundary)
        .div_ceil(SECTOR_BYTES);
    let keep_until = if new_end > first_boundary && random.random_ratio(1, 4) {
        first_boundary + random.random_range(0..=boundaries) * SECTOR_BYTES
    } else {
        offset
    }
    .min(new_end);
    let skip = usize::try_from(keep_until - offset)
        .unwrap_or(usize::MAX)
        .min(old.len());
    let _ = file.write_all_at(&old[skip..], offset + skip as u64);
    let length = file.metadata().map_or(0, |found| found.len());
    let wanted = old_length.max(if keep_until > offset { keep_until } else { 0 });
    if length > wanted || length < old_length {
        let _ = file.set_len(wanted);
    }
    keep_until > offset
}
