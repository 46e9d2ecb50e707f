//! State machine safety (Raft, figure 3): what one member applied at an index, no other applies otherwise.

use super::{Invariant, Sight};
use std::collections::BTreeMap;

/// The term and the store's revision behind each applied index, as first seen.
#[derive(Debug, Default)]
pub(super) struct StateMachineSafety {
    applied: BTreeMap<u64, (u64, u64)>,
}

impl Invariant for StateMachineSafety {
    fn name(&self) -> &'static str {
        "state machine safety"
    }

    fn turn(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let mut found = Vec::new();
        for seen in &sight.chronicle.seen {
            let Some(applied) = seen.says.applied.filter(|at| at.index == seen.applied) else {
                continue;
            };
            let here = (applied.term, seen.view.revision().0);
            let first = *self.applied.entry(applied.index).or_insert(here);
            if first != here {
                found.push(format!(
                    "behind entry {} member {} is at (term, revision) {here:?}, another was at {first:?}",
                    applied.index, seen.id
                ));
            }
        }
        found
    }
}
