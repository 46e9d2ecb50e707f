//! A lock whose holder shows a token with each guarded write, and a store that checks it.
//!
//! A lock alone excludes nobody: its holder may be paused while it is given to another. What must hold is that the store accepts no
//! write under a token after it has given a greater one, and that no token is given twice. The token is the revision of the
//! transaction that took the lock.

use crate::verdict::{Anomaly, Verdict};
use std::collections::BTreeMap;

/// What a transaction did, when it was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// `holder` has the lock; the transaction's revision is the token.
    Take {
        /// Who has it from then on.
        holder: u64,
    },
    /// The holder with this token gave it back.
    Release {
        /// Its token.
        token: u64,
    },
    /// A write that only the holder of the token may do.
    Write {
        /// Who wrote.
        holder: u64,
        /// What it showed.
        token: u64,
    },
}

/// Judges the committed transactions of one lock. Each is given with its revision.
#[must_use]
pub fn check(deeds: &[(u64, Deed)]) -> Verdict {
    let mut anomalies = Vec::new();
    let mut order: BTreeMap<u64, Deed> = BTreeMap::new();
    for (revision, deed) in deeds {
        if let Some(other) = order.insert(*revision, *deed) {
            anomalies.push(Anomaly::new(
                "revision-given-twice",
                format!("{revision}: {other:?} and {deed:?}"),
            ));
        }
    }
    let mut held: Option<(u64, u64)> = None;
    let mut latest = 0;
    for (revision, deed) in order {
        match deed {
            Deed::Take { holder } => {
                // Also from one who still has it, and may be gone: the fence is what protects.
                held = Some((holder, revision));
                latest = revision;
            }
            Deed::Release { token } => {
                if held.is_none_or(|(_, own)| own != token) {
                    anomalies.push(Anomaly::new(
                        "released-by-another",
                        format!(
                            "revision {revision} released token {token}; the lock was {held:?}"
                        ),
                    ));
                }
                held = None;
            }
            Deed::Write { holder, token } => {
                if held != Some((holder, token)) {
                    anomalies.push(Anomaly::new(
                        "unfenced-write",
                        format!(
                            "revision {revision} was accepted from holder {holder} with token {token}; the lock was {held:?}, the last token {latest}"
                        ),
                    ));
                }
            }
        }
    }
    Verdict::of(anomalies)
}
