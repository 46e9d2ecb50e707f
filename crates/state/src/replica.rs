//! The port through which services meet the replicated store: propose, read, watch.

use crate::apply::History;
use crate::command::{Command, Transaction};
use crate::digest::Digest;
use crate::feed::{Watch, WatchEnd};
use crate::outcome::Outcome;
use crate::view::View;
use pontoon_api::{Revision, Term};
use std::sync::Arc;

/// Who leads, as this replica knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The present term.
    pub term: Term,
    /// The member that leads it, if known.
    pub leader: Option<u64>,
    /// Whether this replica is that member, and has applied everything up to its own term: plans may be made.
    pub ready: bool,
}

/// A proposal did not come back with an outcome.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposeError {
    /// It was certainly not done; trying again is safe.
    #[error("no leader can take writes at present: {0}")]
    Unavailable(String),
    /// It may or may not have been done: the answer was lost.
    #[error("the write's outcome is not known: {0}")]
    Indeterminate(String),
    /// It is larger than a transaction may be, in bytes.
    #[error("the transaction has {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Its size.
        size: usize,
        /// What is allowed.
        limit: usize,
    },
}

/// A linearizable read could not be confirmed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no quorum confirms the read at present: {0}")]
pub struct ReadError(pub String);

/// Something is wrong with a replica: it is not ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What, in words.
    pub detail: String,
    /// Whether what it holds must not be served at all.
    pub withdrawn: bool,
}

/// One member's cluster facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its id.
    pub id: u64,
    /// Where peers reach it.
    pub address: String,
    /// Whether it votes.
    pub voter: bool,
    /// The digest it last told, and the revision it is of; `None` while nothing is known.
    pub digest: Option<(Revision, Digest)>,
}

/// The replicated store, as every service sees it.
#[async_trait::async_trait]
pub trait Replica: Send + Sync + 'static {
    /// Replicates and applies a transaction; answers once it is durable on a majority and applied here or at the
    /// leader. When it answers, [`Replica::view`] of this replica is at least at the outcome's revision.
    async fn propose(&self, transaction: Transaction) -> Result<Outcome, ProposeError> {
        self.submit(Command::Transact(transaction)).await
    }

    /// As [`Replica::propose`], for any command.
    async fn submit(&self, command: Command) -> Result<Outcome, ProposeError>;

    /// The present as of now: a view that has everything acknowledged before the call (read-index).
    async fn read(&self) -> Result<Arc<View>, ReadError>;

    /// The newest view applied here. Never goes back, may lag behind the leader.
    fn view(&self) -> Arc<View>;

    /// Waits until the view applied here is at `revision` or later; `None` when the store closes.
    async fn reached(&self, revision: Revision) -> Option<Arc<View>>;

    /// Changes after `after`, as they are applied here.
    ///
    /// # Errors
    /// [`WatchEnd::Expired`] when they are compacted.
    fn watch(&self, after: Revision) -> Result<Watch, WatchEnd>;

    /// Reads of the past.
    fn history(&self) -> Arc<dyn History>;

    /// Who leads.
    fn leadership(&self) -> Leadership;

    /// Waits until leadership is other than `known`, and gives it.
    async fn leadership_changed(&self, known: Leadership) -> Leadership;

    /// The members, as this replica knows them.
    fn members(&self) -> Vec<MemberStatus>;

    /// Index of the last log entry applied here.
    fn applied_index(&self) -> u64;

    /// What is wrong with this replica; `None` while all is well.
    fn trouble(&self) -> Option<Trouble> {
        None
    }
}
