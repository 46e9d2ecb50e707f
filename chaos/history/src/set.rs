//! A set that elements are added to and that is read as a whole: what was added stays.

use crate::operation::{Moment, Operation};
use crate::verdict::{Anomaly, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// What is asked of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Hold this too. No element is added twice.
    Add(u64),
    /// What does it hold?
    Read,
}

/// What a set answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Added.
    Added,
    /// It holds these.
    Holds(BTreeSet<u64>),
}

/// Operations on one set.
pub type History = [Operation<Call, Answer>];

/// What became of the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Elements that were acknowledged.
    pub acknowledged: usize,
    /// Elements whose outcome was unknown and that are there.
    pub recovered: usize,
    /// Elements whose outcome was unknown and that are not there at the end.
    pub vanished: usize,
    /// Reads that were answered.
    pub reads: usize,
}

/// Judges one set.
#[must_use]
pub fn check(history: &History) -> (Verdict, Figures) {
    let mut anomalies = Vec::new();
    let adds: BTreeMap<u64, &Operation<Call, Answer>> = history
        .iter()
        .filter_map(|one| match one.call {
            Call::Add(element) => Some((element, one)),
            Call::Read => None,
        })
        .collect();
    let mut reads: Vec<(&Operation<Call, Answer>, &BTreeSet<u64>)> = history
        .iter()
        .filter_map(|one| match one.answer() {
            Some(Answer::Holds(elements)) => Some((one, elements)),
            _ => None,
        })
        .collect();
    reads.sort_by_key(|(read, _)| read.ended);
    let by_end = ends(&adds);
    // What some finished read has shown, with its end: nothing of it may be absent from a read that began later.
    let mut shown: BTreeMap<u64, Moment> = BTreeMap::new();
    for (read, elements) in &reads {
        for element in *elements {
            let wrong = match adds.get(element) {
                None => Some("element-from-nowhere"),
                Some(add) if !add.may_have_happened() => Some("failed-add-seen"),
                Some(add) if add.invoked > read.ended => Some("read-before-add"),
                Some(_) => None,
            };
            if let Some(kind) = wrong {
                anomalies.push(Anomaly::new(
                    kind,
                    format!("element {element}, in the read at {}", read.invoked),
                ));
            }
        }
        let due = by_end.partition_point(|(ended, _)| *ended < read.invoked);
        let lost: Vec<u64> = by_end[..due]
            .iter()
            .map(|(_, element)| *element)
            .filter(|element| !elements.contains(element))
            .collect();
        if !lost.is_empty() {
            anomalies.push(Anomaly::new(
                "lost-element",
                format!(
                    "{} acknowledged elements are absent from the read at {}, such as {:?}",
                    lost.len(),
                    read.invoked,
                    &lost[..lost.len().min(5)]
                ),
            ));
        }
        let gone = shown
            .iter()
            .find(|(element, since)| **since < read.invoked && !elements.contains(element));
        if let Some((element, since)) = gone.filter(|(element, _)| !lost.contains(element)) {
            anomalies.push(Anomaly::new(
                "element-vanished",
                format!(
                    "element {element} was shown by {since}, and is absent from the read at {}",
                    read.invoked
                ),
            ));
        }
        for element in *elements {
            shown.entry(*element).or_insert(read.ended);
        }
    }
    let figures = figures(&adds, &reads);
    if reads.is_empty() {
        return (Verdict::Unknown("no read was answered".to_owned()), figures);
    }
    (Verdict::of(anomalies), figures)
}

fn ends(adds: &BTreeMap<u64, &Operation<Call, Answer>>) -> Vec<(Moment, u64)> {
    let mut ends: Vec<(Moment, u64)> = adds
        .iter()
        .filter(|(_, add)| add.answer().is_some())
        .map(|(element, add)| (add.ended, *element))
        .collect();
    ends.sort_unstable();
    ends
}

fn figures(
    adds: &BTreeMap<u64, &Operation<Call, Answer>>,
    reads: &[(&Operation<Call, Answer>, &BTreeSet<u64>)],
) -> Figures {
    let nothing = BTreeSet::new();
    let last = reads.last().map_or(&nothing, |(_, elements)| elements);
    let unknown = adds
        .iter()
        .filter(|(_, add)| add.answer().is_none() && add.may_have_happened());
    let (recovered, vanished): (Vec<_>, Vec<_>) =
        unknown.partition(|(element, _)| last.contains(element));
    Figures {
        acknowledged: ends(adds).len(),
        recovered: recovered.len(),
        vanished: vanished.len(),
        reads: reads.len(),
    }
}
