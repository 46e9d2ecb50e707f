//! What memory holds of the log: where it begins and ends, and its recent entries.

use super::{Link, Record};
use crate::limits::{LOG_CACHE_BYTES, LOG_CACHE_ENTRIES};
use std::collections::VecDeque;
use std::ops::Range;

pub(super) struct Tail {
    pub purged: Option<Link>,
    last: Option<Link>,
    /// Counts truncations.
    pub epoch: u64,
    /// The newest entries, without a gap up to the last.
    cache: VecDeque<Record>,
    bytes: usize,
}

impl Tail {
    pub(super) const fn new(purged: Option<Link>, last: Option<Link>) -> Self {
        Self {
            purged,
            last,
            epoch: 0,
            cache: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The last entry, or the purge point.
    pub(super) fn end(&self) -> Option<Link> {
        self.last.or(self.purged)
    }

    pub(super) fn push(&mut self, records: Vec<Record>, end: Link) {
        for record in records {
            self.bytes += record.payload.len();
            self.cache.push_back(record);
        }
        self.last = Some(end);
        while self.bytes > LOG_CACHE_BYTES || self.cache.len() > LOG_CACHE_ENTRIES {
            let Some(oldest) = self.cache.pop_front() else {
                break;
            };
            self.bytes -= oldest.payload.len();
        }
    }

    pub(super) fn truncate(&mut self, from: u64, kept: Option<Link>) {
        while let Some(newest) = self
            .cache
            .pop_back_if(|newest| newest.position.index >= from)
        {
            self.bytes -= newest.payload.len();
        }
        self.last = kept.filter(|kept| self.purged != Some(*kept));
    }

    pub(super) fn purge(&mut self, purged: Link) {
        let upto = purged.position.index;
        while let Some(oldest) = self
            .cache
            .pop_front_if(|oldest| oldest.position.index <= upto)
        {
            self.bytes -= oldest.payload.len();
        }
        self.last = self.last.filter(|last| last.position.index > upto);
        self.purged = Some(purged);
    }

    /// The entries of `range`, if all are in memory.
    pub(super) fn cached(&self, range: &Range<u64>, limit: usize) -> Option<Vec<Record>> {
        let first = self.cache.front()?.position.index;
        let from = usize::try_from(range.start.checked_sub(first)?).ok()?;
        let until = usize::try_from(range.end.checked_sub(first)?).ok()?;
        if until > self.cache.len() {
            return None;
        }
        let mut bytes = 0;
        let mut records = Vec::with_capacity(until.saturating_sub(from));
        for record in self.cache.range(from..until) {
            bytes += record.payload.len();
            records.push(record.clone());
            if bytes >= limit {
                break;
            }
        }
        Some(records)
    }
}
