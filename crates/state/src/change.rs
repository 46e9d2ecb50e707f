//! What a committed transaction changed.

use crate::object::Object;
use pontoon_api::Revision;
use std::sync::Arc;

/// One object's change. At least one of `before` and `after` is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The version that was replaced or removed.
    pub before: Option<Arc<Object>>,
    /// The version that was written; `None` for a removal.
    pub after: Option<Arc<Object>>,
}

impl Change {
    /// The object concerned: as written, or as it last was.
    #[must_use]
    pub fn object(&self) -> &Arc<Object> {
        self.after
            .as_ref()
            .or(self.before.as_ref())
            .expect("a change has a before or an after")
    }
}

/// Everything one transaction changed, at one revision: never split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeSet {
    /// The transaction's revision.
    pub revision: Revision,
    /// In the order of the transaction's writes.
    pub changes: Vec<Change>,
    /// W3C `traceparent` of the write; may be empty.
    pub trace: Arc<str>,
}

impl ChangeSet {
    /// Bytes it holds in memory, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        let weigh =
            |object: &Option<Arc<Object>>| object.as_ref().map_or(0, |object| object.weight());
        64 + self
            .changes
            .iter()
            .map(|change| weigh(&change.after).max(weigh(&change.before)))
            .sum::<usize>()
    }
}
