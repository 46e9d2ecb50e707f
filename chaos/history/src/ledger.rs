//! Everything that is known to have been written, in order of revision: what streams and lists are held against.
//!
//! It is put together from acknowledged writes and from what watchers and readers saw. What two of them say about the same revision and
//! key must agree; what somebody saw must be something that somebody tried to write.

use crate::verdict::Anomaly;
use std::collections::{BTreeMap, BTreeSet};

/// One key's change by the transaction of `revision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The transaction's revision.
    pub revision: u64,
    /// Whose value changed.
    pub key: u64,
    /// What it holds from then on; `None` when it is gone.
    pub value: Option<u64>,
}

/// A value and since when it is there.
pub use crate::register::Version;

/// The known writes of one run.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    changes: BTreeMap<u64, BTreeMap<u64, Option<u64>>>,
    by_key: BTreeMap<u64, BTreeMap<u64, Option<u64>>>,
    attempted: BTreeSet<(u64, u64)>,
    anomalies: Vec<Anomaly>,
}

impl Ledger {
    /// Notes that some client tried to write `value` to `key`. To be told of all attempts before [`learn`](Self::learn).
    pub fn attempt(&mut self, key: u64, value: u64) {
        self.attempted.insert((key, value));
    }

    /// Takes in a change that `witness` knows of.
    pub fn learn(&mut self, change: Change, witness: &str) {
        let Change {
            revision,
            key,
            value,
        } = change;
        if let Some(value) = value
            && !self.attempted.contains(&(key, value))
        {
            self.anomalies.push(Anomaly::new(
                "value-from-nowhere",
                format!("{witness} says that key {key} holds {value} since revision {revision}; nobody wrote that"),
            ));
            return;
        }
        let known = *self
            .changes
            .entry(revision)
            .or_default()
            .entry(key)
            .or_insert(value);
        if known != value {
            self.anomalies.push(Anomaly::new(
                "histories-differ",
                format!("{witness} says that key {key} became {value:?} at revision {revision}; others say {known:?}"),
            ));
            return;
        }
        self.by_key.entry(key).or_default().insert(revision, value);
    }

    /// What witnesses said that cannot be.
    #[must_use]
    pub fn anomalies(&self) -> &[Anomaly] {
        &self.anomalies
    }

    /// The greatest revision known.
    #[must_use]
    pub fn last_revision(&self) -> u64 {
        self.changes.keys().next_back().copied().unwrap_or(0)
    }

    /// What `key` held just before `revision`.
    #[must_use]
    pub fn before(&self, key: u64, revision: u64) -> Option<Version> {
        self.by_key
            .get(&key)
            .and_then(|changes| last(changes, revision.checked_sub(1)?))
    }

    /// Everything that existed at `revision`.
    #[must_use]
    pub fn state_at(&self, revision: u64) -> BTreeMap<u64, Version> {
        let states = self.by_key.iter();
        states
            .filter_map(|(key, changes)| Some((*key, last(changes, revision)?)))
            .collect()
    }

    /// The changes after `from`, up to and with `to`, in order.
    pub fn between(&self, from: u64, to: u64) -> impl Iterator<Item = Change> + '_ {
        let range = self
            .changes
            .range(from.saturating_add(1)..=to.max(from.saturating_add(1)));
        range
            .filter(move |(revision, _)| **revision <= to)
            .flat_map(|(revision, changes)| {
                changes.iter().map(|(key, value)| Change {
                    revision: *revision,
                    key: *key,
                    value: *value,
                })
            })
    }
}

fn last(changes: &BTreeMap<u64, Option<u64>>, until: u64) -> Option<Version> {
    let (revision, value) = changes.range(..=until).next_back()?;
    value.map(|value| Version {
        revision: *revision,
        value,
    })
}
