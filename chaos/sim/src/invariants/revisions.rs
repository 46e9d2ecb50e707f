//! Revisions of acknowledged writes are unique, and ordered as the writes were in real time.

use super::{Invariant, Sight};
use crate::history::{Answer, Ask};
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Revisions;

impl Invariant for Revisions {
    fn name(&self) -> &'static str {
        "revisions"
    }

    fn end(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let mut found = Vec::new();
        let mut used = BTreeMap::new();
        let mut writes = Vec::new();
        for operation in sight.operations.iter().filter(|op| op.ask != Ask::Compact) {
            if let Some((answered, Answer::Committed(revision))) = &operation.answer {
                if let Some(other) = used.insert(*revision, operation.id) {
                    found.push(format!(
                        "operations {other} and {} were both answered with revision {revision}",
                        operation.id
                    ));
                }
                writes.push((operation.called, *answered, *revision, operation.id));
            }
        }
        // The highest revision among those answered before each call, by a sweep over the answers.
        let mut answers = writes.clone();
        answers.sort_by_key(|(_, answered, _, _)| *answered);
        writes.sort_by_key(|(called, _, _, _)| *called);
        let mut answers = answers.into_iter().peekable();
        let mut highest = (0, 0);
        for (called, _, revision, id) in writes {
            while let Some((_, _, before, by)) = answers.next_if(|answer| answer.1 < called) {
                highest = highest.max((before, by));
            }
            if revision < highest.0 {
                found.push(format!(
                    "operation {id} got revision {revision}, though operation {} had been answered with {} before it was called",
                    highest.1, highest.0
                ));
            }
        }
        found
    }
}
