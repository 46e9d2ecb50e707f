//! Members that have applied the same index hold the same bytes.

use super::{Invariant, Sight};
use pontoon_state::invariant;
use std::collections::BTreeMap;

/// Turns between two looks: each costs a hash over everything.
const EVERY: u64 = 64;

/// The digest behind each index, as first seen.
#[derive(Debug, Default)]
pub(super) struct Digest {
    digests: BTreeMap<u64, String>,
}

impl Invariant for Digest {
    fn name(&self) -> &'static str {
        "equal digests"
    }

    fn turn(&mut self, sight: &Sight<'_>) -> Vec<String> {
        if sight.turn.is_multiple_of(EVERY) {
            self.end(sight)
        } else {
            Vec::new()
        }
    }

    fn end(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let mut found = Vec::new();
        for seen in &sight.chronicle.seen {
            let digest = invariant::digest(&seen.view);
            let first = self.digests.entry(seen.applied).or_insert(digest.clone());
            if *first != digest {
                found.push(format!(
                    "behind entry {} member {} holds other bytes than others did",
                    seen.applied, seen.id
                ));
            }
            let wrong = invariant::violations(&seen.view);
            found.extend(
                wrong
                    .into_iter()
                    .map(|wrong| format!("member {}: {wrong}", seen.id)),
            );
        }
        found
    }
}
