//! What became of a command.

use crate::key::Key;
use crate::object::Object;
use pontoon_api::{Revision, Term};
use std::sync::Arc;

/// What became of a command. Deterministic: every replica computes the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Committed {
        /// The transaction's revision, or the store's present one when nothing had to change.
        revision: Revision,
        /// For each write: the object as stored by a put, or as it was before a delete.
        objects: Vec<Option<Arc<Object>>>,
    },
    /// Nothing was changed, and why.
    Refused(Refusal),
}

/// The revision of a committed transaction, and for each write the object as stored or as it was.
pub type Committed = (Revision, Vec<Option<Arc<Object>>>);

/// Why a command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A precondition does not hold.
    #[error("precondition on {key} does not hold")]
    Precondition {
        /// Index into the transaction's preconditions.
        index: usize,
        /// The key it looked at.
        key: Key,
        /// What is stored there.
        found: Option<Arc<Object>>,
    },
    /// It was planned under another leadership.
    #[error("planned in term {planned}, applied in term {current}")]
    Fenced {
        /// The term of the plan.
        planned: Term,
        /// The term of the log entry.
        current: Term,
    },
    /// The command itself makes no sense.
    #[error("malformed transaction: {0}")]
    Malformed(String),
}

impl Outcome {
    /// The revision and objects of a committed transaction.
    ///
    /// # Errors
    /// The [`Refusal`] otherwise.
    pub fn committed(self) -> Result<Committed, Refusal> {
        match self {
            Self::Committed { revision, objects } => Ok((revision, objects)),
            Self::Refused(refusal) => Err(refusal),
        }
    }
}
