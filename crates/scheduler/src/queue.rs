//! Which pods wait, in which order to try them, and what a parked one waits for.
//!
//! Holds keys, not pods: a caller reads each pod again when its turn comes
//! ([`crate::Cluster::pending`]), so that nothing is placed from an old description.

use crate::cluster::pod_key;
use crate::pending::is_pending;
use crate::place::Decision;
use crate::shape::{Shape, Shaped};
use crate::slots::TextMap;
use crate::wake::Wake;
use k8s_openapi::api::core::v1::Pod;
use pontoon_api::PodUid;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Higher priority first, then the one that waits longest.
type Turn = (Reverse<i32>, u64);

#[derive(Debug)]
struct Waiting {
    turn: Turn,
    uid: PodUid,
    /// What placement looked at when it was last read.
    shape: Shaped,
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

    /// Takes in a pod that was created or changed. One that does not wait for this scheduler leaves
    /// the queue; one that does is due if it is new or changed in what placement looks at, which its status is
    /// not.
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
        let uid = PodUid::new(pod.metadata.uid.as_deref().unwrap_or_default());
        // Runtime classes are told by events, not by pods.
        let shape = Shaped::new(Shape::of(pod, None));
        if let Some(waiting) = self.pods.get_mut(&key) {
            if (&waiting.uid, &waiting.shape, waiting.turn.0) == (&uid, &shape, priority) {
                return;
            }
            self.due.remove(&waiting.turn);
            waiting.turn.0 = priority;
            (waiting.uid, waiting.shape) = (uid, shape);
            waiting.parked = None;
            waiting.missed = Wake::ALL;
            if !waiting.taken {
                self.due.insert(waiting.turn, key);
            }
            return;
        }
        let turn = (priority, self.next);
        self.next += 1;
        self.due.insert(turn, Arc::clone(&key));
        let (parked, taken, missed) = (None, false, Wake::NONE);
        self.pods.insert(
            key,
            Waiting {
                turn,
                uid,
                shape,
                parked,
                taken,
                missed,
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
    /// for by [`Queue::answer`], [`Queue::remove`] or [`Queue::retry`].
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

    /// What became of pods that were taken. Refused ones are parked; what was bound wakes pods that wait
    /// for others to be placed, and stays taken until it is seen assigned ([`Queue::set_pod`]), or its
    /// binding is refused ([`Queue::retry`]).
    pub fn answer(&mut self, decisions: &[Decision]) {
        let mut bound = false;
        for decision in decisions {
            match decision {
                Decision::Bind { .. } => bound = true,
                Decision::Unschedulable { pod, why, .. } => self.park(pod, why.wake()),
                Decision::AlreadyPlaced { .. } => {}
            }
        }
        if bound {
            self.wake(Wake::POD_ADDED);
        }
    }

    /// A pod that was taken found no node: it is due again after one of the events in `wake`.
    /// Events since it was taken count.
    fn park(&mut self, key: &str, wake: Wake) {
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
        if let Some(waiting) = self.pods.get_mut(key) {
            waiting.taken = false;
            waiting.parked = None;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{Cluster, schedule};
    use k8s_openapi::api::core::v1::Node;
    use serde_json::json;

    fn pod(name: &str, priority: i32, cpu: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"namespace": "ns", "name": name, "uid": name},
            "spec": {"priority": priority, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        }))
        .unwrap()
    }

    fn node(cpu: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n"},
            "status": {
                "allocatable": {"cpu": cpu, "pods": "9"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }))
        .unwrap()
    }

    fn keys(queue: &mut Queue) -> Vec<String> {
        queue.take(9).iter().map(|key| key.to_string()).collect()
    }

    #[test]
    fn higher_priority_goes_first_and_then_the_longest_wait() {
        let mut queue = Queue::new();
        for (name, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
            queue.set_pod(&pod(name, priority, "1"));
        }
        assert_eq!(queue.take(3).len(), 3);
        assert_eq!(keys(&mut queue), ["ns/c"]);
        queue.retry("ns/d");
        queue.retry("ns/a");
        assert_eq!(keys(&mut queue), ["ns/d", "ns/a"]);
        assert_eq!(queue.len(), 4);
    }

    #[test]
    fn a_refused_pod_waits_for_what_can_help_it() {
        let mut queue = Queue::new();
        let mut cluster = Cluster::new(0);
        queue.wake(cluster.set_node(&node("1")));
        queue.set_pod(&pod("big", 0, "2"));
        assert_eq!(keys(&mut queue), ["ns/big"]);
        let pending = cluster.pending(&pod("big", 0, "2")).unwrap();
        queue.answer(&schedule(&mut cluster, &[pending]));
        queue.wake(Wake::NODE_TAINTS | Wake::POD_ADDED);
        assert_eq!(queue.due(), 0);
        queue.wake(cluster.set_node(&node("2")));
        assert_eq!(keys(&mut queue), ["ns/big"]);
    }

    #[test]
    fn an_event_between_take_and_answer_is_not_lost() {
        let mut queue = Queue::new();
        let mut cluster = Cluster::new(0);
        queue.set_pod(&pod("big", 0, "2"));
        queue.take(1);
        let pending = cluster.pending(&pod("big", 0, "2")).unwrap();
        let decisions = schedule(&mut cluster, &[pending]);
        queue.wake(cluster.set_node(&node("2")));
        queue.answer(&decisions);
        assert_eq!(keys(&mut queue), ["ns/big"]);
    }

    #[test]
    fn a_pod_that_is_bound_ended_deleted_or_gated_leaves_the_queue() {
        let mut queue = Queue::new();
        let mut bound = pod("a", 0, "1");
        bound.spec.as_mut().unwrap().node_name = Some("n".to_owned());
        let mut gated = pod("a", 0, "1");
        gated.spec.as_mut().unwrap().scheduling_gates = Some(vec![Default::default()]);
        let mut other = pod("a", 0, "1");
        other.spec.as_mut().unwrap().scheduler_name = Some("mine".to_owned());
        let mut ended = pod("a", 0, "1");
        ended.status = Some(serde_json::from_value(json!({"phase": "Failed"})).unwrap());
        let mut deleted = pod("a", 0, "1");
        deleted.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        for gone in [bound, gated, other, ended, deleted] {
            queue.set_pod(&pod("a", 0, "1"));
            assert_eq!((queue.due(), queue.len()), (1, 1));
            queue.set_pod(&gone);
            assert!(queue.is_empty() && queue.due() == 0, "{gone:?}");
        }
    }

    #[test]
    fn a_parked_pod_is_tried_again_when_it_changes_but_not_for_its_status() {
        let mut queue = Queue::new();
        let mut cluster = Cluster::new(0);
        let mut big = pod("big", 0, "2");
        queue.set_pod(&big);
        queue.take(1);
        let pending = cluster.pending(&big).unwrap();
        queue.answer(&schedule(&mut cluster, &[pending]));
        big.status = Some(
            serde_json::from_value(json!({"phase": "Pending", "message": "no nodes"})).unwrap(),
        );
        queue.set_pod(&big);
        assert_eq!(queue.due(), 0);
        big.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
        queue.set_pod(&big);
        assert_eq!(queue.due(), 1);
    }

    #[test]
    fn a_changed_priority_moves_a_pod() {
        let mut queue = Queue::new();
        queue.set_pod(&pod("a", 0, "1"));
        queue.set_pod(&pod("b", 1, "1"));
        queue.set_pod(&pod("a", 2, "1"));
        assert_eq!(keys(&mut queue), ["ns/a", "ns/b"]);
    }
}
