//! Proposing: here where this replica leads, else through the leader.
//!
//! A proposal is sent again only when it was certainly not done. Where its fate is not known, the log tells: only the
//! leader of one term may take it, its entry is applied here too if it was committed, and is not to come any more once an
//! entry of a later term is applied. If neither is seen in time, the outcome is indeterminate.

use crate::consensus::Consensus;
use crate::durable::At;
use crate::limits::{PROPOSE_DEADLINE, RETRY_PAUSE};
use crate::messages::{Answer, Forward, Forwarded, Propose, Request};
use crate::metrics;
use crate::peers::Lane;
use crate::types::{Proposal, Raft};
use crate::waiters::Waiter;
use bytes::Bytes;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use pontoon_state::limits::TRANSACTION_BYTES;
use pontoon_state::seeded::{self, Bug};
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

/// Proposes at this replica, which should be the leader of `term`. In another term nothing is done.
pub(crate) async fn lead(raft: &Raft, proposal: Proposal, term: u64) -> Result<Led, LeadError> {
    let (responder, answered) = ProgressResponder::complete_only();
    let write = raft.write(proposal).with_leader(term).responder(responder);
    if let Err(fatal) = write.await {
        return Err(LeadError::Unknown(fatal.to_string()));
    }
    match answered.await {
        Ok(Ok(done)) => Ok(Led {
            term: done.log_id.leader_id.term,
            index: done.log_id.index,
            outcome: done.data.0,
        }),
        Ok(Err(ClientWriteError::ForwardToLeader(elsewhere))) => {
            Err(LeadError::NotDone(elsewhere.to_string()))
        }
        Ok(Err(error)) => Err(LeadError::Unknown(error.to_string())),
        Err(_) => Err(LeadError::Unknown("Raft has stopped".into())),
    }
}

enum Attempt {
    Done(Outcome),
    /// Not done, for this reason; worth another try.
    Again(String),
    /// Perhaps done, under the leadership of this term: only the log can tell.
    Unknown(String, u64),
    /// Decided, and the log will not tell here how.
    Hidden(String),
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
            if let Some(trouble) = self.agreement.diverged() {
                return Err(ProposeError::Unavailable(trouble));
            }
            let mut attempt = self.attempt(&proposal, &mut waiter, deadline).await;
            if let Attempt::Unknown(reason, term) = attempt {
                attempt = self.settle(&mut waiter, reason, term, deadline).await;
            }
            if let Attempt::Unknown(reason, _) = &attempt
                && seeded::makes(Bug::RetryUnknown)
            {
                attempt = Attempt::Again(reason.clone());
            }
            let reason = match attempt {
                Attempt::Done(outcome) => return Ok(outcome),
                Attempt::Unknown(reason, _) | Attempt::Hidden(reason) => {
                    return Err(ProposeError::Indeterminate(reason));
                }
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
        let term = leadership.term.0;
        let Some(leader) = leadership.leader else {
            return Attempt::Again("no leader is known".into());
        };
        if leader != self.node() {
            return self.forward(leader, term, proposal, waiter, deadline).await;
        }
        if let Err(full) = self.space.check(leader) {
            return Attempt::Again(full.to_string());
        }
        if seeded::makes(Bug::AckBeforeCommit) {
            let (raft, proposal) = (self.raft.clone(), proposal.clone());
            tokio::spawn(async move { lead(&raft, proposal, term).await.is_ok() });
            return Attempt::Done(Outcome::Committed {
                revision: self.feed.view().revision().next(),
                objects: Vec::new(),
            });
        }
        tokio::select! {
            led = lead(&self.raft, proposal.clone(), term) => match led {
                Ok(led) => {
                    record(led.term, led.index);
                    match led.outcome {
                        Some(outcome) => Attempt::Done(outcome),
                        None => Attempt::Unknown("the entry came back without an outcome".into(), term),
                    }
                }
                Err(LeadError::NotDone(reason)) => Attempt::Again(reason),
                Err(LeadError::Unknown(reason)) => Attempt::Unknown(reason, term),
            },
            // A leader cut off from its majority gets no answer until it is heard again.
            () = self.outlived(term, deadline) => Attempt::Unknown("no majority confirmed it".into(), term),
        }
    }

    async fn forward(
        &self,
        leader: u64,
        term: u64,
        proposal: &Proposal,
        waiter: &mut Waiter,
        deadline: Instant,
    ) -> Attempt {
        let request = Request::Propose(Propose {
            proposal: Some(proposal.into()),
            term,
        });
        tokio::select! {
            // Applied here before the leader's reply arrived.
            Ok(outcome) = &mut waiter.outcome => Attempt::Done(outcome),
            answer = self.ask(leader, request, deadline) => match answer {
                Err(AskError::NotSent(reason)) => Attempt::Again(reason),
                Err(AskError::Lost(reason)) => Attempt::Unknown(reason, term),
                Ok(Answer::Refused(reason)) => Attempt::Again(reason),
                Ok(Answer::Unknown(reason)) => Attempt::Unknown(reason, term),
                Ok(Answer::Committed(at)) => {
                    record(at.term, at.index);
                    self.committed(at, waiter, deadline).await
                }
                Ok(_) => Attempt::Unknown("the leader answered another question".into(), term),
            },
            () = self.outlived(term, deadline) => Attempt::Unknown("the leader did not answer".into(), term),
        }
    }

    /// The proposal is entry `at`, which is committed: its outcome is told when it is applied here, unless a snapshot
    /// brings it.
    async fn committed(&self, at: At, waiter: &mut Waiter, deadline: Instant) -> Attempt {
        let mut progress = self.progress.clone();
        let applied = progress.wait_for(|progress| progress.index >= at.index);
        // Either way the outcome is there or does not come any more in time.
        let _ = tokio::time::timeout_at(deadline, applied).await;
        match waiter.outcome.try_recv() {
            Ok(outcome) => Attempt::Done(outcome),
            Err(_) => Attempt::Hidden("it is committed, and its outcome was not seen here".into()),
        }
    }

    /// Waits for the log to tell what became of a proposal that only the leader of `term` could take.
    ///
    /// Terms never go down along the log: once an entry of a later one is applied here, what the leader of `term`
    /// appended is either applied here as well, or never will be anywhere.
    async fn settle(
        &self,
        waiter: &mut Waiter,
        reason: String,
        term: u64,
        deadline: Instant,
    ) -> Attempt {
        tokio::select! {
            Ok(outcome) = &mut waiter.outcome => return Attempt::Done(outcome),
            () = self.closed() => {}
            () = self.outlived(term, deadline) => {}
        }
        // Read before the outcome: outcomes are told before progress is.
        let outlived = self.progress.borrow().term > term;
        match waiter.outcome.try_recv() {
            Ok(outcome) => Attempt::Done(outcome),
            Err(_) if outlived && (!waiter.is_obscured() || seeded::makes(Bug::RetryObscured)) => {
                Attempt::Again(reason)
            }
            Err(_) => Attempt::Unknown(reason, term),
        }
    }

    /// Waits until an entry of a later term than `term` is applied here, or the deadline.
    async fn outlived(&self, term: u64, deadline: Instant) {
        let mut progress = self.progress.clone();
        let passed = progress.wait_for(|progress| progress.term > term);
        // Whoever waits looks for itself what it was.
        let _ = tokio::time::timeout_at(deadline, passed).await;
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
        self.ask_at(leader, &address, request, deadline).await
    }

    /// Asks the member at an address something.
    pub(crate) async fn ask_at(
        &self,
        member: u64,
        address: &str,
        request: Request,
        deadline: Instant,
    ) -> Result<Answer, AskError> {
        let client = self.peers.client(member, address, Lane::Log);
        let mut client = tokio::time::timeout_at(deadline, client)
            .await
            .map_err(|_| AskError::NotSent(format!("{address} does not answer")))?
            .map_err(|error| AskError::NotSent(error.to_string()))?;
        let body = Forward {
            request: Some(request),
        }
        .encode_to_vec();
        let call = client.forward(self.peers.envelope(member, body.into()));
        let answer = tokio::time::timeout_at(deadline, call).await;
        let answer =
            answer.map_err(|_| AskError::Lost("the leader did not answer in time".into()))?;
        let envelope = answer.map_err(|status| {
            self.peers.forget(member, Lane::Log);
            if was_not_sent(&status) {
                AskError::NotSent(status.to_string())
            } else {
                AskError::Lost(status.to_string())
            }
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

/// Whether a call failed because no connection could be made for it.
fn was_not_sent(status: &tonic::Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn record(term: u64, index: u64) {
    tracing::Span::current()
        .record("term", term)
        .record("index", index);
}
