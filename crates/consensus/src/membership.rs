//! Changes of membership. The records say who is to be a member ([`pontoon_state::records`]); whoever leads makes Raft's
//! configuration so, a step at a time ([`plan`]), and goes on where the last leader was. A record never gets a step that
//! would leave no voter, and nobody is taken for a member again who was removed.

mod plan;
mod standing;
mod transfer;

use crate::consensus::Consensus;
use crate::limits::{CAUGHT_UP_ENTRIES, HEARD_RECENTLY, MEMBERSHIP_DEADLINE, MEMBERSHIP_PERIOD};
use crate::types::Raft;
use openraft::async_runtime::WatchReceiver as _;
use openraft::impls::BasicNode;
use openraft::{ChangeMembers, Instant as _};
use plan::{Present, Situation, Step};
use pontoon_state::records;
use pontoon_state::{Leadership, Progress, Replica as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;
use tokio::sync::watch;

pub use standing::Standing;
pub(crate) use standing::{answer as standing_of, observe, removed};
use transfer::hand_over;
pub(crate) use transfer::{answer_progress, answer_transfer};

/// The membership was not changed, as far as this replica knows.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the membership could not be changed: {0}")]
pub struct MembershipError(String);

impl Consensus {
    /// Adds a member that gets the log but does not vote; returns when it has caught up. To be called at the leader, for
    /// clusters that keep no records of their members.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn add_learner(&self, id: u64, address: &str) -> Result<(), MembershipError> {
        let _turn = self.membership.lock().await;
        self.raft
            .add_learner(id, node(address), true)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Lets learners vote. To be called at the leader, as [`Consensus::add_learner`].
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn promote(&self, ids: BTreeSet<u64>) -> Result<(), MembershipError> {
        let _turn = self.membership.lock().await;
        self.change(ChangeMembers::AddVoterIds(ids)).await
    }

    /// Asks voter `id` to lead instead of this replica, and answers before it does. To be called at the leader.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn hand_over(&self, id: u64) -> Result<(), MembershipError> {
        self.raft
            .trigger()
            .transfer_leader(id)
            .await
            .map_err(failed)
    }

    /// Makes this replica a founding member of a new cluster. Every founder may be told the same.
    pub(crate) async fn found(
        &self,
        founders: &BTreeMap<u64, String>,
    ) -> Result<(), MembershipError> {
        let founders: BTreeMap<u64, BasicNode> = founders
            .iter()
            .map(|(id, address)| (*id, node(address)))
            .collect();
        self.raft.initialize(founders).await.map_err(failed)
    }

    async fn change(&self, change: ChangeMembers<u64, BasicNode>) -> Result<(), MembershipError> {
        self.raft
            .change_membership(change, false)
            .await
            .map_err(failed)?;
        Ok(())
    }

    fn situation(&self) -> Situation {
        let metrics = self.raft.server_metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let present = membership.nodes().map(|(id, node)| {
            let (address, voter) = (node.addr.clone(), voters.contains(id));
            (*id, Present { address, voter })
        });
        let last = self
            .raft
            .metrics()
            .borrow_watched()
            .last_log_index
            .unwrap_or(0);
        let near = |progress: &Progress| {
            progress.matched + CAUGHT_UP_ENTRIES >= last
                && progress.matched > 0
                && progress
                    .heard_ms
                    .is_none_or(|heard| heard <= HEARD_RECENTLY)
        };
        let known = progress(&self.raft).unwrap_or_default();
        Situation {
            me: self.node(),
            records: records::members(&self.feed.view()),
            joint: membership.get_joint_config().len() > 1,
            present: present.collect(),
            caught_up: known
                .iter()
                .filter(|known| near(known))
                .map(|known| known.id)
                .collect(),
        }
    }

    async fn take(&self, step: Step) -> Result<(), MembershipError> {
        let one = |id| BTreeSet::from([id]);
        let moved = |id, address: &str| BTreeMap::from([(id, node(address))]);
        match step {
            Step::Settle => {
                let metrics = self.raft.server_metrics().borrow_watched().clone();
                let membership = metrics.membership_config.membership();
                let wanted = membership
                    .get_joint_config()
                    .last()
                    .cloned()
                    .unwrap_or_default();
                self.change(ChangeMembers::ReplaceAllVoters(wanted)).await
            }
            Step::HandOver { to } => hand_over(&self.raft, self.node(), Some(to))
                .await
                .map(|_| ())
                .map_err(|error| MembershipError(error.to_string())),
            Step::RemoveVoter { id } => self.change(ChangeMembers::RemoveVoters(one(id))).await,
            Step::RemoveLearner { id } => self.change(ChangeMembers::RemoveNodes(one(id))).await,
            Step::Move { id, address } => {
                self.change(ChangeMembers::SetNodes(moved(id, &address)))
                    .await
            }
            Step::Add { id, address } => self
                .raft
                .add_learner(id, node(&address), false)
                .await
                .map(|_| ())
                .map_err(failed),
            Step::Promote { id } => self.change(ChangeMembers::AddVoterIds(one(id))).await,
        }
    }

    /// Takes the next step, if there is one; says whether everything is as wished.
    async fn pursue(&self) -> bool {
        let _turn = self.membership.lock().await;
        let situation = self.situation();
        let Some(step) = situation.next() else {
            return situation.is_settled();
        };
        tracing::info!(node = self.node(), ?step, "the membership changes");
        match tokio::time::timeout(MEMBERSHIP_DEADLINE, self.take(step.clone())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(?step, %error, "a step of the membership is tried again")
            }
            Err(_) => tracing::warn!(?step, "a step of the membership takes long"),
        }
        false
    }
}

/// Makes the membership what the records wish, while this replica leads. Ends with the replica.
pub(crate) async fn drive(consensus: Weak<Consensus>, mut leadership: watch::Receiver<Leadership>) {
    while leadership.wait_for(|known| known.ready).await.is_ok() {
        let Some(replica) = consensus.upgrade() else {
            return;
        };
        let revision = replica.view().revision();
        let settled = replica.pursue().await;
        let feed = replica.feed.clone();
        drop(replica);
        tokio::time::sleep(MEMBERSHIP_PERIOD).await;
        // With everything as wished, only another record changes that, or another leadership.
        if settled {
            tokio::select! {
                _ = feed.reached(revision.next()) => {}
                ended = leadership.changed() => if ended.is_err() { return },
            }
        }
    }
}

/// What this replica knows of the members, if it leads.
pub(crate) fn progress(raft: &Raft) -> Option<Vec<Progress>> {
    let metrics = raft.metrics().borrow_watched().clone();
    let (replication, heard) = (metrics.replication?, metrics.heartbeat.unwrap_or_default());
    let membership = metrics.membership_config.membership();
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let of = |id: &u64| {
        let matched = replication
            .get(id)
            .and_then(|at| at.as_ref().map(|at| at.index));
        let me = *id == metrics.id;
        let elapsed = heard
            .get(id)
            .and_then(|at| at.as_ref())
            .map(|at| at.elapsed());
        Progress {
            id: *id,
            matched: if me { metrics.last_log_index } else { matched }.unwrap_or(0),
            heard_ms: if me {
                Some(0)
            } else {
                elapsed.map(|elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
            },
            voter: voters.contains(id),
        }
    };
    Some(membership.nodes().map(|(id, _)| of(id)).collect())
}

fn node(address: &str) -> BasicNode {
    BasicNode {
        addr: address.to_owned(),
    }
}

fn failed(error: impl std::fmt::Display) -> MembershipError {
    MembershipError(error.to_string())
}
