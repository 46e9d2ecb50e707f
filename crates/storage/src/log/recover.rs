//! What a log holds, found out before anything is built on it.
//!
//! Records are followed along their chain to where it ends. That end is a tail which was never synced and may be torn, or the
//! place where something synced was lost. It is the latter when the mark lies behind it; when a whole record behind it says that
//! everything up to somewhere behind it was durable before; and when a later segment follows, since a segment is
//! begun when the one before is durable.

use super::format::{self, Facts, HEADER_BYTES, Header, Kind, Stored};
use super::mark::Mark;
use super::segments::Segments;
use super::tail::{Place, Tail};
use crate::error::{LogDamaged, Lost, OpenError, StorageError};
use bytes::Bytes;
use std::path::{Path, PathBuf};

/// What was found.
pub(super) struct Found {
    pub facts: Facts,
    pub tail: Tail,
    pub chain: u32,
    pub segment: u32,
    pub offset: u32,
    /// Up to where there are records of this segment that are no part of the log.
    pub litter: Option<u32>,
}

pub(super) fn damaged(path: &Path, detail: impl Into<String>, lost: Option<Lost>) -> OpenError {
    LogDamaged {
        path: path.into(),
        detail: detail.into(),
        lost,
    }
    .into()
}

struct Recovery<'a> {
    dir: PathBuf,
    mark: &'a Mark,
    found: Found,
}

/// Follows the chain through `numbers`, which are not none.
pub(super) fn recover(
    segments: &Segments,
    numbers: &[u32],
    mark: &Mark,
    dir: &Path,
) -> Result<Found, OpenError> {
    // Segments before a gap were being dropped when the power failed.
    let gap = numbers.windows(2).rposition(|pair| pair[0] + 1 != pair[1]);
    let run = &numbers[gap.map_or(0, |gap| gap + 1)..];
    let mut recovery = Recovery {
        dir: dir.into(),
        mark,
        found: Found {
            facts: Facts::default(),
            tail: Tail::default(),
            chain: 0,
            segment: run[0],
            offset: 0,
            litter: None,
        },
    };
    for number in run {
        let content = segments.content(*number)?;
        let header = Header::decode(&content).filter(|header| header.segment == *number);
        let Some(header) = header else {
            return Err(recovery.broken(&format!("the header of segment {number} is unreadable")));
        };
        if *number == run[0] {
            recovery.found.facts = header.facts;
            recovery.found.chain = header.chain;
        } else if (header.previous_end, header.chain)
            != (recovery.found.offset, recovery.found.chain)
        {
            return Err(recovery.broken(&format!(
                "segment {} is to reach to byte {} and can be read up to {}",
                number - 1,
                header.previous_end,
                recovery.found.offset
            )));
        }
        recovery.follow(*number, &content)?;
        if Some(number) == run.last() {
            recovery.search(&content)?;
        }
    }
    recovery.check_begin(run[0])?;
    recovery.check_end()?;
    Ok(recovery.found)
}

impl Recovery<'_> {
    /// The first entry that is not known, and what the mark knows behind it.
    fn broken(&self, detail: &str) -> OpenError {
        let first = self.found.facts.last.map_or(0, |last| last.index + 1);
        let through = self.mark.last.map(|last| last.index);
        let lost = Lost {
            first,
            through: through.filter(|through| *through >= first),
            vote: self.found.facts.vote_number < self.mark.vote_number,
        };
        damaged(&self.dir, detail, Some(lost))
    }

    fn follow(&mut self, number: u32, content: &[u8]) -> Result<(), OpenError> {
        let mut at = HEADER_BYTES as usize;
        self.found.segment = number;
        self.reach(at)?;
        while let Some(stored) = content
            .get(at..)
            .and_then(|rest| format::decode(rest, number))
            .filter(|stored| stored.previous == self.found.chain)
        {
            self.take(&stored, at)
                .map_err(|detail| self.broken(&detail))?;
            self.found.chain = stored.crc;
            at += stored.size;
            self.reach(at)?;
        }
        Ok(())
    }

    /// The chain leads to this place.
    fn reach(&mut self, at: usize) -> Result<(), OpenError> {
        self.found.offset = u32::try_from(at).map_err(|_| self.broken("a segment is too long"))?;
        let here = (self.found.segment, self.found.offset);
        if here == (self.mark.segment, self.mark.offset) && self.found.chain != self.mark.chain {
            return Err(self.broken("it is another log than the one that was synced"));
        }
        Ok(())
    }

    fn take(&mut self, stored: &Stored<'_>, at: usize) -> Result<(), String> {
        let facts = &mut self.found.facts;
        let position = stored.position;
        match stored.kind {
            Kind::Entry => {
                if facts.last.is_some_and(|last| {
                    last.index + 1 != position.index || last.term > position.term
                }) {
                    return Err(format!(
                        "entry {} does not follow the one before it",
                        position.index
                    ));
                }
                facts.last = Some(position);
                let place = Place {
                    segment: self.found.segment,
                    offset: u32::try_from(at).map_err(|error| error.to_string())?,
                    size: u32::try_from(stored.size).map_err(|error| error.to_string())?,
                };
                self.found.tail.found(position.index, place);
            }
            Kind::Vote => {
                facts.vote_number = position.index;
                facts.vote = Bytes::copy_from_slice(stored.payload);
            }
            Kind::Committed => facts.committed = Some(position),
            Kind::Uncommitted => facts.committed = None,
            Kind::Truncate => {
                // The record carries what is the last entry then, if there is one.
                let last = format::unpack(stored.payload);
                self.found.tail.truncate(position.index);
                facts.last = last;
            }
            Kind::Purge => {
                self.found.tail.purge(position.index);
                facts.purged = Some(position);
                if facts.last.is_none_or(|last| last.index <= position.index) {
                    facts.last = Some(position);
                }
            }
        }
        Ok(())
    }

    /// Looks behind the end for records that tell what it is.
    fn search(&mut self, content: &[u8]) -> Result<(), OpenError> {
        let (number, end) = (self.found.segment, self.found.offset);
        let mut at = end as usize;
        while at + format::RECORD_BYTES <= content.len() {
            let Some(stored) = format::decode(&content[at..], number) else {
                at += 8;
                continue;
            };
            if stored.durable > end {
                return Err(self.broken(&format!(
                    "segment {number} can be read up to byte {end}, but was durable up to {} before more was written",
                    stored.durable
                )));
            }
            at += stored.size;
            self.found.litter = u32::try_from(at).ok();
        }
        Ok(())
    }

    /// Whether all entries behind the purge point are there.
    fn check_begin(&self, first_segment: u32) -> Result<(), OpenError> {
        let facts = &self.found.facts;
        let there = self.found.tail.range();
        let (begin, end) = match (facts.purged, facts.last) {
            (None, _) if first_segment == 1 => return Ok(()),
            (None, last) => (0, last.map_or(0, |last| last.index + 1)),
            (Some(purged), last) => (
                purged.index + 1,
                last.map_or(0, |last| last.index.max(purged.index) + 1),
            ),
        };
        let missing = if there.is_empty() { end } else { there.start };
        if facts.purged.is_some() && missing <= begin {
            return Ok(());
        }
        let lost = Lost {
            first: begin,
            through: missing.checked_sub(1),
            vote: false,
        };
        Err(damaged(
            &self.dir,
            "its oldest segments are gone",
            Some(lost),
        ))
    }

    /// Whether all that the mark knows is there.
    fn check_end(&self) -> Result<(), OpenError> {
        let (found, mark) = (&self.found, self.mark);
        if (mark.segment, mark.offset) > (found.segment, found.offset) {
            return Err(self.broken(&format!(
                "it was synced up to byte {} of segment {}, and ends at byte {} of segment {}",
                mark.offset, mark.segment, found.offset, found.segment
            )));
        }
        if found.facts.vote_number < mark.vote_number {
            return Err(self.broken(&format!(
                "it forgot vote {} and remembers vote {}",
                mark.vote_number, found.facts.vote_number
            )));
        }
        Ok(())
    }
}

/// Overwrites records behind the end, which a later end could be taken to belong to.
pub(super) fn sweep(segments: &Segments, found: &Found) -> Result<(), StorageError> {
    let path = segments.path_of(found.segment);
    let io = |error: std::io::Error| StorageError::io("writing", &path, &error);
    let file = segments.file(found.segment)?;
    if let Some(litter) = found.litter {
        tracing::warn!(path = %path.display(), end = found.offset, litter, "the log has a torn tail that was never synced, which is dropped");
        let zeros = vec![0; (litter - found.offset) as usize];
        file.write_at(u64::from(found.offset), &zeros).map_err(io)?;
    }
    // What was found may be ahead of what was synced: sync it before anything is built on it.
    file.sync().map_err(io)
}
