//! Applying a compaction: forgetting what only old revisions could see.

use super::{Stage, load, meta_key};
use crate::kv::{Family, Kv, KvError};
use crate::limits::COMPACTION_ENTRIES;
use crate::outcome::Outcome;
use pontoon_api::Revision;

impl<K: Kv> Stage<'_, K> {
    /// Removes history up to `target`, at most [`COMPACTION_ENTRIES`] entries of it at once, and each version that a
    /// forgotten revision replaced. The present is untouched. The view's compacted revision says how far it came.
    pub(super) fn compact(&mut self, target: Revision) -> Result<Outcome, KvError> {
        let target = target.min(self.view.revision);
        if target > self.view.compacted {
            let from = load::history_key(self.view.compacted.next(), 0);
            let until = load::history_key(target.next(), 0);
            let entries = self
                .kv
                .scan(Family::History, &from, Some(&until), COMPACTION_ENTRIES)?;
            let whole = entries.len() < COMPACTION_ENTRIES;
            let mut reached = if whole { target } else { self.view.compacted };
            if let Some((last, _)) = entries.last().filter(|_| !whole) {
                let last = load::history_revision(last)?;
                let first = load::history_revision(&entries[0].0)?;
                // The last revision may go on behind the page: leave it for the next time, unless it is all there is.
                reached = if first == last {
                    last
                } else {
                    Revision(last.0 - 1)
                };
            }
            for (position, object_key) in &entries {
                let revision = load::history_revision(position)?;
                if revision <= reached {
                    self.forget(position.to_vec(), object_key, revision)?;
                }
            }
            self.view.compacted = reached;
            self.batch.put(
                Family::Meta,
                meta_key::COMPACTED.to_vec(),
                reached.0.to_be_bytes().to_vec(),
            );
        }
        Ok(Outcome::Committed {
            revision: self.view.revision,
            objects: Vec::new(),
        })
    }

    fn forget(
        &mut self,
        position: Vec<u8>,
        object_key: &[u8],
        revision: Revision,
    ) -> Result<(), KvError> {
        self.batch.delete(Family::History, position);
        let this = load::version_key(object_key, revision);
        let oldest = load::version_key(object_key, Revision(0));
        let mut older = self
            .kv
            .scan(Family::Versions, &this, Some(&oldest), 2)?
            .into_iter();
        let Some((found, json)) = older.next() else {
            return Ok(());
        };
        if found == this && json.is_empty() {
            self.batch.delete(Family::Versions, this);
        }
        if let Some((previous, _)) = older.next() {
            self.batch.delete(Family::Versions, previous.to_vec());
        }
        Ok(())
    }
}
