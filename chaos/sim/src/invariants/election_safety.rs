//! Election safety (Raft, figure 3): at most one leader in a term.

use super::{Invariant, Sight};
use std::collections::BTreeMap;

/// Who led each term.
#[derive(Debug, Default)]
pub(super) struct ElectionSafety {
    led: BTreeMap<u64, u64>,
}

impl Invariant for ElectionSafety {
    fn name(&self) -> &'static str {
        "election safety"
    }

    fn turn(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let leaders = sight.chronicle.seen.iter().filter(|seen| seen.says.leads);
        leaders
            .filter_map(|seen| {
                let first = *self.led.entry(seen.says.term).or_insert(seen.id);
                (first != seen.id).then(|| {
                    format!(
                        "members {first} and {} both led term {}",
                        seen.id, seen.says.term
                    )
                })
            })
            .collect()
    }
}
