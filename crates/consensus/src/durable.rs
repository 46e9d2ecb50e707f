//! The durable form of what consensus itself writes: votes, entries, and what is applied.
//!
//! Protobuf with fixed tags; a tag is never reused. An entry of a kind that this program does not know
//! stops the replica, since skipping it would diverge.

use crate::types::{LogEntry, LogId, Membership, Origin, Proposal, StoredMembership, Vote};
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::impls::BasicNode;
use pontoon_storage::{Position, Record};
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};

/// Stored or received bytes are not what this program writes.
#[derive(Debug, Clone, thiserror::Error)]
#[error("not understood: {0}")]
pub struct DecodeError(pub String);

impl From<prost::DecodeError> for DecodeError {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}

impl From<DecodeError> for std::io::Error {
    fn from(error: DecodeError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// A position of the log.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct At {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

/// A vote.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct VoteForm {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub node: u64,
    #[prost(bool, tag = "3")]
    pub committed: bool,
}

/// One log entry's content.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EntryForm {
    #[prost(oneof = "Content", tags = "1, 2, 3")]
    pub content: Option<Content>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Content {
    #[prost(bool, tag = "1")]
    Blank(bool),
    #[prost(message, tag = "2")]
    Normal(ProposalForm),
    #[prost(message, tag = "3")]
    Membership(MembershipForm),
}

/// A proposal.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ProposalForm {
    #[prost(uint64, tag = "1")]
    pub node: u64,
    #[prost(fixed64, tag = "2")]
    pub token: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub command: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MembershipForm {
    /// One configuration, two while they are joint.
    #[prost(message, repeated, tag = "1")]
    pub configs: Vec<VotersForm>,
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<MemberForm>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct VotersForm {
    #[prost(uint64, repeated, tag = "1")]
    pub ids: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MemberForm {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub address: String,
}

/// What the state says it has applied.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AppliedForm {
    #[prost(message, optional, tag = "1")]
    pub last: Option<At>,
    #[prost(message, optional, tag = "2")]
    pub membership_at: Option<At>,
    #[prost(message, optional, tag = "3")]
    pub membership: Option<MembershipForm>,
}

impl From<LogId> for At {
    fn from(id: LogId) -> Self {
        Self {
            term: id.leader_id.term,
            index: id.index,
        }
    }
}

impl From<At> for LogId {
    fn from(at: At) -> Self {
        Self::new_term_index(at.term, at.index)
    }
}

impl From<Vote> for VoteForm {
    fn from(vote: Vote) -> Self {
        Self {
            term: vote.leader_id.term,
            node: vote.leader_id.voted_for,
            committed: vote.committed,
        }
    }
}

impl From<VoteForm> for Vote {
    fn from(form: VoteForm) -> Self {
        if form.committed {
            Self::new_committed(form.term, form.node)
        } else {
            Self::new(form.term, form.node)
        }
    }
}

impl From<&Proposal> for ProposalForm {
    fn from(proposal: &Proposal) -> Self {
        Self {
            node: proposal.origin.node,
            token: proposal.origin.token,
            command: proposal.command.clone(),
        }
    }
}

impl From<ProposalForm> for Proposal {
    fn from(form: ProposalForm) -> Self {
        Self {
            origin: Origin {
                node: form.node,
                token: form.token,
            },
            command: form.command,
        }
    }
}

pub(crate) fn position(id: LogId) -> Position {
    Position {
        term: id.leader_id.term,
        index: id.index,
    }
}

pub(crate) fn log_id(position: Position) -> LogId {
    LogId::new_term_index(position.term, position.index)
}

pub(crate) fn encode_vote(vote: Vote) -> Vec<u8> {
    VoteForm::from(vote).encode_to_vec()
}

pub(crate) fn decode_vote(bytes: &[u8]) -> Result<Vote, DecodeError> {
    Ok(VoteForm::decode(bytes)?.into())
}

fn encode_membership(membership: &Membership) -> MembershipForm {
    let configs = membership.get_joint_config().iter();
    let members = membership.nodes().map(|(id, node)| MemberForm {
        id: *id,
        address: node.addr.clone(),
    });
    MembershipForm {
        configs: configs
            .map(|voters| VotersForm {
                ids: voters.iter().copied().collect(),
            })
            .collect(),
        members: members.collect(),
    }
}

fn decode_membership(form: MembershipForm) -> Result<Membership, DecodeError> {
    if form.configs.is_empty() {
        return Ok(Membership::default());
    }
    let configs: Vec<BTreeSet<u64>> = form
        .configs
        .into_iter()
        .map(|voters| voters.ids.into_iter().collect())
        .collect();
    let members: BTreeMap<u64, BasicNode> = form
        .members
        .into_iter()
        .map(|member| {
            (
                member.id,
                BasicNode {
                    addr: member.address,
                },
            )
        })
        .collect();
    Membership::new(configs, members).map_err(|error| DecodeError(error.to_string()))
}

pub(crate) fn entry_form(entry: &LogEntry) -> EntryForm {
    let content = match &entry.payload {
        EntryPayload::Blank => Content::Blank(true),
        EntryPayload::Normal(proposal) => Content::Normal(proposal.into()),
        EntryPayload::Membership(membership) => Content::Membership(encode_membership(membership)),
    };
    EntryForm {
        content: Some(content),
    }
}

pub(crate) fn entry_from(id: LogId, form: EntryForm) -> Result<LogEntry, DecodeError> {
    let payload = match form.content {
        Some(Content::Blank(_)) => EntryPayload::Blank,
        Some(Content::Normal(proposal)) => EntryPayload::Normal(proposal.into()),
        Some(Content::Membership(membership)) => {
            EntryPayload::Membership(decode_membership(membership)?)
        }
        None => {
            return Err(DecodeError(format!(
                "entry {id} is of a kind this version does not know"
            )));
        }
    };
    Ok(LogEntry {
        log_id: id,
        payload,
    })
}

pub(crate) fn encode_entry(entry: &LogEntry) -> Record {
    Record {
        position: position(entry.log_id),
        payload: entry_form(entry).encode_to_vec().into(),
    }
}

pub(crate) fn decode_entry(record: Record) -> Result<LogEntry, DecodeError> {
    entry_from(log_id(record.position), EntryForm::decode(record.payload)?)
}

pub(crate) fn encode_applied(last: Option<LogId>, membership: &StoredMembership) -> Bytes {
    let form = AppliedForm {
        last: last.map(At::from),
        membership_at: membership.log_id().map(At::from),
        membership: Some(encode_membership(membership.membership())),
    };
    form.encode_to_vec().into()
}

pub(crate) fn decode_applied(
    bytes: &[u8],
) -> Result<(Option<LogId>, StoredMembership), DecodeError> {
    let form = AppliedForm::decode(bytes)?;
    let membership = decode_membership(form.membership.unwrap_or_default())?;
    Ok((
        form.last.map(LogId::from),
        StoredMembership::new(form.membership_at.map(LogId::from), membership),
    ))
}
