//! Linearizable reads by read-index (Raft dissertation, section 6.4): no clock is trusted.
//!
//! The leader confirms with a majority that it still leads, and names the index that a read must have seen. Reads
//! that wait at the same time share one confirmation.

use crate::consensus::Consensus;
use crate::limits::{READ_DEADLINE, RETRY_PAUSE};
use crate::messages::{Answer, Request};
use crate::metrics;
use crate::propose::AskError;
use crate::types::Raft;
use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver as _;
use parking_lot::Mutex;
use pontoon_state::seeded::{self, Bug};
use pontoon_state::{ReadError, View};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// The index that a read at the leader must have seen; an error says why there is none.
pub(crate) async fn index(raft: &Raft) -> Result<u64, String> {
    if seeded::makes(Bug::UnconfirmedRead) {
        let applied = raft.metrics().borrow_watched().last_applied;
        return Ok(applied.map_or(0, |at| at.index));
    }
    match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
        Ok(linearizer) => Ok(linearizer.read_log_id().index()),
        Err(error) => Err(error.to_string()),
    }
}

/// Lets reads share confirmations: a read may use one that began after the read did.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    begun: AtomicU64,
    round: tokio::sync::Mutex<()>,
    /// The last confirmation: its number and index.
    confirmed: Mutex<(u64, u64)>,
}

impl Gate {
    async fn pass<E>(&self, confirm: impl AsyncFnOnce() -> Result<u64, E>) -> Result<u64, E> {
        let mistake = u64::from(seeded::makes(Bug::SharedConfirmation));
        let wanted = self.begun.load(Ordering::Acquire) + 1 - mistake;
        let turn = self.round.lock().await;
        let (number, index) = *self.confirmed.lock();
        if number >= wanted {
            return Ok(index);
        }
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let index = confirm().await?;
        *self.confirmed.lock() = (number, index);
        drop(turn);
        Ok(index)
    }
}

impl Consensus {
    pub(crate) async fn read_view(&self) -> Result<Arc<View>, ReadError> {
        let begun = Instant::now();
        let deadline = begun + READ_DEADLINE;
        let result = loop {
            if let Some(trouble) = self.agreement.diverged() {
                break Err(ReadError(trouble));
            }
            let asked = tokio::time::timeout_at(
                deadline,
                self.gate.pass(async || self.read_index(deadline).await),
            )
            .await;
            let reason = match asked {
                Ok(Ok(index)) => break self.applied_view(index, deadline).await,
                Ok(Err(reason)) => reason,
                Err(_) => "the leader did not confirm in time".to_owned(),
            };
            if Instant::now() >= deadline || self.is_closing() {
                break Err(ReadError(reason));
            }
            self.leader_may_have_changed(RETRY_PAUSE).await;
        };
        ::metrics::histogram!(metrics::READ_SECONDS).record(begun.elapsed());
        result
    }

    async fn read_index(&self, deadline: Instant) -> Result<u64, String> {
        match self.leadership_now().leader {
            _ if seeded::makes(Bug::FollowerRead) => Ok(0),
            None => Err("no leader is known".into()),
            Some(leader) if leader == self.node() => index(&self.raft).await,
            Some(leader) => match self.ask(leader, Request::ReadIndex(true), deadline).await {
                Ok(Answer::ReadIndex(index)) => Ok(index),
                Ok(Answer::Refused(reason) | Answer::Unknown(reason)) => Err(reason),
                Ok(_) => Err("the leader answered another question".into()),
                Err(AskError::NotSent(reason) | AskError::Lost(reason)) => Err(reason),
            },
        }
    }

    async fn applied_view(&self, index: u64, deadline: Instant) -> Result<Arc<View>, ReadError> {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|progress| progress.index >= index);
        match tokio::time::timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(self.feed.view()),
            Ok(Err(_)) => Err(ReadError("the replica is closing".into())),
            Err(_) => Err(ReadError(format!(
                "entry {index} was not applied here in time"
            ))),
        }
    }
}
