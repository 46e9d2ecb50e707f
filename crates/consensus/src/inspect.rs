//! What a replica says of itself, for simulation and the debug endpoint: nothing that its work depends on.

use crate::consensus::Consensus;
use crate::durable;
use openraft::async_runtime::WatchReceiver as _;
use pontoon_storage::Position;
use std::collections::BTreeSet;

/// Raft's state at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The present term.
    pub term: u64,
    /// The vote that is durable: its term, the candidate, and whether that one is known to lead.
    pub vote: (u64, u64, bool),
    /// Whether this replica leads.
    pub leads: bool,
    /// Whether it has applied an entry of its own term.
    pub ready: bool,
    /// Index of the last entry of its log.
    pub last_log: Option<u64>,
    /// The last entry that it knows to be committed and has.
    pub committed: Option<Position>,
    /// The last entry that it has applied.
    pub applied: Option<Position>,
    /// The last entry in its snapshot.
    pub snapshot: Option<Position>,
    /// The last entry that is gone from its log.
    pub purged: Option<Position>,
    /// The voters of the membership in force: two sets while it is joint.
    pub voters: Vec<BTreeSet<u64>>,
    /// Learners and voters.
    pub members: BTreeSet<u64>,
}

impl Consensus {
    /// What this replica says of itself.
    #[must_use]
    pub fn inspect(&self) -> Inspection {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let vote = &metrics.vote;
        Inspection {
            term: metrics.current_term,
            vote: (
                vote.leader_id.term,
                vote.leader_id.voted_for,
                vote.committed,
            ),
            leads: metrics.state.is_leader(),
            ready: self.leadership_now().ready,
            last_log: metrics.last_log_index,
            committed: metrics.local_committed.map(durable::position),
            applied: metrics.last_applied.map(durable::position),
            snapshot: metrics.snapshot.map(durable::position),
            purged: metrics.purged.map(durable::position),
            voters: membership.get_joint_config().clone(),
            members: membership.nodes().map(|(id, _)| *id).collect(),
        }
    }
}
