//! When each node was last heard of. Soft state of one server: it is not in the log, and after a change of
//! leader every node gets its full grace period again.

use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// When each node was last heard of, in the world's monotonic time. A clone shares it.
#[derive(Debug, Clone, Default)]
pub struct NodeLiveness {
    heard: Arc<RwLock<HashMap<String, Duration>>>,
}

impl NodeLiveness {
    /// The node was heard of at `now` (monotonic).
    pub fn beat(&self, node: &str, now: Duration) {
        let mut heard = self.heard.write();
        match heard.get_mut(node) {
            Some(last) => *last = now.max(*last),
            None => {
                heard.insert(node.to_owned(), now);
            }
        }
    }

    /// When it was last heard of; `None` when this server never did.
    #[must_use]
    pub fn last(&self, node: &str) -> Option<Duration> {
        self.heard.read().get(node).copied()
    }

    /// Forgets a node whose object is gone.
    pub fn forget(&self, node: &str) {
        self.heard.write().remove(node);
    }
}
