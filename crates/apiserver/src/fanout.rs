//! Watch fan-out: each event is encoded once and its bytes are shared by every watcher.
//!
//! Watchers pull change sets from the replica's feed, each at its own cursor; here they find the encoded
//! forms of those sets. Nothing waits for a watcher: one that falls behind what the feed keeps gets 410.

use crate::limits::FANOUT_REVISIONS;
use crate::verbs::EventKind;
use bytes::Bytes;
use parking_lot::Mutex;
use pontoon_api::Revision;
use pontoon_state::{Change, ChangeSet, Object};
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

/// The encoded forms of the newest change sets.
#[derive(Default)]
pub(crate) struct Fanout {
    recent: Mutex<VecDeque<Arc<Frames>>>,
}

impl Fanout {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The encoded forms of a set, shared with everyone who asks while it is recent. Sets come in order, so the
    /// right place is near the end.
    pub(crate) fn frames(&self, set: &Arc<ChangeSet>) -> Arc<Frames> {
        let mut recent = self.recent.lock();
        let place = recent.partition_point(|frames| frames.set.revision < set.revision);
        if let Some(found) = recent.get(place)
            && Arc::ptr_eq(&found.set, set)
        {
            return found.clone();
        }
        let frames = Arc::new(Frames::new(set.clone()));
        // An old set read from history by one late watcher is not worth a place.
        if place == recent.len() {
            if recent.len() == FANOUT_REVISIONS {
                recent.pop_front();
            }
            recent.push_back(frames.clone());
        }
        frames
    }
}

/// One change set and what has been encoded of it so far.
pub(crate) struct Frames {
    set: Arc<ChangeSet>,
    cells: Vec<Cells>,
}

#[derive(Default)]
struct Cells {
    added: OnceLock<Bytes>,
    modified: OnceLock<Bytes>,
    deleted: OnceLock<Bytes>,
    gone: OnceLock<Arc<Object>>,
}

impl Frames {
    fn new(set: Arc<ChangeSet>) -> Self {
        let cells = set.changes.iter().map(|_| Cells::default()).collect();
        Self { set, cells }
    }

    fn change(&self, index: usize) -> &Change {
        &self.set.changes[index]
    }

    /// The object an event shows. For a deletion, or an object that left a selection, it is the last
    /// selected version, at the revision of the change.
    pub(crate) fn object(&self, index: usize, kind: EventKind) -> Arc<Object> {
        let change = self.change(index);
        match (kind, &change.before, &change.after) {
            (EventKind::Deleted, Some(before), _) => {
                self.cells[index].gone.get_or_init(|| Arc::new(at_revision(before, self.set.revision))).clone()
            }
            (_, _, Some(after)) => after.clone(),
            _ => change.object().clone(),
        }
    }

    /// The event as one line of JSON.
    pub(crate) fn line(&self, index: usize, kind: EventKind) -> Bytes {
        let cells = &self.cells[index];
        let cell = match kind {
            EventKind::Added => &cells.added,
            EventKind::Modified => &cells.modified,
            EventKind::Deleted => &cells.deleted,
        };
        cell.get_or_init(|| line(kind, &self.object(index, kind).json)).clone()
    }
}

/// A watch event as one line of JSON.
pub(crate) fn line(kind: EventKind, object: &[u8]) -> Bytes {
    line_of(kind.as_str(), object)
}

/// A watch event of any type as one line of JSON.
pub(crate) fn line_of_text(kind: &str, object: &str) -> Bytes {
    line_of(kind, object.as_bytes())
}

fn line_of(kind: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + 40);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line.into()
}

/// The object with another resourceVersion.
fn at_revision(object: &Object, revision: Revision) -> Object {
    let mut moved = object.clone();
    moved.revision = revision;
    if let Ok(mut value) = object.value() {
        value["metadata"]["resourceVersion"] = revision.to_string().into();
        if let Ok(json) = serde_json::to_vec(&value) {
            moved.json = json.into();
        }
    }
    moved
}
