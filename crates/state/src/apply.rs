//! `apply`: commands become revisions. Deterministic and total.
//!
//! A batch of log entries is applied to a staged copy of the view and to one write batch; the
//! batch, with what consensus has applied, goes to the store at once, and only then is the
//! copy the view. A crash before that leaves nothing, a crash after it everything.

mod compact;
mod load;
mod transact;

use crate::change::ChangeSet;
use crate::command::Command;
use crate::digest::Digest;
use crate::kv::{Batch, Family, Kv, KvError};
use crate::outcome::Outcome;
use crate::seeded::{self, Bug};
use crate::view::View;
use bytes::Bytes;
use pontoon_api::{Revision, Term};
use std::sync::Arc;

pub use load::{History, Past, PastError};

/// Keys of [`Family::Meta`].
pub(crate) mod meta_key {
    pub const REVISION: &[u8] = b"revision";
    pub const COMPACTED: &[u8] = b"compacted";
    pub const APPLIED: &[u8] = b"applied";
    pub const DIGEST: &[u8] = b"digest";
}

/// A committed log entry to apply.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The term of the entry: what fences are compared with.
    pub term: Term,
    /// The command; `None` for entries of consensus itself (blank, membership), which change no object.
    pub command: Option<Command>,
}

/// What a batch of entries came to.
#[derive(Debug)]
pub struct Applied {
    /// One for each entry, in order; `None` for entries without a command.
    pub outcomes: Vec<Option<Outcome>>,
    /// One for each revision taken, in order.
    pub changes: Vec<Arc<ChangeSet>>,
    /// The digest at each of these revisions.
    pub digests: Vec<(Revision, Digest)>,
    /// The view after the batch.
    pub view: Arc<View>,
}

/// The state machine over a store.
#[derive(Debug)]
pub struct Machine<K> {
    kv: Arc<K>,
    view: View,
}

/// A batch being applied.
struct Stage<'a, K> {
    kv: &'a K,
    view: View,
    batch: Batch,
    changes: Vec<Arc<ChangeSet>>,
    digests: Vec<(Revision, Digest)>,
}

impl<K: Kv> Machine<K> {
    /// Opens the store and loads its present. Cost: a scan of every retained version.
    ///
    /// # Errors
    /// [`KvError`] when the store cannot be read or is corrupt.
    pub fn open(kv: Arc<K>) -> Result<Self, KvError> {
        let view = load::view(kv.as_ref())?;
        Ok(Self { kv, view })
    }

    /// A machine that goes on from `view` over an empty store: what is tried there happens nowhere else. It has no past. Cost:
    /// a pointer for each index.
    #[must_use]
    pub fn fork(view: &View, kv: Arc<K>) -> Self {
        Self {
            kv,
            view: view.clone(),
        }
    }

    /// The present.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::new(self.view.clone())
    }

    /// Reads of the past of this store.
    #[must_use]
    pub fn past(&self) -> Past<K> {
        Past::new(self.kv.clone())
    }

    /// What consensus said was applied last, as it gave it to [`Machine::apply`].
    ///
    /// # Errors
    /// [`KvError`] when the store cannot be read.
    pub fn applied(&self) -> Result<Option<Bytes>, KvError> {
        self.kv.get(Family::Meta, meta_key::APPLIED)
    }

    /// Applies committed entries in order, and records `applied` (opaque to this crate: last applied id and
    /// membership) in the same batch.
    ///
    /// A compaction reads the store, so that it must find in it all that came before, with the record of how far that is:
    /// it is applied alone.
    ///
    /// # Errors
    /// [`KvError`]: the replica must stop. The view is as before.
    pub fn apply(&mut self, entries: &[Entry], applied: Bytes) -> Result<Applied, KvError> {
        let compacts = |entry: &Entry| matches!(entry.command, Some(Command::Compact(_)));
        if entries.len() > 1 && entries.iter().any(compacts) {
            return Err(KvError::Storage(
                "a compaction was to be applied together with other entries".into(),
            ));
        }
        let mut stage = Stage {
            kv: self.kv.as_ref(),
            view: self.view.clone(),
            batch: Batch::default(),
            changes: Vec::new(),
            digests: Vec::new(),
        };
        let mut outcomes = Vec::with_capacity(entries.len());
        for entry in entries {
            outcomes.push(match &entry.command {
                None => None,
                Some(Command::Transact(transaction)) => {
                    Some(stage.transact(transaction, entry.term))
                }
                Some(Command::Compact(revision)) => Some(stage.compact(*revision)?),
            });
        }
        if seeded::makes(Bug::MarkerOutsideBatch) {
            stage.flush()?;
        }
        stage
            .batch
            .put(Family::Meta, meta_key::APPLIED.to_vec(), applied);
        if let Some((_, digest)) = stage.digests.last() {
            let digest = digest.to_bytes().to_vec();
            stage
                .batch
                .put(Family::Meta, meta_key::DIGEST.to_vec(), digest);
        }
        stage.flush()?;
        let Stage {
            view,
            changes,
            digests,
            ..
        } = stage;
        self.view = view;
        Ok(Applied {
            outcomes,
            changes,
            digests,
            view: self.view(),
        })
    }
}

impl<K: Kv> Stage<'_, K> {
    fn flush(&mut self) -> Result<(), KvError> {
        self.kv.write(std::mem::take(&mut self.batch))
    }

    fn set_revision(&mut self, revision: Revision) {
        self.view.revision = revision;
        self.batch.put(
            Family::Meta,
            meta_key::REVISION.to_vec(),
            revision.0.to_be_bytes().to_vec(),
        );
    }
}
