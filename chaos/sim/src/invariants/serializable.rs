//! Reads are strictly serializable: each shows exactly what the log says of its revision, nothing answered before it was
//! called is missing, and nothing called after it was answered is there.

use super::{Invariant, Sight};
use crate::history::{Answer, Ask, Contents, Operation};

#[derive(Debug)]
pub(super) struct Serializable;

impl Invariant for Serializable {
    fn name(&self) -> &'static str {
        "strict serializability"
    }

    fn end(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let mut found = Vec::new();
        real_time(sight, &mut found);
        content(sight, &mut found);
        found
    }
}

/// The revision at which an answered operation took place; compactions have none of their own.
fn place(operation: &Operation) -> Option<(u64, u64, bool)> {
    match operation.answer.as_ref()? {
        (answered, Answer::Committed(revision)) if operation.ask != Ask::Compact => {
            Some((*answered, *revision, false))
        }
        (answered, Answer::Read(revision, _)) => Some((*answered, *revision, true)),
        _ => None,
    }
}

fn real_time(sight: &Sight<'_>, found: &mut Vec<String>) {
    let mut answers: Vec<(u64, u64, u64)> = sight
        .operations
        .iter()
        .filter_map(|operation| {
            place(operation).map(|(at, revision, _)| (at, revision, operation.id))
        })
        .collect();
    answers.sort_unstable();
    let mut answers = answers.into_iter().peekable();
    let mut highest = (0, 0);
    // Operations are numbered as they are called.
    for operation in sight.operations {
        while let Some((_, revision, id)) = answers.next_if(|answer| answer.0 < operation.called) {
            highest = highest.max((revision, id));
        }
        if let Some((_, revision, true)) = place(operation)
            && revision < highest.0
        {
            found.push(format!(
                "read {} at member {} saw revision {revision}, though operation {} had been answered at {} before it was called",
                operation.id, operation.member, highest.1, highest.0
            ));
        }
    }
}

/// Replays the log beside the reads, in the order of their revisions.
fn content(sight: &Sight<'_>, found: &mut Vec<String>) {
    let mut reads: Vec<(u64, u64, &Contents)> = sight
        .operations
        .iter()
        .filter_map(|operation| match &operation.answer {
            Some((_, Answer::Read(revision, contents))) => {
                Some((*revision, operation.id, contents))
            }
            _ => None,
        })
        .collect();
    reads.sort_by_key(|(revision, id, _)| (*revision, *id));
    let mut log = sight.chronicle.revisions.iter().peekable();
    let mut present = Contents::new();
    for (revision, id, read) in reads {
        while let Some((at, changed)) = log.next_if(|(at, _)| **at <= revision) {
            for (name, by) in changed {
                match by {
                    Some(by) => drop(present.insert(name.clone(), (*at, *by))),
                    None => drop(present.remove(name)),
                }
            }
        }
        if *read != present {
            found.push(format!(
                "read {id} saw at revision {revision}: {read:?}, the log says {present:?}"
            ));
        }
    }
}
