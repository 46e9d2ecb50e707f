//! Watch fan-out: each event is encoded once and its bytes are shared by every watcher; a write wakes only those who
//! watch a resource that it changed.
//!
//! One task reads the replica's feed and puts each change set under the topics of its resources. A watcher first
//! catches up from the feed itself, then reads its topic, at its own cursor. Nothing waits for a watcher: one that
//! falls behind its topic reads the feed again, and gets 410 when that has forgotten what it needs.
//!
//! Invariant: a topic has every set of its resource in `(start, at]`, in order, where `at` is how far the task has come.

use crate::limits::{FANOUT_BYTES, FANOUT_REVISIONS};
use crate::verbs::EventKind;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use pontoon_api::Revision;
use pontoon_state::{Change, ChangeSet, Object, Replica, WatchEnd};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// The topics, and how far they have come. A clone shares them.
#[derive(Clone, Default)]
pub(crate) struct Fanout {
    hub: Arc<Mutex<Hub>>,
}

#[derive(Default)]
struct Hub {
    topics: HashMap<Arc<str>, Arc<Topic>>,
    /// Every set up to this revision is in its topics.
    at: Revision,
    running: bool,
}

/// The newest changes of one resource.
struct Topic {
    ring: Mutex<Ring>,
    changed: Notify,
}

struct Ring {
    sets: VecDeque<Arc<Frames>>,
    bytes: usize,
    /// Every set of the resource after this revision is in `sets`.
    start: Revision,
    ended: Option<Ended>,
}

/// Why a topic goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Catch up from the feed.
    Behind,
    /// The server stops.
    Closed,
}

/// A watcher's place in its topic.
pub(crate) struct Subscription {
    fanout: Fanout,
    topic: Arc<Topic>,
    cursor: Revision,
}

impl Fanout {
    fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock()
    }

    /// Joins a resource's topic behind `after`. `None` when the topic begins later: catch up first.
    pub(crate) fn subscribe(
        &self,
        replica: &Arc<dyn Replica>,
        resource: &str,
        after: Revision,
    ) -> Option<Subscription> {
        let mut hub = self.hub();
        if !hub.running {
            self.start(&mut hub, replica)?;
        }
        let at = hub.at;
        let topic = hub
            .topics
            .entry(resource.into())
            .or_insert_with(|| Arc::new(Topic::new(at)))
            .clone();
        drop(hub);
        let fits = after >= topic.ring.lock().start;
        fits.then(|| Subscription {
            fanout: self.clone(),
            topic,
            cursor: after,
        })
    }

    /// Starts the task that reads the feed.
    fn start(&self, hub: &mut Hub, replica: &Arc<dyn Replica>) -> Option<()> {
        hub.at = replica.view().revision();
        let mut watch = replica.watch(hub.at).ok()?;
        hub.running = true;
        let fanout = self.clone();
        tokio::spawn(async move {
            let ended = loop {
                match watch.next().await {
                    Ok(sets) => fanout.distribute(&sets),
                    Err(WatchEnd::Closed) => break Ended::Closed,
                    Err(error) => {
                        tracing::warn!(%error, "watchers catch up from the feed");
                        break Ended::Behind;
                    }
                }
            };
            let mut hub = fanout.hub();
            hub.running = false;
            for (_, topic) in hub.topics.drain() {
                topic.ring.lock().ended = Some(ended);
                topic.changed.notify_waiters();
            }
        });
        Some(())
    }

    fn distribute(&self, sets: &[Arc<ChangeSet>]) {
        let mut hub = self.hub();
        let mut woken = Vec::new();
        for set in sets {
            let resources: BTreeSet<&Arc<str>> = set
                .changes
                .iter()
                .map(|change| &change.object().key.resource)
                .collect();
            let topics: Vec<Arc<Topic>> = resources
                .into_iter()
                .filter_map(|resource| hub.topics.get(resource))
                .cloned()
                .collect();
            if !topics.is_empty() {
                let frames = Arc::new(Frames::new(set.clone()));
                for topic in topics {
                    topic.ring.lock().push(frames.clone());
                    if !woken.iter().any(|found| Arc::ptr_eq(found, &topic)) {
                        woken.push(topic);
                    }
                }
            }
            hub.at = set.revision;
        }
        // A topic nobody reads any more holds its sets for nothing.
        hub.topics.retain(|_, topic| Arc::strong_count(topic) > 1);
        drop(hub);
        for topic in woken {
            topic.changed.notify_waiters();
        }
    }
}

impl Topic {
    fn new(start: Revision) -> Self {
        let ring = Ring {
            sets: VecDeque::new(),
            bytes: 0,
            start,
            ended: None,
        };
        Self {
            ring: Mutex::new(ring),
            changed: Notify::new(),
        }
    }
}

impl Ring {
    fn push(&mut self, frames: Arc<Frames>) {
        self.bytes += frames.set.weight();
        self.sets.push_back(frames);
        while self.sets.len() > FANOUT_REVISIONS
            || (self.bytes > FANOUT_BYTES && self.sets.len() > 1)
        {
            let Some(oldest) = self.sets.pop_front() else {
                break;
            };
            self.bytes -= oldest.set.weight();
            self.start = oldest.set.revision;
        }
    }
}

impl Subscription {
    /// Everything up to this revision has been handed out.
    pub(crate) const fn revision(&self) -> Revision {
        self.cursor
    }

    /// The next sets of the resource; waits for them. Cancel safe.
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) async fn next(&mut self) -> Result<Vec<Arc<Frames>>, Ended> {
        loop {
            let topic = self.topic.clone();
            let mut changed = std::pin::pin!(topic.changed.notified());
            changed.as_mut().enable();
            if let Some(sets) = self.pull()? {
                return Ok(sets);
            }
            changed.await;
        }
    }

    fn pull(&mut self) -> Result<Option<Vec<Arc<Frames>>>, Ended> {
        let ring = self.topic.ring.lock();
        if self.cursor < ring.start {
            return Err(Ended::Behind);
        }
        let from = ring
            .sets
            .partition_point(|frames| frames.set.revision <= self.cursor);
        let sets: Vec<Arc<Frames>> = ring.sets.range(from..).cloned().collect();
        match (sets.last(), ring.ended) {
            (Some(last), _) => {
                self.cursor = last.set.revision;
                Ok(Some(sets))
            }
            (None, Some(ended)) => Err(ended),
            (None, None) => Ok(None),
        }
    }

    /// Moves on to the newest revision that has nothing left for this watcher; gives where it is.
    pub(crate) fn skip_quiet(&mut self) -> Revision {
        let hub = self.fanout.hub();
        let ring = self.topic.ring.lock();
        if ring.ended.is_none()
            && ring
                .sets
                .back()
                .is_none_or(|frames| frames.set.revision <= self.cursor)
        {
            self.cursor = self.cursor.max(hub.at);
        }
        self.cursor
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
    pub(crate) fn new(set: Arc<ChangeSet>) -> Self {
        let cells = set.changes.iter().map(|_| Cells::default()).collect();
        Self { set, cells }
    }

    /// The changes of the set, with their places.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (usize, &Change)> {
        self.set.changes.iter().enumerate()
    }

    fn change(&self, index: usize) -> &Change {
        &self.set.changes[index]
    }

    /// The object an event shows. For a deletion, or an object that left a selection, it is the last
    /// selected version, at the revision of the change.
    pub(crate) fn object(&self, index: usize, kind: EventKind) -> Arc<Object> {
        let change = self.change(index);
        match (kind, &change.before, &change.after) {
            (EventKind::Deleted, Some(before), _) => self.cells[index]
                .gone
                .get_or_init(|| Arc::new(at_revision(before, self.set.revision)))
                .clone(),
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
        cell.get_or_init(|| line(kind, &self.object(index, kind).json))
            .clone()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pontoon_state::{Key, Solo, Transaction, encode};
    use serde_json::json;

    async fn put(replica: &Arc<dyn Replica>, resource: &str, name: &str) {
        let object = encode(&json!({"metadata": {"name": name}})).unwrap();
        let transaction = Transaction::default().put(Key::new(resource, "", name), object);
        replica
            .propose(transaction)
            .await
            .unwrap()
            .committed()
            .unwrap();
    }

    fn revisions(sets: &[Arc<Frames>]) -> Vec<u64> {
        sets.iter().map(|frames| frames.set.revision.0).collect()
    }

    #[tokio::test]
    async fn a_topic_has_its_own_resource_only_and_quiet_ones_move_on() {
        let replica: Arc<dyn Replica> = Solo::new();
        let fanout = Fanout::default();
        let mut pods = fanout.subscribe(&replica, "pods", Revision(0)).unwrap();
        put(&replica, "nodes", "n").await;
        put(&replica, "pods", "a").await;
        put(&replica, "pods", "b").await;
        let mut seen = Vec::new();
        while seen.len() < 2 {
            seen.extend(revisions(&pods.next().await.unwrap()));
        }
        assert_eq!(seen, [2, 3]);
        put(&replica, "nodes", "m").await;
        while pods.skip_quiet() < Revision(4) {
            tokio::task::yield_now().await;
        }
        assert_eq!(pods.revision(), Revision(4));
    }

    #[tokio::test]
    async fn who_comes_from_before_the_topic_is_told_to_catch_up() {
        let replica: Arc<dyn Replica> = Solo::new();
        put(&replica, "pods", "a").await;
        let fanout = Fanout::default();
        assert!(fanout.subscribe(&replica, "pods", Revision(0)).is_none());
        assert!(fanout.subscribe(&replica, "pods", Revision(1)).is_some());
    }

    #[tokio::test]
    async fn who_is_too_slow_falls_behind_and_nobody_waits() {
        let replica: Arc<dyn Replica> = Solo::new();
        let fanout = Fanout::default();
        let mut slow = fanout.subscribe(&replica, "pods", Revision(0)).unwrap();
        let mut quick = fanout.subscribe(&replica, "pods", Revision(0)).unwrap();
        let mut seen = 0;
        for index in 0..FANOUT_REVISIONS + 1 {
            put(&replica, "pods", &format!("p{index}")).await;
            if index % 100 == 0 {
                seen += quick.next().await.unwrap().len();
            }
        }
        while seen < FANOUT_REVISIONS + 1 {
            seen += quick.next().await.unwrap().len();
        }
        assert_eq!(slow.next().await.err(), Some(Ended::Behind));
    }
}
