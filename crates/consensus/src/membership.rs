//! Changes of membership, one at a time: two at once could leave a joint configuration behind.

use crate::consensus::Consensus;
use openraft::ChangeMembers;
use openraft::impls::BasicNode;
use std::collections::{BTreeMap, BTreeSet};

/// The membership was not changed, as far as this replica knows.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the membership could not be changed: {0}")]
pub struct MembershipError(String);

impl Consensus {
    /// Adds a member that gets the log but does not vote; returns when it has caught up. To be called at the leader.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn add_learner(&self, id: u64, address: &str) -> Result<(), MembershipError> {
        let _turn = self.membership.lock().await;
        let node = BasicNode {
            addr: address.to_owned(),
        };
        self.raft
            .add_learner(id, node, true)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Lets learners vote. To be called at the leader.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn promote(&self, ids: BTreeSet<u64>) -> Result<(), MembershipError> {
        let _turn = self.membership.lock().await;
        self.raft
            .change_membership(ChangeMembers::AddVoterIds(ids), false)
            .await
            .map_err(failed)?;
        Ok(())
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
            .map(|(id, address)| {
                (
                    *id,
                    BasicNode {
                        addr: address.clone(),
                    },
                )
            })
            .collect();
        self.raft.initialize(founders).await.map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> MembershipError {
    MembershipError(error.to_string())
}
