//! Log matching (Raft, figure 3): entries of the same index and term are the same, and so is what is before them.

use super::{Invariant, Sight};

#[derive(Debug)]
pub(super) struct LogMatching;

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn turn(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let mut found = Vec::new();
        for (member, at, entry) in &sight.chronicle.appended {
            let Some(first) = sight.chronicle.entries.get(&(at.index, at.term)) else {
                continue;
            };
            if first.sum != entry.sum {
                found.push(format!(
                    "member {member} has another entry {} of term {} than was first appended",
                    at.index, at.term
                ));
            }
            if let (Some(one), Some(other)) = (first.before, entry.before)
                && one != other
            {
                found.push(format!(
                    "before entry {} of term {} member {member} has term {other}, others term {one}",
                    at.index, at.term
                ));
            }
        }
        found
    }
}
