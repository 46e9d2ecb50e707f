//! Watches: every revision once, in order, none left out, whole, and the same from every member and from every place
//! that they begin at.

use super::{Invariant, Sight};

#[derive(Debug)]
pub(super) struct Watches;

impl Invariant for Watches {
    fn name(&self) -> &'static str {
        "watch = log"
    }

    fn turn(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let mut found = Vec::new();
        for delivered in &sight.chronicle.delivered {
            // Every committed transaction takes the next revision: a gap is a loss.
            if delivered.revision != delivered.after + 1 {
                found.push(format!(
                    "a watch at member {} went from revision {} to {}",
                    delivered.member, delivered.after, delivered.revision
                ));
            }
            let first = sight.chronicle.revisions.get(&delivered.revision);
            if first != Some(&delivered.changed) {
                found.push(format!(
                    "at member {} revision {} is {:?}, elsewhere it was {first:?}",
                    delivered.member, delivered.revision, delivered.changed
                ));
            }
        }
        found
    }

    fn end(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let seen = sight.chronicle.seen.iter();
        seen.filter(|seen| {
            let last = sight.chronicle.revisions.last_key_value();
            last.map_or(0, |(revision, _)| *revision) < seen.view.revision().0
        })
        .map(|seen| {
            format!(
                "member {} is at revision {}, which no watch has delivered",
                seen.id,
                seen.view.revision().0
            )
        })
        .collect()
    }
}
