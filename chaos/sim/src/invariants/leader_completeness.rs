//! Leader completeness (Raft, figure 3): who leads has every entry that was committed in an earlier term.

use super::{Invariant, Sight};
use pontoon_storage::Position;
use std::collections::BTreeSet;

/// Terms whose leader has been looked at.
#[derive(Debug, Default)]
pub(super) struct LeaderCompleteness {
    looked: BTreeSet<u64>,
}

impl Invariant for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn turn(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let mut found = Vec::new();
        for seen in sight.chronicle.seen.iter().filter(|seen| seen.says.leads) {
            if !self.looked.insert(seen.says.term) {
                continue;
            }
            let Some(member) = sight.members.get(&seen.id) else {
                continue;
            };
            // By log matching, having the last one is having all.
            let last = sight
                .chronicle
                .committed
                .iter()
                .rev()
                .find(|(_, term)| **term < seen.says.term);
            if let Some((index, term)) = last {
                let at = Position {
                    term: *term,
                    index: *index,
                };
                if !member.disk.holds(at) {
                    found.push(format!(
                        "member {} leads term {} without entry {index} of term {term}, which is committed",
                        seen.id, seen.says.term
                    ));
                }
            }
        }
        found
    }
}
