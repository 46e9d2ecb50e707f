//! A proposal is committed at most once, whatever was lost on its way, and a write is done at most once.

use super::{Invariant, Sight};
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct ExactlyOnce;

impl Invariant for ExactlyOnce {
    fn name(&self) -> &'static str {
        "exactly once"
    }

    fn end(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let mut found = Vec::new();
        let mut indexes = BTreeMap::new();
        for (index, term) in &sight.chronicle.committed {
            let entry = sight.chronicle.entries.get(&(*index, *term));
            if let Some(operation) = entry.and_then(|entry| entry.operation)
                && let Some(first) = indexes.insert(operation, *index)
            {
                found.push(format!(
                    "operation {operation} is committed at {first} and at {index}"
                ));
            }
        }
        let mut revisions = BTreeMap::new();
        for (revision, changed) in &sight.chronicle.revisions {
            for by in changed.iter().filter_map(|(_, by)| *by) {
                if let Some(first) = revisions.insert(by, *revision) {
                    found.push(format!(
                        "operation {by} was done at revision {first} and at {revision}"
                    ));
                }
            }
        }
        found
    }
}
