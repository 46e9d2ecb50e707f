//! What replicas say to each other, inside the envelopes of `raft.v1`.
//!
//! Protobuf with fixed tags, apart from the durable form even where it reuses its parts.

use crate::durable::{At, DecodeError, EntryForm, ProposalForm, VoteForm, entry_form, entry_from};
use crate::types::{LogId, TypeConfig};
use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, TransferLeaderError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use prost::Message as _;

pub(crate) type AppendResult = Result<Option<LogId>, StreamAppendError<TypeConfig>>;

#[derive(Clone, PartialEq, prost::Message)]
struct Append {
    #[prost(message, optional, tag = "1")]
    vote: Option<VoteForm>,
    #[prost(message, optional, tag = "2")]
    previous: Option<At>,
    #[prost(message, optional, tag = "3")]
    committed: Option<At>,
    #[prost(message, repeated, tag = "4")]
    entries: Vec<AppendEntry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AppendEntry {
    #[prost(message, optional, tag = "1")]
    at: Option<At>,
    #[prost(message, optional, tag = "2")]
    entry: Option<EntryForm>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Appended {
    #[prost(oneof = "AppendedResult", tags = "1, 2, 3, 4")]
    result: Option<AppendedResult>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum AppendedResult {
    #[prost(message, tag = "1")]
    Matching(At),
    #[prost(bool, tag = "2")]
    MatchingNothing(bool),
    #[prost(message, tag = "3")]
    Conflict(At),
    #[prost(message, tag = "4")]
    HigherVote(VoteForm),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Ballot {
    #[prost(message, optional, tag = "1")]
    vote: Option<VoteForm>,
    #[prost(message, optional, tag = "2")]
    last: Option<At>,
    #[prost(bool, tag = "3")]
    transfer: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct BallotAnswer {
    #[prost(message, optional, tag = "1")]
    vote: Option<VoteForm>,
    #[prost(bool, tag = "2")]
    granted: bool,
    #[prost(message, optional, tag = "3")]
    last: Option<At>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Transfer {
    #[prost(message, optional, tag = "1")]
    from: Option<VoteForm>,
    #[prost(uint64, tag = "2")]
    to: u64,
    #[prost(message, optional, tag = "3")]
    last: Option<At>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TransferAnswer {
    /// Empty when it was accepted.
    #[prost(string, tag = "1")]
    refused: String,
    #[prost(message, optional, tag = "2")]
    expected_vote: Option<VoteForm>,
    #[prost(message, optional, tag = "3")]
    actual_vote: Option<VoteForm>,
    #[prost(message, optional, tag = "4")]
    expected_last: Option<At>,
    #[prost(message, optional, tag = "5")]
    actual_last: Option<At>,
}

/// The header of a snapshot.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SnapshotHeader {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<VoteForm>,
    /// `storage`'s manifest as JSON.
    #[prost(bytes = "bytes", tag = "2")]
    pub manifest: Bytes,
}

/// What a replica asks another, beside Raft's own messages.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Forward {
    #[prost(oneof = "Request", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub request: Option<Request>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Request {
    #[prost(message, tag = "1")]
    Propose(Propose),
    #[prost(bool, tag = "2")]
    ReadIndex(bool),
    /// The leader's question for a digest.
    #[prost(message, tag = "3")]
    Compare(Compare),
    /// What the leader found in the answers.
    #[prost(message, tag = "4")]
    Judgement(Judgement),
    /// Whether the sender may take part; true when its log is empty.
    #[prost(bool, tag = "5")]
    Standing(bool),
    /// What the leader knows of each member.
    #[prost(bool, tag = "6")]
    Progress(bool),
    /// To hand leadership to this member; zero for whichever is furthest.
    #[prost(uint64, tag = "7")]
    Transfer(u64),
}

/// Asks for the digest of the state at a revision.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Compare {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
}

/// What members hold at a revision.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Judgement {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// What is right; empty when nobody can tell.
    #[prost(bytes = "bytes", tag = "2")]
    pub digest: Bytes,
    #[prost(message, repeated, tag = "3")]
    pub reports: Vec<Report>,
}

/// What one member holds.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Report {
    #[prost(uint64, tag = "1")]
    pub member: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub digest: Bytes,
}

/// What the leader knows of the members.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Progresses {
    #[prost(message, repeated, tag = "1")]
    pub members: Vec<MemberProgress>,
}

/// What the leader knows of a member.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MemberProgress {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub matched: u64,
    #[prost(uint64, optional, tag = "3")]
    pub heard_ms: Option<u64>,
    #[prost(bool, tag = "4")]
    pub voter: bool,
}

/// A forwarded proposal.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Propose {
    #[prost(message, optional, tag = "1")]
    pub proposal: Option<ProposalForm>,
    /// To be taken only by the leader of this term: what another leadership makes of the log then tells
    /// whether it was done.
    #[prost(uint64, tag = "2")]
    pub term: u64,
}

/// What the leader answers.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Forwarded {
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub answer: Option<Answer>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Answer {
    /// The proposal is committed here.
    #[prost(message, tag = "1")]
    Committed(At),
    /// Reads at or behind this index are linearizable.
    #[prost(uint64, tag = "2")]
    ReadIndex(u64),
    /// Nothing was done: ask again, or another.
    #[prost(string, tag = "3")]
    Refused(String),
    /// It may have been done.
    #[prost(string, tag = "4")]
    Unknown(String),
    /// The digest of the state at the revision asked for.
    #[prost(bytes = "bytes", tag = "5")]
    Digest(Bytes),
    /// It is taken note of.
    #[prost(bool, tag = "6")]
    Noted(bool),
    /// The sender may take part.
    #[prost(bool, tag = "7")]
    Admitted(bool),
    #[prost(message, tag = "8")]
    Progress(Progresses),
    /// This member leads.
    #[prost(uint64, tag = "9")]
    Transferred(u64),
    /// It must not be, and asking again does not help.
    #[prost(string, tag = "10")]
    Declined(String),
}

fn required<T>(value: Option<T>, what: &str) -> Result<T, DecodeError> {
    value.ok_or_else(|| DecodeError(format!("a message without {what}")))
}

pub(crate) fn encode_append(request: &AppendEntriesRequest<TypeConfig>) -> Bytes {
    let entries = request.entries.iter();
    let message = Append {
        vote: Some(request.vote.into()),
        previous: request.prev_log_id.map(At::from),
        committed: request.leader_commit.map(At::from),
        entries: entries
            .map(|entry| AppendEntry {
                at: Some(entry.log_id.into()),
                entry: Some(entry_form(entry)),
            })
            .collect(),
    };
    message.encode_to_vec().into()
}

pub(crate) fn decode_append(bytes: Bytes) -> Result<AppendEntriesRequest<TypeConfig>, DecodeError> {
    let message = Append::decode(bytes)?;
    let entry = |entry: AppendEntry| {
        entry_from(
            required(entry.at, "an entry's position")?.into(),
            required(entry.entry, "an entry")?,
        )
    };
    Ok(AppendEntriesRequest {
        vote: required(message.vote, "a vote")?.into(),
        prev_log_id: message.previous.map(LogId::from),
        leader_commit: message.committed.map(LogId::from),
        entries: message
            .entries
            .into_iter()
            .map(entry)
            .collect::<Result<_, _>>()?,
    })
}

pub(crate) fn encode_appended(result: AppendResult) -> Bytes {
    let result = match result {
        Ok(Some(id)) => AppendedResult::Matching(id.into()),
        Ok(None) => AppendedResult::MatchingNothing(true),
        Err(StreamAppendError::Conflict(id)) => AppendedResult::Conflict(id.into()),
        Err(StreamAppendError::HigherVote(vote)) => AppendedResult::HigherVote(vote.into()),
    };
    Appended {
        result: Some(result),
    }
    .encode_to_vec()
    .into()
}

pub(crate) fn decode_appended(bytes: Bytes) -> Result<AppendResult, DecodeError> {
    Ok(
        match required(Appended::decode(bytes)?.result, "a result")? {
            AppendedResult::Matching(at) => Ok(Some(at.into())),
            AppendedResult::MatchingNothing(_) => Ok(None),
            AppendedResult::Conflict(at) => Err(StreamAppendError::Conflict(at.into())),
            AppendedResult::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote.into())),
        },
    )
}

pub(crate) fn encode_ballot(request: &VoteRequest<TypeConfig>) -> Bytes {
    let message = Ballot {
        vote: Some(request.vote.into()),
        last: request.last_log_id.map(At::from),
        transfer: request.leadership_transfer,
    };
    message.encode_to_vec().into()
}

pub(crate) fn decode_ballot(bytes: Bytes) -> Result<VoteRequest<TypeConfig>, DecodeError> {
    let message = Ballot::decode(bytes)?;
    let mut request = VoteRequest::new(
        required(message.vote, "a vote")?.into(),
        message.last.map(LogId::from),
    );
    request.leadership_transfer = message.transfer;
    Ok(request)
}

pub(crate) fn encode_ballot_answer(answer: &VoteResponse<TypeConfig>) -> Bytes {
    let message = BallotAnswer {
        vote: Some(answer.vote.into()),
        granted: answer.vote_granted,
        last: answer.last_log_id.map(At::from),
    };
    message.encode_to_vec().into()
}

pub(crate) fn decode_ballot_answer(bytes: Bytes) -> Result<VoteResponse<TypeConfig>, DecodeError> {
    let message = BallotAnswer::decode(bytes)?;
    let vote: crate::types::Vote = required(message.vote, "a vote")?.into();
    Ok(VoteResponse::new(
        vote,
        message.last.map(LogId::from),
        message.granted,
    ))
}

pub(crate) fn encode_transfer(request: &TransferLeaderRequest<TypeConfig>) -> Bytes {
    let message = Transfer {
        from: Some((*request.from_leader()).into()),
        to: *request.to_node_id(),
        last: request.last_log_id().copied().map(At::from),
    };
    message.encode_to_vec().into()
}

pub(crate) fn decode_transfer(
    bytes: Bytes,
) -> Result<TransferLeaderRequest<TypeConfig>, DecodeError> {
    let message = Transfer::decode(bytes)?;
    let from = required(message.from, "a vote")?.into();
    Ok(TransferLeaderRequest::new(
        from,
        message.to,
        message.last.map(LogId::from),
    ))
}

pub(crate) fn encode_transfer_answer(
    answer: &Result<(), TransferLeaderError<TypeConfig>>,
) -> Bytes {
    let message = match answer {
        Ok(()) => TransferAnswer::default(),
        Err(error @ TransferLeaderError::VoteChanged { expected, actual }) => TransferAnswer {
            refused: error.to_string(),
            expected_vote: Some((*expected).into()),
            actual_vote: Some((*actual).into()),
            ..TransferAnswer::default()
        },
        Err(error @ TransferLeaderError::LogNotFlushed { expected, actual }) => TransferAnswer {
            refused: error.to_string(),
            expected_last: expected.map(At::from),
            actual_last: actual.map(At::from),
            ..TransferAnswer::default()
        },
    };
    message.encode_to_vec().into()
}

pub(crate) fn decode_transfer_answer(
    bytes: Bytes,
) -> Result<Result<(), TransferLeaderError<TypeConfig>>, DecodeError> {
    let message = TransferAnswer::decode(bytes)?;
    if message.refused.is_empty() {
        return Ok(Ok(()));
    }
    Ok(Err(match (message.expected_vote, message.actual_vote) {
        (Some(expected), Some(actual)) => TransferLeaderError::VoteChanged {
            expected: expected.into(),
            actual: actual.into(),
        },
        _ => TransferLeaderError::LogNotFlushed {
            expected: message.expected_last.map(LogId::from),
            actual: message.actual_last.map(LogId::from),
        },
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::types::{LogEntry, Membership, Origin, Proposal, Vote};
    use openraft::EntryPayload;
    use openraft::impls::BasicNode;
    use std::collections::{BTreeMap, BTreeSet};

    fn at(term: u64, index: u64) -> LogId {
        LogId::new_term_index(term, index)
    }

    fn entries() -> Vec<LogEntry> {
        let joint = vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])];
        let members: BTreeMap<u64, BasicNode> = (1..=4)
            .map(|id| {
                (
                    id,
                    BasicNode {
                        addr: format!("host{id}:1"),
                    },
                )
            })
            .collect();
        let proposal = Proposal {
            origin: Origin {
                node: 3,
                token: u64::MAX,
            },
            command: Bytes::from_static(b"command"),
        };
        vec![
            LogEntry {
                log_id: at(1, 5),
                payload: EntryPayload::Blank,
            },
            LogEntry {
                log_id: at(1, 6),
                payload: EntryPayload::Normal(proposal),
            },
            LogEntry {
                log_id: at(2, 7),
                payload: EntryPayload::Membership(Membership::new(joint, members).unwrap()),
            },
        ]
    }

    #[test]
    fn appends_and_answers_are_read_as_they_were_written() {
        let request = AppendEntriesRequest {
            vote: Vote::new_committed(7, 2),
            prev_log_id: Some(at(1, 4)),
            entries: entries(),
            leader_commit: None,
        };
        let read = decode_append(encode_append(&request)).unwrap();
        assert_eq!(read.vote, request.vote);
        assert_eq!(read.prev_log_id, request.prev_log_id);
        assert_eq!(read.leader_commit, request.leader_commit);
        assert_eq!(read.entries, request.entries);
        for result in [
            Ok(None),
            Ok(Some(at(3, 4))),
            Err(StreamAppendError::Conflict(at(0, 0))),
            Err(StreamAppendError::HigherVote(Vote::new(9, 1))),
        ] {
            assert_eq!(
                decode_appended(encode_appended(result.clone())).unwrap(),
                result
            );
        }
    }

    #[test]
    fn ballots_and_transfers_are_read_as_they_were_written() {
        let mut ballot = VoteRequest::new(Vote::new(4, 2), Some(at(3, 9)));
        ballot.leadership_transfer = true;
        assert_eq!(decode_ballot(encode_ballot(&ballot)).unwrap(), ballot);
        let answer = VoteResponse::new(Vote::new(4, 2), None, true);
        assert_eq!(
            decode_ballot_answer(encode_ballot_answer(&answer)).unwrap(),
            answer
        );
        let transfer = TransferLeaderRequest::new(Vote::new_committed(4, 2), 3, Some(at(4, 1)));
        assert_eq!(
            decode_transfer(encode_transfer(&transfer)).unwrap(),
            transfer
        );
        let refused = Err(TransferLeaderError::LogNotFlushed {
            expected: Some(at(1, 1)),
            actual: None,
        });
        assert_eq!(
            decode_transfer_answer(encode_transfer_answer(&refused)).unwrap(),
            refused
        );
        assert_eq!(
            decode_transfer_answer(encode_transfer_answer(&Ok(()))).unwrap(),
            Ok(())
        );
    }

    #[test]
    fn garbage_is_an_error_and_nothing_worse() {
        for length in 0..64_u8 {
            let garbage = Bytes::from(
                (0..length)
                    .map(|byte| byte.wrapping_mul(37))
                    .collect::<Vec<u8>>(),
            );
            drop((
                decode_append(garbage.clone()),
                decode_appended(garbage.clone()),
                decode_ballot(garbage),
            ));
        }
        assert!(decode_append(Bytes::new()).is_err());
        assert!(decode_appended(Bytes::new()).is_err());
    }

    #[test]
    fn an_entry_of_an_unknown_kind_is_not_skipped() {
        assert!(entry_from(at(1, 1), EntryForm { content: None }).is_err());
    }

    #[test]
    fn a_proposal_shows_no_content_in_logs() {
        let text = format!("{:?}", entries()[1]);
        assert!(
            !text.contains("command:") && !text.contains("99, 111"),
            "{text}"
        );
    }
}
