//! What a leader says is committed is durable at a majority of the voters, of both memberships while they are joint.

use super::{Invariant, Sight};
use crate::member::Member;
use pontoon_storage::Position;
use std::collections::{BTreeMap, BTreeSet};

/// The voters that each member saw in force in the turn before.
#[derive(Debug, Default)]
pub(super) struct CommittedOnQuorum {
    before: BTreeMap<u64, Vec<BTreeSet<u64>>>,
}

impl Invariant for CommittedOnQuorum {
    fn name(&self) -> &'static str {
        "committed on a quorum"
    }

    fn turn(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let mut found = Vec::new();
        for seen in &sight.chronicle.seen {
            let says = &seen.says;
            let voters = says.voters.clone();
            let before = self.before.insert(seen.id, voters).unwrap_or_default();
            let now = sight.chronicle.committed_now.iter();
            let now = now.filter(|(member, at)| {
                // Entry 0 is the founding membership, which every founder writes for itself.
                *member == seen.id && says.leads && at.index > 0
            });
            for (_, at) in now {
                // Within the turn the membership may have changed behind the commit.
                if quorum(sight.members, &says.voters, *at) || quorum(sight.members, &before, *at) {
                    continue;
                }
                found.push(format!(
                    "leader {} says that entry {} of term {} is committed: no majority of {:?} keeps it",
                    seen.id, at.index, at.term, says.voters
                ));
            }
        }
        found
    }
}

/// Whether a majority of each set keeps the entry; never of none.
fn quorum(members: &BTreeMap<u64, Member>, sets: &[BTreeSet<u64>], at: Position) -> bool {
    let keeps = |id: &&u64| members.get(id).is_some_and(|voter| voter.disk.keeps(at));
    let majority = |voters: &BTreeSet<u64>| voters.iter().filter(keeps).count() > voters.len() / 2;
    !sets.is_empty() && sets.iter().all(majority)
}
