//! Proposals of this replica whose outcome is awaited.
//!
//! An entry names the proposal it carries. Wherever it was led, it is applied here too, and its outcome is
//! computed here: the answer to a forwarded proposal need not travel, and a lost reply loses nothing.

use crate::limits::WAITING_PROPOSALS;
use crate::types::Origin;
use parking_lot::Mutex;
use pontoon_state::Outcome;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::oneshot;

/// All that wait on this replica.
#[derive(Debug)]
pub(crate) struct Waiters {
    node: u64,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Outcome>>>,
    /// Counts snapshots that took the place of entries.
    obscured: AtomicU64,
}

/// One that waits. It is forgotten when dropped.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiters: Arc<Waiters>,
    pub origin: Origin,
    pub outcome: oneshot::Receiver<Outcome>,
    obscured: u64,
}

impl Waiters {
    /// `first` is random: tokens of an earlier run of this replica are still in its log.
    pub(crate) fn new(node: u64, first: u64) -> Arc<Self> {
        Arc::new(Self {
            node,
            next: AtomicU64::new(first),
            waiting: Mutex::new(HashMap::new()),
            obscured: AtomicU64::new(0),
        })
    }

    /// A new proposal; `None` when too many wait.
    pub(crate) fn register(self: &Arc<Self>) -> Option<Waiter> {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, outcome) = oneshot::channel();
        let obscured = self.obscured.load(Ordering::Acquire);
        let mut waiting = self.waiting.lock();
        if waiting.len() >= WAITING_PROPOSALS {
            return None;
        }
        waiting.insert(token, sender);
        Some(Waiter {
            waiters: self.clone(),
            origin: Origin {
                node: self.node,
                token,
            },
            outcome,
            obscured,
        })
    }

    /// A snapshot took the place of entries: those that wait may be among them, and are not seen.
    pub(crate) fn obscure(&self) {
        self.obscured.fetch_add(1, Ordering::AcqRel);
    }

    /// An entry with `origin` was applied here.
    pub(crate) fn complete(&self, origin: Origin, outcome: &Outcome) {
        if origin.node == self.node
            && let Some(sender) = self.waiting.lock().remove(&origin.token)
        {
            // Whoever waited may have given up meanwhile.
            let _ = sender.send(outcome.clone());
        }
    }
}

impl Waiter {
    /// Whether its entry may have been applied here unseen.
    pub(crate) fn is_obscured(&self) -> bool {
        self.waiters.obscured.load(Ordering::Acquire) != self.obscured
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.waiting.lock().remove(&self.origin.token);
    }
}
