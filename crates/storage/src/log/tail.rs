//! What memory holds of the log: where each entry lies, and the newest entries themselves.

use super::{Position, Record};
use crate::limits::{LOG_CACHE_BYTES, LOG_CACHE_ENTRIES};
use std::collections::VecDeque;
use std::ops::Range;

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub segment: u32,
    pub offset: u32,
    pub size: u32,
}

/// The entries that the log has. Entries beyond `written` are in memory and nowhere else.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The index of the first place.
    first: u64,
    places: VecDeque<Place>,
    /// The newest entries, without a gap up to the last.
    cache: VecDeque<Record>,
    bytes: usize,
    /// The segment and offset before which everything is in the files.
    written: (u32, u32),
}

impl Tail {
    /// The indices of the entries that there are.
    pub(super) fn range(&self) -> Range<u64> {
        self.first..self.first + self.places.len() as u64
    }

    /// An entry that is in the files.
    pub(super) fn found(&mut self, index: u64, place: Place) {
        if self.places.is_empty() {
            self.first = index;
        }
        self.places.push_back(place);
        self.written = (place.segment, place.offset + place.size);
    }

    /// An entry that is yet to be written.
    pub(super) fn push(&mut self, record: Record, place: Place) {
        if self.places.is_empty() {
            self.first = record.position.index;
        }
        self.places.push_back(place);
        self.bytes += record.payload.len();
        self.cache.push_back(record);
    }

    /// Everything before this place is in the files, and need not be in memory.
    pub(super) fn written(&mut self, segment: u32, offset: u32) {
        self.written = (segment, offset);
        while self.bytes > LOG_CACHE_BYTES || self.cache.len() > LOG_CACHE_ENTRIES {
            let oldest = self.places.len().saturating_sub(self.cache.len());
            match self.places.get(oldest) {
                Some(place) if (place.segment, place.offset) < self.written => self.forget_oldest(),
                _ => break,
            }
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.cache.pop_front() {
            self.bytes -= oldest.payload.len();
        }
    }

    /// Entries from `from` on are gone.
    pub(super) fn truncate(&mut self, from: u64) {
        let left = from.saturating_sub(self.first);
        self.places
            .truncate(usize::try_from(left).unwrap_or(usize::MAX));
        while let Some(newest) = self
            .cache
            .pop_back_if(|newest| newest.position.index >= from)
        {
            self.bytes -= newest.payload.len();
        }
    }

    /// Entries up to and with `upto` are gone.
    pub(super) fn purge(&mut self, upto: u64) {
        let gone = (upto + 1).saturating_sub(self.first);
        let gone =
            usize::try_from(gone).map_or(self.places.len(), |gone| gone.min(self.places.len()));
        self.places.drain(..gone);
        self.first = self.first.max(upto + 1);
        if self.places.is_empty() {
            self.first = upto + 1;
        }
        while self
            .cache
            .front()
            .is_some_and(|oldest| oldest.position.index <= upto)
        {
            self.forget_oldest();
        }
    }

    /// The segment of the first entry.
    pub(super) fn first_segment(&self) -> Option<u32> {
        self.places.front().map(|place| place.segment)
    }

    /// Where the entries of `range`, which are all there, are to be read from: the places of those that are not in memory,
    /// and those that are, up to the one with which `limit` bytes are reached.
    pub(super) fn find(&self, range: &Range<u64>, limit: usize) -> (Vec<Place>, Vec<Record>) {
        let cached = self.first + (self.places.len() - self.cache.len()) as u64;
        let (mut places, mut records, mut bytes) = (Vec::new(), Vec::new(), 0);
        for index in range.start..range.end.min(cached) {
            let place = self.places[self.nth(index, self.first)];
            places.push(place);
            bytes += place.size as usize;
            if bytes >= limit {
                return (places, records);
            }
        }
        let from = range.start.max(cached);
        if from < range.end {
            let wanted = self.nth(from, cached)..self.nth(range.end, cached);
            records.reserve(wanted.len());
            for record in self.cache.range(wanted) {
                bytes += record.payload.len();
                records.push(record.clone());
                if bytes >= limit {
                    break;
                }
            }
        }
        (places, records)
    }

    fn nth(&self, index: u64, first: u64) -> usize {
        usize::try_from(index - first).expect("entries in memory are counted by usize")
    }

    /// The position of an entry, if it is in memory; else its place.
    pub(super) fn position(&self, index: u64) -> Option<Result<Position, Place>> {
        let place = *self
            .places
            .get(usize::try_from(index.checked_sub(self.first)?).ok()?)?;
        let (_, records) = self.find(&(index..index + 1), 1);
        Some(
            records
                .first()
                .map_or(Err(place), |record| Ok(record.position)),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn push(tail: &mut Tail, index: u64, payload: usize) {
        let record = Record {
            position: Position { term: 1, index },
            payload: vec![0; payload].into(),
        };
        let place = Place {
            segment: 1,
            offset: u32::try_from(index).unwrap() * 10,
            size: 10,
        };
        tail.push(record, place);
    }

    #[test]
    fn memory_is_bounded_by_bytes_and_entries_but_keeps_what_is_nowhere_else() {
        let mut tail = Tail::default();
        for index in 0..LOG_CACHE_ENTRIES as u64 + 50 {
            push(&mut tail, index, 1);
        }
        assert_eq!(tail.cache.len(), LOG_CACHE_ENTRIES + 50);
        tail.written(1, 20 * 10);
        assert_eq!(tail.cache.len(), LOG_CACHE_ENTRIES + 30);
        tail.written(1, u32::MAX);
        assert_eq!(tail.cache.len(), LOG_CACHE_ENTRIES);
        push(&mut tail, LOG_CACHE_ENTRIES as u64 + 50, LOG_CACHE_BYTES);
        tail.written(1, u32::MAX);
        assert_eq!(tail.cache.len(), 1);
    }

    #[test]
    fn reads_are_split_between_files_and_memory() {
        let mut tail = Tail::default();
        for index in 5..15 {
            push(&mut tail, index, 100);
        }
        tail.written(1, u32::MAX);
        for _ in 0..4 {
            tail.forget_oldest();
        }
        let (places, records) = tail.find(&(7..12), usize::MAX);
        assert_eq!((places.len(), records.len()), (2, 3));
        assert_eq!(records[0].position.index, 9);
        let (places, records) = tail.find(&(7..15), 15);
        assert_eq!((places.len(), records.len()), (2, 0));
        tail.truncate(8);
        assert_eq!((tail.range(), tail.bytes), (5..8, 0));
        tail.purge(6);
        assert_eq!(tail.range(), 7..8);
        tail.purge(20);
        assert_eq!(tail.range(), 21..21);
    }
}
