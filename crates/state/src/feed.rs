//! Where the applied is published: the present view, and the changes that led to it.
//!
//! Watchers pull: each has a cursor, none has a queue. One that falls behind what memory keeps is ended,
//! never waited for; one that starts far back first reads the store's history.

use crate::apply::{History, PastError};
use crate::change::ChangeSet;
use crate::limits::{FEED_BYTES, FEED_REVISIONS, WATCH_BATCH};
use crate::seeded::{self, Bug};
use crate::view::View;
use event_listener::{Event, Listener as _};
use pontoon_api::Revision;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use crate::apply::PastError as WatchStartError;

/// The published state of one replica. Cheap to share.
pub struct Feed {
    ring: Mutex<Ring>,
    published: Event,
    history: Arc<dyn History>,
}

struct Ring {
    view: Arc<View>,
    sets: VecDeque<Arc<ChangeSet>>,
    bytes: usize,
    /// Every set after this revision is in `sets`.
    start: Revision,
    closed: bool,
}

/// Why a watch ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchEnd {
    /// It fell behind: what it needs next is no longer kept. Relist.
    #[error("revision {0} is too old to go on from")]
    Expired(Revision),
    /// The replica stops.
    #[error("the store is closing")]
    Closed,
    /// The store failed.
    #[error(transparent)]
    Store(PastError),
}

impl Feed {
    /// A feed at `view`, with `history` for watchers that start before it.
    #[must_use]
    pub fn new(view: Arc<View>, history: Arc<dyn History>) -> Self {
        let start = view.revision();
        let ring = Ring {
            view,
            sets: VecDeque::new(),
            bytes: 0,
            start,
            closed: false,
        };
        Self {
            ring: Mutex::new(ring),
            published: Event::new(),
            history,
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.ring().view.clone()
    }

    /// Reads of the past.
    #[must_use]
    pub fn history(&self) -> Arc<dyn History> {
        self.history.clone()
    }

    /// Publishes what a batch came to: the view and its changes become visible together.
    pub fn publish(&self, view: Arc<View>, changes: Vec<Arc<ChangeSet>>) {
        let mut ring = self.ring();
        ring.view = view;
        for set in changes {
            if seeded::makes(Bug::DroppedEvent) && set.revision.0 % 37 == 0 {
                continue;
            }
            if seeded::makes(Bug::RepeatedEvent) && set.revision.0 % 37 == 0 {
                ring.sets.push_back(set.clone());
            }
            ring.bytes += set.weight();
            ring.sets.push_back(set);
        }
        while ring.sets.len() > FEED_REVISIONS || (ring.bytes > FEED_BYTES && ring.sets.len() > 1) {
            let Some(oldest) = ring.sets.pop_front() else {
                break;
            };
            ring.bytes -= oldest.weight();
            ring.start = oldest.revision;
        }
        drop(ring);
        self.published.notify(usize::MAX);
    }

    /// Starts over at `view`, after a snapshot replaced the store: what memory kept is forgotten.
    pub fn reset(&self, view: Arc<View>) {
        let mut ring = self.ring();
        if !seeded::makes(Bug::FeedNotReset) {
            ring.sets.clear();
            ring.bytes = 0;
            ring.start = view.revision();
        }
        ring.view = view;
        drop(ring);
        self.published.notify(usize::MAX);
    }

    /// Ends every watch and wait.
    pub fn close(&self) {
        self.ring().closed = true;
        self.published.notify(usize::MAX);
    }

    /// Waits until the present is at `revision` or later; `None` when the feed closes first.
    pub async fn reached(&self, revision: Revision) -> Option<Arc<View>> {
        loop {
            let listener = self.published.listen();
            {
                let ring = self.ring();
                if ring.view.revision() >= revision {
                    return Some(ring.view.clone());
                }
                if ring.closed {
                    return None;
                }
            }
            listener.await;
        }
    }

    /// Changes after `after`.
    ///
    /// # Errors
    /// [`WatchEnd::Expired`] when they are compacted.
    pub fn watch(self: &Arc<Self>, after: Revision) -> Result<Watch, WatchEnd> {
        let ring = self.ring();
        if after < ring.view.compacted() {
            return Err(WatchEnd::Expired(after));
        }
        let live = after >= ring.start;
        drop(ring);
        Ok(Watch {
            feed: self.clone(),
            cursor: after,
            live,
        })
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ring = self.ring();
        f.debug_struct("Feed")
            .field("revision", &ring.view.revision())
            .field("kept", &ring.sets.len())
            .finish()
    }
}

/// One watcher's place in the feed: ordered, unique, reliable, atomic, resumable.
#[derive(Debug)]
pub struct Watch {
    feed: Arc<Feed>,
    cursor: Revision,
    live: bool,
}

enum Pulled {
    Sets(Vec<Arc<ChangeSet>>),
    Behind,
    Nothing,
}

impl Watch {
    /// Everything up to this revision has been handed out.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.cursor
    }

    /// The next changes, at least one set and at most [`WATCH_BATCH`]; waits for them. Cancel safe.
    ///
    /// # Errors
    /// [`WatchEnd`]; the watch is over.
    pub async fn next(&mut self) -> Result<Vec<Arc<ChangeSet>>, WatchEnd> {
        loop {
            let listener = self.feed.published.listen();
            if let Some(sets) = self.poll()? {
                return Ok(sets);
            }
            listener.await;
        }
    }

    /// As [`Watch::next`] for a thread that may block.
    ///
    /// # Errors
    /// [`WatchEnd`]; the watch is over.
    pub fn next_blocking(&mut self) -> Result<Vec<Arc<ChangeSet>>, WatchEnd> {
        loop {
            let listener = self.feed.published.listen();
            if let Some(sets) = self.poll()? {
                return Ok(sets);
            }
            listener.wait();
        }
    }

    /// The next changes if there are any.
    ///
    /// # Errors
    /// [`WatchEnd`]; the watch is over.
    pub fn poll(&mut self) -> Result<Option<Vec<Arc<ChangeSet>>>, WatchEnd> {
        match self.pull()? {
            Pulled::Nothing => Ok(None),
            Pulled::Sets(sets) => {
                self.live = true;
                self.advance(&sets);
                Ok(Some(sets))
            }
            Pulled::Behind if self.live => Err(WatchEnd::Expired(self.cursor)),
            Pulled::Behind => {
                let sets = self
                    .feed
                    .history
                    .changes_after(self.cursor, WATCH_BATCH)
                    .map_err(|error| match error {
                        PastError::Compacted(_) => WatchEnd::Expired(self.cursor),
                        error @ PastError::Kv(_) => WatchEnd::Store(error),
                    })?;
                // Nothing found where memory says there is something: it was replaced by a snapshot.
                if sets.is_empty() {
                    return Err(WatchEnd::Expired(self.cursor));
                }
                self.advance(&sets);
                Ok(Some(sets))
            }
        }
    }

    fn advance(&mut self, sets: &[Arc<ChangeSet>]) {
        if let Some(last) = sets.last() {
            self.cursor = last.revision;
        }
    }

    fn pull(&self) -> Result<Pulled, WatchEnd> {
        let ring = self.feed.ring();
        if ring.closed {
            return Err(WatchEnd::Closed);
        }
        if self.cursor < ring.start {
            return Ok(Pulled::Behind);
        }
        let from = ring.sets.partition_point(|set| set.revision <= self.cursor);
        if from == ring.sets.len() {
            return Ok(Pulled::Nothing);
        }
        Ok(Pulled::Sets(
            ring.sets.range(from..).take(WATCH_BATCH).cloned().collect(),
        ))
    }
}
