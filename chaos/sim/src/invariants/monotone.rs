//! Saved votes never go back, not even over a power failure; terms, and what is committed, applied and purged, do not
//! within a life.

use super::{Invariant, Sight};
use std::collections::BTreeMap;

/// What each member last said.
#[derive(Debug, Default)]
pub(super) struct Monotone {
    last: BTreeMap<u64, Last>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    life: u64,
    term: u64,
    /// Ordered as votes supersede each other, but for the candidate, who must be the same in a term.
    vote: (u64, u64, bool),
    progress: [(&'static str, u64); 4],
    revision: u64,
}

impl Invariant for Monotone {
    fn name(&self) -> &'static str {
        "nothing goes back"
    }

    fn turn(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let mut found = Vec::new();
        for seen in &sight.chronicle.seen {
            let says = &seen.says;
            let index =
                |at: Option<pontoon_storage::Position>| at.map_or(0, |position| position.index);
            let here = Last {
                life: seen.life,
                term: says.term,
                vote: says.vote,
                progress: [
                    ("committed", index(says.committed)),
                    ("applied", seen.applied),
                    ("snapshot", index(says.snapshot)),
                    ("purged", index(says.purged)),
                ],
                revision: seen.view.revision().0,
            };
            if let Some(before) = self.last.insert(seen.id, here) {
                compare(seen.id, &before, &here, &mut found);
            }
        }
        found
    }
}

fn compare(member: u64, before: &Last, here: &Last, found: &mut Vec<String>) {
    // A term that was taken up when its vote could not be saved is forgotten with the life, and told to nobody.
    if here.life == before.life && here.term < before.term {
        found.push(format!(
            "member {member} went from term {} to {}",
            before.term, here.term
        ));
    }
    let (old, new) = (before.vote, here.vote);
    // A candidate may learn that another leads its term; that is all that may change within one.
    // And who led its term begins its next life as a follower.
    let demoted = here.life != before.life && old == (new.0, new.1, true);
    let turned =
        new.0 == old.0 && !demoted && ((old.2 && !new.2) || (new.1 != old.1 && (old.2 || !new.2)));
    if new.0 < old.0 || turned {
        found.push(format!(
            "member {member}'s vote went from {old:?} to {new:?}"
        ));
    }
    if before.life != here.life {
        return;
    }
    for ((what, old), (_, new)) in before.progress.iter().zip(&here.progress) {
        if new < old {
            found.push(format!("member {member}: {what} went from {old} to {new}"));
        }
    }
    if here.revision < before.revision {
        found.push(format!(
            "member {member}'s view went from revision {} to {}",
            before.revision, here.revision
        ));
    }
}
