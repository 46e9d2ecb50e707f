//! Proposing: here where this replica leads, else through the leader.
//!
//! A proposal is sent again only when it was certainly not done. Where its fate is not known, the log tells: its entry is
//! applied here too if it was committed; if that is not seen in time, the outcome is indeterminate.

use crate::consensus::Consensus;
use crate::limits::{PROPOSE_DEADLINE, RETRY_PAUSE};
use crate::messages::{Answer, Forward, Forwarded, Request};
use crate::metrics;
use crate::peers::Lane;
use crate::types::{Proposal, Raft};
use crate::waiters::Waiter;
use bytes::Bytes;
use openraft::errors::{ClientWriteError, RaftError};
use pontoon_state::limits::TRANSACTION_BYTES;
use pontoon_state::{Command, Outcome, ProposeError};
use prost::Message as _;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Instrument as _;

/// What a leader made of a proposal.
pub(crate) struct Led {
    pub term: u64,
    pub index: u64,
    /// Its outcome.
    pub outcome: Option<Outcome>,
}

/// A leader gave no outcome.
pub(crate) enum LeadError {
    /// Certainly not done.
    NotDone(String),
    /// Perhaps done.
    Unknown(String),
}

/// Proposes at this replica, which should be the leader.
pub(crate) async fn lead(raft: &Raft, proposal: Proposal) -> Result<Led, LeadError> {
    match raft.client_write(proposal).await {
        Ok(done) => Ok(Led {
            term: done.log_id.leader_id.term,
            index: done.log_id.index,
            outcome: done.data.0,
        }),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(elsewhere))) => {
            Err(LeadError::NotDone(elsewhere.to_string()))
        }
        Err(error) => Err(LeadError::Unknown(error.to_string())),
    }
}

enum Attempt {
    Done(Outcome),
    /// Not done, for this reason; worth another try.
    Again(String),
    /// Perhaps done: only the log can tell.
    Unknown(String),
}

impl Consensus {
    pub(crate) async fn propose_command(&self, command: Command) -> Result<Outcome, ProposeError> {
        let bytes = command.encode();
        let span = tracing::info_span!(
            "propose",
            node = self.node(),
            bytes = bytes.len(),
            term = tracing::field::Empty,
            index = tracing::field::Empty
        );
        if let Command::Transact(transaction) = &command {
            pontoon_telemetry::trace::adopt(&span, &transaction.trace);
        }
        drop(command);
        let begun = Instant::now();
        let result = self.propose_bytes(bytes).instrument(span).await;
        ::metrics::histogram!(metrics::PROPOSE_SECONDS).record(begun.elapsed());
        let label = match &result {
            Ok(_) => "done",
            Err(ProposeError::Unavailable(_)) => "unavailable",
            Err(ProposeError::Indeterminate(_)) => "indeterminate",
            Err(ProposeError::TooLarge { .. }) => "too_large",
        };
        ::metrics::counter!(metrics::PROPOSALS, "result" => label).increment(1);
        result
    }

    async fn propose_bytes(&self, command: Bytes) -> Result<Outcome, ProposeError> {
        if command.len() > TRANSACTION_BYTES {
            return Err(ProposeError::TooLarge {
                size: command.len(),
                limit: TRANSACTION_BYTES,
            });
        }
        let Some(mut waiter) = self.waiters.register() else {
            return Err(ProposeError::Unavailable(
                "too many proposals wait for their outcome".into(),
            ));
        };
        let proposal = Proposal {
            origin: waiter.origin,
            command,
        };
        let deadline = Instant::now() + PROPOSE_DEADLINE;
        loop {
            let reason = match self.attempt(&proposal, &mut waiter, deadline).await {
                Attempt::Done(outcome) => return Ok(outcome),
                Attempt::Unknown(reason) => return self.await_log(waiter, deadline, reason).await,
                Attempt::Again(reason) => reason,
            };
            if Instant::now() >= deadline || self.is_closing() {
                return Err(ProposeError::Unavailable(reason));
            }
            self.leader_may_have_changed(RETRY_PAUSE).await;
        }
    }

    async fn attempt(
        &self,
        proposal: &Proposal,
        waiter: &mut Waiter,
        deadline: Instant,
    ) -> Attempt {
        let leadership = self.leadership_now();
        match leadership.leader {
            None => Attempt::Again("no leader is known".into()),
            Some(leader) if leader == self.node() => {
                if let Err(full) = self.space.check(leader) {
                    return Attempt::Again(full.to_string());
                }
                // Raft answers or fails; a leader cut off from its majority answers only when it is heard again.
                match tokio::time::timeout_at(deadline, lead(&self.raft, proposal.clone())).await {
                    Ok(Ok(led)) => {
                        record(led.term, led.index);
                        match led.outcome {
                            Some(outcome) => Attempt::Done(outcome),
                            None => {
                                Attempt::Unknown("the entry came back without an outcome".into())
                            }
                        }
                    }
                    Ok(Err(LeadError::NotDone(reason))) => Attempt::Again(reason),
                    Ok(Err(LeadError::Unknown(reason))) => Attempt::Unknown(reason),
                    Err(_) => Attempt::Unknown("no majority confirmed it in time".into()),
                }
            }
            Some(leader) => self.forward(leader, proposal, waiter, deadline).await,
        }
    }

    async fn forward(
        &self,
        leader: u64,
        proposal: &Proposal,
        waiter: &mut Waiter,
        deadline: Instant,
    ) -> Attempt {
        let request = Request::Propose(proposal.into());
        tokio::select! {
            // Applied here before the leader's reply arrived.
            Ok(outcome) = &mut waiter.outcome => Attempt::Done(outcome),
            answer = self.ask(leader, request, deadline) => match answer {
                Err(AskError::NotSent(reason)) => Attempt::Again(reason),
                Err(AskError::Lost(reason)) => Attempt::Unknown(reason),
                Ok(Answer::Refused(reason)) => Attempt::Again(reason),
                Ok(Answer::Unknown(reason)) => Attempt::Unknown(reason),
                Ok(Answer::ReadIndex(_)) => Attempt::Unknown("the leader answered another question".into()),
                Ok(Answer::Committed(at)) => {
                    record(at.term, at.index);
                    Attempt::Unknown("it is committed, and was not applied here in time".into())
                }
            },
        }
    }

    /// Waits for the entry to be applied here.
    async fn await_log(
        &self,
        mut waiter: Waiter,
        deadline: Instant,
        reason: String,
    ) -> Result<Outcome, ProposeError> {
        tokio::select! {
            Ok(outcome) = &mut waiter.outcome => Ok(outcome),
            () = self.closed() => Err(ProposeError::Indeterminate(reason)),
            () = tokio::time::sleep_until(deadline) => Err(ProposeError::Indeterminate(reason)),
        }
    }

    /// Asks the leader something.
    pub(crate) async fn ask(
        &self,
        leader: u64,
        request: Request,
        deadline: Instant,
    ) -> Result<Answer, AskError> {
        let Some(address) = self.address_of(leader) else {
            return Err(AskError::NotSent(format!(
                "the address of member {leader} is not known"
            )));
        };
        let mut client = self
            .peers
            .client(leader, &address, Lane::Log)
            .await
            .map_err(|error| AskError::NotSent(error.to_string()))?;
        let body = Forward {
            request: Some(request),
        }
        .encode_to_vec();
        let call = client.forward(self.peers.envelope(leader, body.into()));
        let answer = tokio::time::timeout_at(deadline, call).await;
        let answer =
            answer.map_err(|_| AskError::Lost("the leader did not answer in time".into()))?;
        let envelope = answer.map_err(|status| {
            self.peers.forget(leader, Lane::Log);
            AskError::Lost(status.to_string())
        })?;
        let answered = Forwarded::decode(envelope.into_inner().body);
        answered
            .map_err(|error| AskError::Lost(error.to_string()))?
            .answer
            .ok_or_else(|| AskError::Lost("the leader's answer is empty".into()))
    }

    /// Waits until who leads changes, at most for `pause`.
    pub(crate) async fn leader_may_have_changed(&self, pause: Duration) {
        let mut leadership = self.leadership.clone();
        leadership.borrow_and_update();
        // Either way it is time to look again.
        let _ = tokio::time::timeout(pause, leadership.changed()).await;
    }
}

/// The leader was asked in vain.
pub(crate) enum AskError {
    /// Nothing reached it.
    NotSent(String),
    /// It may have been done.
    Lost(String),
}

fn record(term: u64, index: u64) {
    tracing::Span::current()
        .record("term", term)
        .record("index", index);
}
