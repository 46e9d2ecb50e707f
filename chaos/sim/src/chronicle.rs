//! What is known of a run from all members together: entries, which of them are committed, and what each revision
//! changed. Invariants compare members with it.

use crate::history::writer;
use crate::member::Member;
use pontoon_api::Revision;
use pontoon_consensus::Inspection;
use pontoon_state::{ChangeSet, Replica as _, View, Watch};
use pontoon_storage::Position;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An entry that some member appended.
#[derive(Debug, Clone)]
pub struct Entry {
    /// CRC-32C and length of its content.
    pub sum: (u32, usize),
    /// The term of the entry before it, where known.
    pub before: Option<u64>,
    /// The client operation that it carries.
    pub operation: Option<u64>,
}

/// What one revision changed: names, and who wrote them; `None` for a removal.
pub type Changed = Vec<(String, Option<u64>)>;

/// A change set that a watch delivered.
#[derive(Debug)]
pub struct Delivered {
    /// The member.
    pub member: u64,
    /// The watch's place before.
    pub after: u64,
    /// The revision.
    pub revision: u64,
    /// What it changed.
    pub changed: Changed,
}

/// A member at the end of a turn.
#[derive(Debug)]
pub struct Seen {
    /// Its id.
    pub id: u64,
    /// Which of its lives.
    pub life: u64,
    /// What it says.
    pub says: Inspection,
    /// What it has applied.
    pub view: Arc<View>,
    /// The index it has applied, as its port says.
    pub applied: u64,
}

/// The chronicle of a run.
#[derive(Debug, Default)]
pub struct Chronicle {
    /// Every entry ever appended, by index and term.
    pub entries: BTreeMap<(u64, u64), Entry>,
    /// Entries appended in this turn: member, position, and their content's sum.
    pub appended: Vec<(u64, Position, Entry)>,
    /// The term of each committed entry, as first said.
    pub committed: BTreeMap<u64, u64>,
    /// What members said for the first time to be committed in this turn.
    pub committed_now: Vec<(u64, Position)>,
    /// What each revision changed, as first delivered.
    pub revisions: BTreeMap<u64, Changed>,
    /// What watches delivered in this turn.
    pub delivered: Vec<Delivered>,
    /// Members that are open, at the end of this turn.
    pub seen: Vec<Seen>,
    reached: BTreeMap<u64, (u64, u64)>,
    watches: BTreeMap<u64, (u64, u64, Watch)>,
    begun: u64,
}

impl Chronicle {
    /// Takes in what happened in a turn.
    pub fn turn(&mut self, members: &BTreeMap<u64, Member>) {
        self.appended.clear();
        self.committed_now.clear();
        self.delivered.clear();
        self.seen.clear();
        for member in members.values() {
            for appended in member.disk.appended() {
                let entry = Entry {
                    sum: (crc32c::crc32c(&appended.payload), appended.payload.len()),
                    before: appended.before,
                    operation: writer(&appended.payload),
                };
                let at = appended.position;
                self.entries
                    .entry((at.index, at.term))
                    .or_insert_with(|| entry.clone());
                self.appended.push((member.id, at, entry));
            }
            let Some(replica) = member.replica() else {
                self.watches.remove(&member.id);
                continue;
            };
            let seen = Seen {
                id: member.id,
                life: member.lives,
                says: replica.inspect(),
                view: replica.view(),
                applied: replica.applied_index(),
            };
            self.commits(member, &seen);
            self.watch(member, &seen.view, |after| replica.watch(after).ok());
            self.seen.push(seen);
        }
    }

    /// Those in the membership that the newest leader knows; empty before there is one.
    pub fn membership(&self) -> BTreeSet<u64> {
        let leaders = self.seen.iter().filter(|seen| seen.says.leads);
        let leader = leaders.max_by_key(|seen| seen.says.term);
        leader.map_or_else(BTreeSet::new, |leader| leader.says.members.clone())
    }

    fn commits(&mut self, member: &Member, seen: &Seen) {
        let Some(committed) = seen.says.committed else {
            return;
        };
        let (life, reached) = self.reached.get(&member.id).copied().unwrap_or_default();
        let from = if life == member.lives { reached + 1 } else { 0 };
        for index in from..=committed.index {
            if let Some(term) = member.disk.entry_term(index) {
                let at = Position { term, index };
                self.committed.entry(index).or_insert(term);
                self.committed_now.push((member.id, at));
            }
        }
        let reached = (member.lives, committed.index);
        self.reached.insert(member.id, reached);
    }

    fn watch(
        &mut self,
        member: &Member,
        view: &View,
        begin: impl FnOnce(Revision) -> Option<Watch>,
    ) {
        let running = self
            .watches
            .remove(&member.id)
            .filter(|(life, _, _)| *life == member.lives);
        let (life, mut place, mut watch) = match running {
            Some(running) => running,
            None => {
                // Somewhere in what is kept: every place must do.
                let (oldest, newest) = (view.compacted().0, view.revision().0);
                self.begun += 1;
                let back = self.begun.wrapping_mul(7) % (newest - oldest + 1);
                let after = newest - back;
                let Some(watch) = begin(Revision(after)) else {
                    return;
                };
                (member.lives, after, watch)
            }
        };
        loop {
            match watch.poll() {
                Ok(Some(sets)) => {
                    for set in sets {
                        let changed = changed(&set);
                        let revision = set.revision.0;
                        self.revisions
                            .entry(revision)
                            .or_insert_with(|| changed.clone());
                        self.delivered.push(Delivered {
                            member: member.id,
                            after: place,
                            revision,
                            changed,
                        });
                        place = revision;
                    }
                }
                Ok(None) => break,
                // It is begun anew in the next turn.
                Err(_) => return,
            }
        }
        self.watches.insert(member.id, (life, place, watch));
    }
}

fn changed(set: &ChangeSet) -> Changed {
    set.changes
        .iter()
        .map(|change| {
            let by = change.after.as_ref().map(|object| writer(&object.json));
            (change.object().key.name.to_string(), by.flatten())
        })
        .collect()
}
