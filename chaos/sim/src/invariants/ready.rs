//! A leader says that it is ready only when it has applied everything committed before its term: plans are made on what
//! it shows.

use super::{Invariant, Sight};
use std::collections::BTreeSet;

/// Terms whose leader's readiness has been looked at.
#[derive(Debug, Default)]
pub(super) struct Ready {
    looked: BTreeSet<u64>,
}

impl Invariant for Ready {
    fn name(&self) -> &'static str {
        "ready leaders know everything"
    }

    fn turn(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let mut found = Vec::new();
        for seen in sight.chronicle.seen.iter().filter(|seen| seen.says.ready) {
            if !self.looked.insert(seen.says.term) {
                continue;
            }
            let committed = &sight.chronicle.committed;
            let before = committed
                .iter()
                .rev()
                .find(|(_, term)| **term < seen.says.term);
            if let Some((index, term)) = before
                && seen.applied < *index
            {
                found.push(format!(
                    "member {} is ready in term {} with entry {} applied; entry {index} of term {term} is committed",
                    seen.id, seen.says.term, seen.applied
                ));
            }
        }
        found
    }
}
