//! Registers with compare-and-set, of which each write takes a unique, ordered revision.
//!
//! The revisions give the order of the writes, so that nothing has to be guessed: sort by revision, replay, and see whether each
//! operation's interval reaches its place (`replay`). That takes n log n. The one thing it cannot always place is a refused
//! compare-and-set, which may have had two reasons, or the effect of a write whose outcome nobody knows; then [`search`](crate::search)
//! decides, exactly and slower.
//!
//! Each value is written at most once per key, so that a read tells which write it saw: the clients' duty. A history that breaks it is
//! not judged.

mod model;
mod replay;
mod resolve;

pub use model::{Seen, State, Step, Versions};
pub use resolve::{Resolved, resolve};

use crate::brief::brief;
use crate::operation::{Moment, Operation};
use crate::search::{Budget, Found, Interval, search};
use crate::verdict::{Anomaly, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A value and the revision of the write that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// The store's revision of that write.
    pub revision: u64,
    /// What it wrote.
    pub value: u64,
}

/// What is asked of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// What does it hold?
    Read,
    /// Hold `value`, whatever it held.
    Write {
        /// What to hold.
        value: u64,
    },
    /// Hold `value` if the register's revision is `expected`.
    Cas {
        /// The revision it must have; zero for "it must not exist".
        expected: u64,
        /// What to hold.
        value: u64,
    },
}

/// What a register answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It holds this, or does not exist.
    Read(Option<Version>),
    /// Written, with this revision.
    Written(u64),
    /// Its revision was another than expected.
    Conflict,
}

/// Operations on registers.
pub type History = [Operation<Call, Answer>];

/// Judges the registers of a history, and what their revisions say across keys.
#[must_use]
pub fn check(history: &History) -> Verdict {
    check_within(history, Budget::default())
}

/// [`check`] with a budget for each key's search.
#[must_use]
pub fn check_within(history: &History, budget: Budget) -> Verdict {
    let mut keys: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (place, operation) in history.iter().enumerate() {
        keys.entry(operation.key).or_default().push(place);
    }
    let mut verdict = Verdict::of(across_keys(history));
    for places in keys.values() {
        verdict = verdict.and(check_key(history, places, budget));
    }
    verdict
}

/// Judges one key by the quick way alone: `None` when that cannot decide. For comparing the two ways.
#[must_use]
pub fn check_key_by_replay(history: &History) -> Option<Verdict> {
    let places: Vec<usize> = (0..history.len()).collect();
    match resolve(history, &places) {
        Resolved::Wrong(anomalies) => Some(Verdict::Invalid(anomalies)),
        Resolved::Unusable(why) => Some(Verdict::Unknown(why)),
        Resolved::Steps(steps) => replay::replay(&steps, &|step| tell(history, step))
            .map(|wrong| Verdict::of(wrong.into_iter().collect())),
    }
}

fn check_key(history: &History, places: &[usize], budget: Budget) -> Verdict {
    let steps = match resolve(history, places) {
        Resolved::Wrong(anomalies) => return Verdict::Invalid(anomalies),
        Resolved::Unusable(why) => return Verdict::Unknown(why),
        Resolved::Steps(steps) => steps,
    };
    if let Some(decided) = replay::replay(&steps, &|step| tell(history, step)) {
        return Verdict::of(decided.into_iter().collect());
    }
    match search(&Versions, &steps, budget) {
        Found::Order(_) => Verdict::Valid,
        Found::GaveUp => Verdict::Unknown(format!(
            "key {}: no order found among {} operations within {} steps",
            history[places[0]].key,
            steps.len(),
            budget.steps
        )),
        Found::Nothing { .. } => Verdict::Invalid(vec![unordered(history, &steps, budget)]),
    }
}

/// Why there is no order: a refusal that has no reason, if one alone is to blame, or the operations that contradict each other.
fn unordered(history: &History, steps: &[Interval<Step>], budget: Budget) -> Anomaly {
    let is_refusal = |step: &Interval<Step>| matches!(step.step, Step::Refused { .. });
    for refusal in steps.iter().filter(|step| is_refusal(step)) {
        let Step::Refused { over } = refusal.step else {
            continue;
        };
        let others = steps
            .iter()
            .filter(|step| !is_refusal(step) || step.origin == refusal.origin);
        let others: Vec<Interval<Step>> = others.cloned().collect();
        if !matches!(search(&Versions, &others, budget), Found::Nothing { .. }) {
            continue;
        }
        let writes = steps.iter().filter_map(|step| match step.step {
            Step::Write { version, .. } => Some((version.revision, step.origin)),
            _ => None,
        });
        let writes: BTreeMap<u64, usize> = writes.collect();
        let mut story = format!(
            "{}, although that was the revision:",
            tell(history, refusal.origin)
        );
        for (_, place) in writes.range(over..).take(2) {
            let _ = write!(story, "\n    {}", tell(history, *place));
        }
        return Anomaly::new("refused-without-reason", story);
    }
    let small = brief(&Versions, steps);
    let mut story = String::from("no order of these explains them:");
    for one in small.iter().filter(|one| one.required) {
        let _ = write!(story, "\n    {}", tell(history, one.origin));
    }
    let others = small.iter().filter(|one| !one.required).count();
    let _ = write!(story, "\n    with or without {others} other writes");
    Anomaly::new("not-linearizable", story)
}

/// Revisions belong to the whole store: no two writes have the same, and a write that began after another had returned has a greater one.
fn across_keys(history: &History) -> Vec<Anomaly> {
    let mut writes: Vec<(u64, usize)> = history
        .iter()
        .enumerate()
        .filter_map(|(place, one)| match one.answer() {
            Some(Answer::Written(revision)) => Some((*revision, place)),
            _ => None,
        })
        .collect();
    writes.sort_unstable();
    let mut anomalies = Vec::new();
    let mut latest: Option<usize> = None;
    for pair in writes.windows(2) {
        if pair[0].0 == pair[1].0 {
            anomalies.push(Anomaly::new(
                "revision-given-twice",
                format!(
                    "{} and {}",
                    tell(history, pair[0].1),
                    tell(history, pair[1].1)
                ),
            ));
        }
    }
    for (_, place) in writes {
        let operation = &history[place];
        match latest {
            Some(other) if operation.ended < history[other].invoked => {
                anomalies.push(Anomaly::new(
                    "revisions-against-time",
                    format!(
                        "{} had returned before {} began, and has a greater revision",
                        tell(history, place),
                        tell(history, other)
                    ),
                ));
            }
            Some(other) if operation.invoked <= history[other].invoked => {}
            _ => latest = Some(place),
        }
    }
    anomalies
}

/// One operation in words.
#[must_use]
pub fn tell(history: &History, place: usize) -> String {
    let one = &history[place];
    let what = match (&one.call, &one.outcome) {
        (Call::Read, crate::Outcome::Done(Answer::Read(Some(version)))) => {
            format!("read {} at revision {}", version.value, version.revision)
        }
        (Call::Read, _) => "read nothing".to_owned(),
        (Call::Write { value }, _) => format!("wrote {value}"),
        (Call::Cas { expected, value }, _) => format!("wrote {value} over revision {expected}"),
    };
    let result = match &one.outcome {
        crate::Outcome::Done(Answer::Written(revision)) => format!(" as revision {revision}"),
        crate::Outcome::Done(Answer::Conflict) => " and was refused".to_owned(),
        crate::Outcome::Done(Answer::Read(_)) => String::new(),
        crate::Outcome::Failed(why) => format!(", which failed: {why}"),
        crate::Outcome::Indeterminate(why) => format!(", outcome unknown: {why}"),
    };
    let end = if one.returned() == Moment::NEVER {
        Moment::NEVER
    } else {
        one.ended
    };
    format!(
        "#{place} process {} key {} [{}..{end}] {what}{result}",
        one.process, one.key, one.invoked
    )
}
