//! The types that Raft is instantiated with.

use crate::state_machine::StateMachine;
use bytes::Bytes;
use openraft::impls::leader_id_std;
use pontoon_state::Outcome;

openraft::declare_raft_types!(
    /// Pontoon's Raft. One leader per term, as in the paper: fencing by term depends on it.
    pub TypeConfig:
        D = Proposal,
        R = Response,
        NodeId = u64,
        Node = openraft::impls::BasicNode,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

/// A running Raft node.
pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine>;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(crate) type LogEntry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, openraft::impls::BasicNode>;

/// Which proposal an entry carries, so that the replica that was asked recognises it when it
/// is applied there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The replica that was asked.
    pub node: u64,
    /// Unique on that replica, also over restarts.
    pub token: u64,
}

/// What is proposed: an encoded command and where it came from.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Who waits for it.
    pub origin: Origin,
    /// The command's durable form.
    pub command: Bytes,
}

// Commands hold Secrets: neither form shows their bytes.
impl std::fmt::Debug for Proposal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proposal")
            .field("origin", &self.origin)
            .field("bytes", &self.command.len())
            .finish()
    }
}

impl std::fmt::Display for Proposal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "proposal of {} bytes from member {}",
            self.command.len(),
            self.origin.node
        )
    }
}

/// What became of an entry; `None` for entries without a command.
#[derive(Debug, Clone)]
pub struct Response(pub Option<Outcome>);
