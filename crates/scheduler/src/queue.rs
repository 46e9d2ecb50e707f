//! Which pods wait, in which order to try them, and what a parked one waits for.
//!
//! Holds keys, not pods: a caller reads each pod again when its turn comes
//! ([`crate::Cluster::pending`]), so that nothing is placed from an old description.

use crate::cluster::pod_key;
use crate::pending::is_pending;
use crate::slots::TextMap;
use crate::wake::Wake;
use k8s_openapi::api::core::v1::Pod;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Higher priority first, then the one that waits longest.
type Turn = (Reverse<i32>, u64);

#[derive(Debug)]
struct Waiting {
    turn: Turn,
    /// What a parked pod waits for; `None` for one that is due.
    parked: Option<Wake>,
    /// Taken and not answered for yet.
    taken: bool,
    /// What happened since it was taken.
    missed: Wake,
}

/// Pods that wait for a node.
#[derive(Debug, Default)]
pub struct Queue {
    due: BTreeMap<Turn, Arc<str>>,
    pods: TextMap<Arc<str>, Waiting>,
    next: u64,
}

impl Queue {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a pod that was created or changed: one that waits becomes due, another leaves
    /// the queue.
    pub fn set_pod(&mut self, pod: &Pod) {
        let Some(key) = pod_key(pod) else {
            return;
        };
        if !is_pending(pod) {
            self.remove(&key);
            return;
        }
        let priority = Reverse(
            pod.spec
                .as_ref()
                .and_then(|spec| spec.priority)
                .unwrap_or(0),
        );
        if let Some(waiting) = self.pods.get_mut(&key) {
            waiting.missed = Wake::ALL;
            if waiting.taken || (waiting.parked.is_none() && waiting.turn.0 == priority) {
                return;
            }
            self.due.remove(&waiting.turn);
            waiting.turn.0 = priority;
            waiting.parked = None;
            self.due.insert(waiting.turn, key);
            return;
        }
        let turn = (priority, self.next);
        self.next += 1;
        self.due.insert(turn, Arc::clone(&key));
        self.pods.insert(
            key,
            Waiting {
                turn,
                parked: None,
                taken: false,
                missed: Wake::NONE,
            },
        );
    }

    /// A pod is gone, or was bound.
    pub fn remove(&mut self, key: &str) {
        if let Some(waiting) = self.pods.remove(key) {
            self.due.remove(&waiting.turn);
        }
    }

    /// The keys (`namespace/name`) of at most `most` pods whose turn it is. Each is then answered
    /// for by [`Queue::remove`], [`Queue::park`] or [`Queue::retry`].
    pub fn take(&mut self, most: usize) -> Vec<Arc<str>> {
        let mut keys = Vec::new();
        while keys.len() < most {
            let Some((_, key)) = self.due.pop_first() else {
                break;
            };
            let waiting = self
                .pods
                .get_mut(&key)
                .expect("a pod that is due is in the queue");
            waiting.taken = true;
            waiting.missed = Wake::NONE;
            keys.push(key);
        }
        keys
    }

    /// A pod that was taken found no node: it is due again after one of the events in `wake`.
    /// Events since it was taken count.
    pub fn park(&mut self, key: &str, wake: Wake) {
        let Some(waiting) = self.pods.get_mut(key) else {
            return;
        };
        waiting.taken = false;
        if waiting.missed.intersects(wake) {
            waiting.parked = None;
            self.due.insert(waiting.turn, Arc::from(key));
        } else {
            waiting.parked = Some(wake);
        }
    }

    /// A pod that was taken is due again: its binding was refused.
    pub fn retry(&mut self, key: &str) {
        self.park(key, Wake::ALL);
        if let Some(waiting) = self.pods.get_mut(key)
            && waiting.parked.take().is_some()
        {
            self.due.insert(waiting.turn, Arc::from(key));
        }
    }

    /// Events happened: parked pods that wait for one are due. Costs the pods in the queue, if any
    /// event happened.
    pub fn wake(&mut self, events: Wake) {
        if events.is_empty() {
            return;
        }
        for (key, waiting) in &mut self.pods {
            waiting.missed |= events;
            if waiting.parked.is_some_and(|wake| wake.intersects(events)) {
                waiting.parked = None;
                self.due.insert(waiting.turn, Arc::clone(key));
            }
        }
    }

    /// How many pods are due.
    #[must_use]
    pub fn due(&self) -> usize {
        self.due.len()
    }

    /// How many pods wait, parked and taken ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether no pod waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }
}
