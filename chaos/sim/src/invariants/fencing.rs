//! A write planned in one term is never done in another.

use super::{Invariant, Sight};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(super) struct Fencing;

impl Invariant for Fencing {
    fn name(&self) -> &'static str {
        "fencing"
    }

    fn end(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let chronicle = sight.chronicle;
        let done: BTreeSet<u64> = chronicle
            .revisions
            .values()
            .flatten()
            .filter_map(|(_, by)| *by)
            .collect();
        let terms: BTreeMap<u64, u64> = chronicle
            .committed
            .iter()
            .filter_map(|(index, term)| {
                let entry = chronicle.entries.get(&(*index, *term))?;
                Some((entry.operation?, *term))
            })
            .collect();
        let fenced = sight
            .operations
            .iter()
            .filter_map(|operation| Some((operation.id, operation.fence?)));
        fenced
            .filter(|(id, planned)| {
                done.contains(id) && terms.get(id).is_some_and(|term| term != planned)
            })
            .map(|(id, planned)| {
                format!(
                    "operation {id} was planned in term {planned} and done in term {:?}",
                    terms.get(&id)
                )
            })
            .collect()
    }
}
