//! What is once said to be committed at an index stays: nobody ever says another entry is.

use super::{Invariant, Sight};

#[derive(Debug)]
pub(super) struct CommittedImmutable;

impl Invariant for CommittedImmutable {
    fn name(&self) -> &'static str {
        "committed stays"
    }

    fn turn(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let now = sight.chronicle.committed_now.iter();
        now.filter_map(|(member, at)| {
            let first = *sight.chronicle.committed.get(&at.index)?;
            (first != at.term).then(|| {
                format!(
                    "entry {} was committed in term {first}, member {member} says in term {}",
                    at.index, at.term
                )
            })
        })
        .collect()
    }
}
