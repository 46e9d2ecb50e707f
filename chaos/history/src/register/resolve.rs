//! Works answers into operations, and unknown outcomes as far as reads give them away.

use super::model::Step;
use super::{Answer, Call, History, Version, tell};
use crate::operation::Outcome;
use crate::search::Interval;
use crate::verdict::Anomaly;
use std::collections::BTreeMap;

/// What became of one key's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// Steps to be put in order.
    Steps(Vec<Interval<Step>>),
    /// It is wrong in any order.
    Wrong(Vec<Anomaly>),
    /// The clients broke the rules of the game.
    Unusable(String),
}

/// Works the operations of one key, found at `places`, into steps.
#[must_use]
pub fn resolve(history: &History, places: &[usize]) -> Resolved {
    let writers = match writers(history, places) {
        Ok(writers) => writers,
        Err(why) => return Resolved::Unusable(why),
    };
    let (seen, anomalies) = sightings(history, places, &writers);
    if !anomalies.is_empty() {
        return Resolved::Wrong(anomalies);
    }
    let steps = places.iter().filter_map(|place| {
        let operation = &history[*place];
        let (over, value) = match operation.call {
            Call::Read => (None, 0),
            Call::Write { value } => (None, value),
            Call::Cas { expected, value } => (Some(expected), value),
        };
        let step = match &operation.outcome {
            Outcome::Failed(_) => return None,
            Outcome::Done(Answer::Read(version)) => Step::Read(*version),
            Outcome::Done(Answer::Conflict) => Step::Refused {
                over: over.unwrap_or(0),
            },
            Outcome::Done(Answer::Written(revision)) => Step::Write {
                over,
                version: Version {
                    value,
                    revision: *revision,
                },
            },
            Outcome::Indeterminate(_) if operation.call == Call::Read => return None,
            Outcome::Indeterminate(_) => match seen.get(&value) {
                Some(revision) => Step::Write {
                    over,
                    version: Version {
                        value,
                        revision: *revision,
                    },
                },
                None => Step::Unseen { over },
            },
        };
        Some(Interval {
            required: !matches!(step, Step::Unseen { .. }),
            step,
            invoked: operation.invoked,
            returned: operation.returned(),
            origin: *place,
        })
    });
    Resolved::Steps(steps.collect())
}

/// Which operation wrote, or may have written, each value.
fn writers(history: &History, places: &[usize]) -> Result<BTreeMap<u64, usize>, String> {
    let mut writers = BTreeMap::new();
    for place in places {
        let operation = &history[*place];
        let (Call::Write { value } | Call::Cas { value, .. }) = operation.call else {
            continue;
        };
        if let Some(other) = writers.insert(value, *place) {
            return Err(format!(
                "{} and {} write the same value: reads cannot tell them apart",
                tell(history, other),
                tell(history, *place)
            ));
        }
    }
    Ok(writers)
}

/// The revision of each value that somebody saw, and what is impossible about what was seen.
fn sightings(
    history: &History,
    places: &[usize],
    writers: &BTreeMap<u64, usize>,
) -> (BTreeMap<u64, u64>, Vec<Anomaly>) {
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    let mut owners: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
    let mut anomalies = Vec::new();
    for place in places {
        let operation = &history[*place];
        let version = match (operation.answer(), operation.call) {
            (Some(Answer::Read(Some(version))), _) => *version,
            (Some(Answer::Written(revision)), Call::Write { value } | Call::Cas { value, .. }) => {
                Version {
                    value,
                    revision: *revision,
                }
            }
            _ => continue,
        };
        let kind = match writers.get(&version.value).map(|writer| &history[*writer]) {
            None => Some("value-from-nowhere"),
            Some(writer) if !writer.may_have_happened() => Some("failed-write-seen"),
            Some(writer) if writer.answer() == Some(&Answer::Conflict) => {
                Some("refused-write-seen")
            }
            Some(writer) if writer.invoked > operation.ended => Some("read-before-write"),
            Some(_) => None,
        };
        if let Some(kind) = kind {
            anomalies.push(Anomaly::new(kind, tell(history, *place)));
            continue;
        }
        let (value, first) = *owners
            .entry(version.revision)
            .or_insert((version.value, *place));
        let revision = *seen.entry(version.value).or_insert(version.revision);
        if value != version.value || revision != version.revision {
            anomalies.push(Anomaly::new(
                "version-differs",
                format!(
                    "{} does not agree with {}",
                    tell(history, *place),
                    tell(history, first)
                ),
            ));
        }
    }
    (seen, anomalies)
}
