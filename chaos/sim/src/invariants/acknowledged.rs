//! Nothing acknowledged is lost: each acknowledged write is what the log says of its revision, and what nobody removed is
//! there at the end. What was said not to be done is nowhere.

use super::{Invariant, Sight};
use crate::history::{Answer, Ask, contents};
use std::collections::BTreeSet;

#[derive(Debug)]
pub(super) struct Acknowledged;

impl Invariant for Acknowledged {
    fn name(&self) -> &'static str {
        "nothing acknowledged is lost"
    }

    fn end(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let mut found = Vec::new();
        let revisions = &sight.chronicle.revisions;
        let written: BTreeSet<u64> = revisions
            .values()
            .flatten()
            .filter_map(|(_, by)| *by)
            .collect();
        for operation in sight.operations {
            let id = operation.id;
            match (&operation.answer, &operation.ask) {
                (_, Ask::Read | Ask::Compact) | (None, _) => {}
                (Some((_, Answer::Committed(revision))), ask) => {
                    let wanted = (!matches!(ask, Ask::Remove(_))).then_some(id);
                    let there = revisions
                        .get(revision)
                        .is_some_and(|changed| changed.iter().any(|(_, by)| *by == wanted));
                    if !there {
                        found.push(format!(
                            "operation {id} was acknowledged at revision {revision}, which is {:?}",
                            revisions.get(revision)
                        ));
                    }
                    if matches!(ask, Ask::Add) {
                        missing(sight, id, &mut found);
                    }
                }
                (Some((_, Answer::NotDone | Answer::Refused)), _) if written.contains(&id) => {
                    found.push(format!("operation {id} was said not to be done, and was"));
                }
                _ => {}
            }
        }
        found
    }
}

/// An element that was added, and that nobody removes, must be at every member.
fn missing(sight: &Sight<'_>, id: u64, found: &mut Vec<String>) {
    let members = sight.chronicle.membership();
    let seen = sight.chronicle.seen.iter();
    for seen in seen.filter(|seen| members.contains(&seen.id)) {
        if !contents(&seen.view).contains_key(&format!("e{id}")) {
            found.push(format!(
                "the acknowledged element e{id} is not at member {}",
                seen.id
            ));
        }
    }
}
