//! The check of a log before anything is built on it.

use super::Link;
use super::mark::Mark;
use super::record;
use crate::error::{LogDamaged, OpenError, StorageError};
use rocksdb::{DB, Direction, IteratorMode, ReadOptions};
use std::path::Path;

pub(super) fn damaged(path: &Path, detail: String) -> LogDamaged {
    LogDamaged {
        path: path.into(),
        detail,
    }
}

/// What a whole log holds.
pub(super) struct Found {
    pub purged: Option<Link>,
    pub last: Option<Link>,
    pub vote_sequence: u64,
}

/// Follows the chain from the purge point to the end and compares with the mark.
pub(super) fn verify(db: &DB, path: &Path, mark: &Mark) -> Result<Found, OpenError> {
    let checked = check(db, mark);
    checked.map_err(|error| match error {
        StorageError::Corrupt(detail) => damaged(path, detail).into(),
        error => error.into(),
    })
}

fn check(db: &DB, mark: &Mark) -> Result<Found, StorageError> {
    let purged = db
        .get_pinned(record::PURGED)?
        .map(|value| record::decode_link(&value))
        .transpose()?;
    let vote_sequence = match db.get_pinned(record::VOTE)? {
        Some(value) => record::decode_vote(&value)?.0,
        None => 0,
    };
    if vote_sequence < mark.vote {
        return Err(StorageError::Corrupt(format!(
            "it forgot vote {} and remembers vote {vote_sequence}",
            mark.vote
        )));
    }
    let last = follow(db, purged, mark)?;
    let end = last.or(purged).map(|link| link.position.index);
    if let Some(synced) = mark.synced
        && end.is_none_or(|end| end < synced.index)
    {
        let end = end.map_or_else(
            || "it is empty".into(),
            |end| format!("it ends at entry {end}"),
        );
        return Err(StorageError::Corrupt(format!(
            "{end}, but was synced up to entry {}",
            synced.index
        )));
    }
    Ok(Found {
        purged,
        last,
        vote_sequence,
    })
}

fn follow(db: &DB, purged: Option<Link>, mark: &Mark) -> Result<Option<Link>, StorageError> {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(record::entry_end());
    options.set_readahead_size(1 << 20);
    options.fill_cache(false);
    let from = record::entry_key(purged.map_or(0, |purged| purged.position.index + 1));
    let mut end = purged;
    for pair in db.iterator_opt(IteratorMode::From(&from, Direction::Forward), options) {
        let (key, value) = pair?;
        let index = record::entry_index(&key)?;
        let stored = record::decode(index, &value)?;
        if let Some(end) = end {
            if end.position.index + 1 != index {
                return Err(StorageError::Corrupt(format!(
                    "entry {} is missing",
                    end.position.index + 1
                )));
            }
            if end.position.term > stored.link.position.term {
                return Err(StorageError::Corrupt(format!(
                    "entry {index} goes back in terms"
                )));
            }
        }
        if end.map_or(0, |end| end.crc) != stored.previous {
            return Err(StorageError::Corrupt(format!(
                "entry {index} does not follow the one before it"
            )));
        }
        if mark
            .synced
            .is_some_and(|synced| synced.index == index && synced.term != stored.link.position.term)
        {
            return Err(StorageError::Corrupt(format!(
                "entry {index} is not the one that was synced"
            )));
        }
        end = Some(stored.link);
    }
    Ok(end.filter(|end| Some(*end) != purged))
}
