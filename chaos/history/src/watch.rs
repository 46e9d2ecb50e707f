//! Streams of changes, held against what is known to have been written: nine guarantees.
//!
//! | guarantee | an anomaly's kind |
//! |---|---|
//! | only what was asked for | `watch-filter` |
//! | in order of revision | `watch-ordered` |
//! | nothing twice | `watch-unique` |
//! | a transaction's changes come together | `watch-atomic` |
//! | a bookmark: everything up to it was delivered | `watch-bookmarkable` |
//! | whoever saw what is before and after a change saw the change | `watch-reliable` |
//! | a stream begins right after the revision that it was asked to begin after | `watch-resumable` |
//! | a deletion shows what was there | `watch-previous` |
//! | "added" is said of what did not exist, "modified" of what did | `watch-is-create` |
//!
//! They are those of etcd's robustness tests. A stream that was cut in the middle of a transaction is not to blame for the rest.

use crate::ledger::{Change, Ledger, Version};
use crate::verdict::{Anomaly, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// Which keys a stream was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// One.
    Key(u64),
    /// Those which leave `remainder` when divided by `divisor`: what a label selects.
    Residue {
        /// Not zero.
        divisor: u64,
        /// Less than the divisor.
        remainder: u64,
    },
}

impl Scope {
    /// Whether changes of `key` were asked for.
    #[must_use]
    pub fn holds(&self, key: u64) -> bool {
        match self {
            Self::All => true,
            Self::Key(own) => *own == key,
            Self::Residue { divisor, remainder } => key % divisor == *remainder,
        }
    }
}

/// What a stream calls a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It did not exist before.
    Added,
    /// It existed before, with another value.
    Modified,
    /// It is gone; the value is the one it had.
    Deleted,
}

/// One message of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A change.
    Event {
        /// What kind.
        kind: Kind,
        /// Of what.
        key: u64,
        /// Its value; of a deletion the last one.
        value: u64,
        /// By the transaction of this revision.
        revision: u64,
    },
    /// Everything up to this revision has been sent.
    Bookmark(u64),
}

/// One stream from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Its name in stories: watcher, attempt, server.
    pub name: String,
    /// What was asked for.
    pub scope: Scope,
    /// The revision it was to begin after. Of a stream that began with what existed: the revision of that.
    pub from: u64,
    /// What existed at `from`, where the stream began with it.
    pub present: Option<Vec<(u64, Version)>>,
    /// What came, in order.
    pub items: Vec<Item>,
    /// The revision it must have reached, since it was open long after; zero for none.
    pub until: u64,
}

impl Stream {
    /// The changes that this stream bears witness to.
    pub fn changes(&self) -> impl Iterator<Item = Change> + '_ {
        let present = self.present.iter().flatten().map(|(key, version)| Change {
            revision: version.revision,
            key: *key,
            value: Some(version.value),
        });
        let events = self.items.iter().filter_map(|item| match *item {
            Item::Event {
                kind,
                key,
                value,
                revision,
            } => Some(Change {
                revision,
                key,
                value: (kind != Kind::Deleted).then_some(value),
            }),
            Item::Bookmark(_) => None,
        });
        present.chain(events)
    }

    /// The revision a stream may go on from without a gap: up to it everything was seen.
    #[must_use]
    pub fn resume_from(&self) -> u64 {
        let mut whole = self.from;
        let mut last = self.from;
        for item in &self.items {
            match item {
                Item::Bookmark(revision) => {
                    whole = whole.max(*revision);
                    last = last.max(*revision);
                }
                Item::Event { revision, .. } if *revision > last => {
                    // Something of a later transaction: the one before it is whole.
                    whole = whole.max(last);
                    last = *revision;
                }
                Item::Event { .. } => {}
            }
        }
        whole
    }
}

/// Judges `streams` against each other and against `ledger`, which must have learnt of acknowledged writes, and learns of theirs.
#[must_use]
pub fn check(ledger: &mut Ledger, streams: &[Stream]) -> Verdict {
    for stream in streams {
        for change in stream.changes() {
            ledger.learn(change, &stream.name);
        }
    }
    let mut anomalies = ledger.anomalies().to_vec();
    for stream in streams {
        let judge = Judge { ledger, stream };
        judge.order(&mut anomalies);
        judge.beginning(&mut anomalies);
        judge.completeness(&mut anomalies);
        judge.kinds(&mut anomalies);
    }
    Verdict::of(anomalies)
}

struct Judge<'a> {
    ledger: &'a Ledger,
    stream: &'a Stream,
}

impl Judge<'_> {
    fn blame(&self, kind: &'static str, what: impl std::fmt::Display) -> Anomaly {
        Anomaly::new(kind, format!("{}: {what}", self.stream.name))
    }

    /// Filter, ordered, unique, and what a bookmark forbids to come after it.
    fn order(&self, anomalies: &mut Vec<Anomaly>) {
        let (mut last, mut marked) = (self.stream.from, self.stream.from);
        let mut seen = BTreeSet::new();
        for item in &self.stream.items {
            match *item {
                Item::Bookmark(revision) => {
                    if revision < last {
                        anomalies.push(self.blame(
                            "watch-ordered",
                            format!("a bookmark of {revision} after revision {last}"),
                        ));
                    }
                    marked = marked.max(revision);
                    last = last.max(revision);
                }
                Item::Event { key, revision, .. } => {
                    let what = format!("key {key} at revision {revision}");
                    if !self.stream.scope.holds(key) {
                        anomalies.push(self.blame("watch-filter", &what));
                    }
                    if !seen.insert((revision, key)) {
                        anomalies.push(self.blame("watch-unique", format!("{what}, twice")));
                    } else if revision <= self.stream.from {
                        anomalies.push(self.blame(
                            "watch-resumable",
                            format!("{what}, asked for what came after {}", self.stream.from),
                        ));
                    } else if revision <= marked {
                        anomalies.push(self.blame(
                            "watch-bookmarkable",
                            format!("{what}, after a bookmark of {marked}"),
                        ));
                    } else if revision < last {
                        anomalies.push(
                            self.blame("watch-ordered", format!("{what}, after revision {last}")),
                        );
                    }
                    last = last.max(revision);
                }
            }
        }
    }

    /// What existed when the stream began.
    fn beginning(&self, anomalies: &mut Vec<Anomaly>) {
        let Some(present) = &self.stream.present else {
            return;
        };
        let mut wanted = self.ledger.state_at(self.stream.from);
        wanted.retain(|key, _| self.stream.scope.holds(*key));
        let found: BTreeMap<u64, Version> = present.iter().copied().collect();
        if found.len() != present.len() {
            anomalies.push(self.blame("watch-unique", "a key twice in what existed at first"));
        }
        if found != wanted {
            anomalies.push(self.blame(
                "watch-resumable",
                format!(
                    "began with {found:?} at revision {}, where {wanted:?} existed",
                    self.stream.from
                ),
            ));
        }
    }

    /// Atomic, bookmarkable, reliable, resumable: nothing is missing up to where the stream came.
    fn completeness(&self, anomalies: &mut Vec<Anomaly>) {
        let events = self.stream.items.iter().filter_map(|item| match item {
            Item::Event { key, revision, .. } => Some((*revision, *key)),
            Item::Bookmark(_) => None,
        });
        let seen: BTreeSet<(u64, u64)> = events.collect();
        let bookmark = self.stream.items.iter().filter_map(|item| match item {
            Item::Bookmark(revision) => Some(*revision),
            Item::Event { .. } => None,
        });
        let bookmark = bookmark.max().unwrap_or(0);
        let first = seen.first().map_or(u64::MAX, |(revision, _)| *revision);
        let last = seen.last().map_or(0, |(revision, _)| *revision);
        // The last transaction may have been cut in two by the end of the stream.
        let until = bookmark.max(last.saturating_sub(1)).max(self.stream.until);
        for change in self.ledger.between(self.stream.from, until) {
            if !self.stream.scope.holds(change.key) || seen.contains(&(change.revision, change.key))
            {
                continue;
            }
            let begun = (change.revision, 0)..=(change.revision, u64::MAX);
            let kind = if seen.range(begun).next().is_some() {
                "watch-atomic"
            } else if change.revision < first && first != u64::MAX {
                "watch-resumable"
            } else if change.revision < last {
                "watch-reliable"
            } else if change.revision <= bookmark {
                "watch-bookmarkable"
            } else {
                "watch-reliable"
            };
            anomalies.push(self.blame(
                kind,
                format!(
                    "never saw key {} at revision {}, and was at {until}",
                    change.key, change.revision
                ),
            ));
        }
    }

    /// Previous and is-create.
    fn kinds(&self, anomalies: &mut Vec<Anomaly>) {
        for item in &self.stream.items {
            let Item::Event {
                kind,
                key,
                value,
                revision,
            } = *item
            else {
                continue;
            };
            let before = self.ledger.before(key, revision);
            match (kind, before) {
                (Kind::Deleted, Some(version)) if version.value != value => {
                    anomalies.push(self.blame(
                        "watch-previous",
                        format!(
                            "key {key} deleted at {revision} with value {value}; it had {version:?}"
                        ),
                    ));
                }
                (Kind::Deleted | Kind::Modified, None) | (Kind::Added, Some(_)) => {
                    anomalies.push(self.blame(
                        "watch-is-create",
                        format!("{kind:?} of key {key} at {revision}; before it was {before:?}"),
                    ));
                }
                _ => {}
            }
        }
    }
}
