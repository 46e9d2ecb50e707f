//! Feeds the scheduler from the change feed, and turns its decisions into bindings and explanations.

use crate::limits::{PODS_PER_ROUND, UNSCHEDULABLE_RETRY};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use pontoon_api::{NodeName, PodUid};
use pontoon_scheduler::{Cluster, Decision, Explanation, PendingPod, Wake, is_pending, schedule};
use pontoon_state::{Change, Key, Object, View};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What the scheduler has decided on one pod.
#[derive(Debug)]
pub struct Placement {
    /// The pod's key.
    pub key: Key,
    /// Its uid.
    pub uid: PodUid,
    /// Where it goes, or why nowhere.
    pub node: Result<NodeName, Arc<Explanation>>,
}

/// The scheduler's view of the world, and the pods that wait.
pub struct Scheduling {
    cluster: Cluster,
    /// To be tried in the next round.
    active: HashMap<Arc<str>, PendingPod>,
    /// Their order; keys that are no longer active are skipped.
    order: VecDeque<Arc<str>>,
    /// Tried in vain, what could help them, and when to try them anyway.
    waiting: HashMap<Arc<str>, (PendingPod, Wake, Duration)>,
}

impl Scheduling {
    /// Reads everything from a view.
    #[must_use]
    pub fn new(view: &View, seed: u64) -> Self {
        let mut scheduling = Self {
            cluster: Cluster::new(seed),
            active: HashMap::new(),
            order: VecDeque::new(),
            waiting: HashMap::new(),
        };
        for resource in ["runtimeclasses.node.k8s.io", "nodes", "services", "pods"] {
            for object in view.list(resource, None) {
                scheduling.set(object);
            }
        }
        scheduling
    }

    /// Takes in a change.
    pub fn observe(&mut self, change: &Change) {
        match &change.after {
            Some(object) => self.set(object),
            None => self.remove(change.object()),
        }
    }

    fn set(&mut self, object: &Object) {
        let wake = match &*object.key.resource {
            "nodes" => read::<Node>(object).map(|node| self.cluster.set_node(&node)),
            "services" => read::<Service>(object).map(|service| self.cluster.set_service(&service)),
            "runtimeclasses.node.k8s.io" => {
                read::<RuntimeClass>(object).map(|class| self.cluster.set_runtime_class(&class))
            }
            "pods" => read::<Pod>(object).map(|pod| self.set_pod(&pod)),
            _ => return,
        };
        self.wake(wake.unwrap_or(Wake::NONE));
    }

    fn set_pod(&mut self, pod: &Pod) -> Wake {
        let wake = self.cluster.set_pod(pod);
        let Some(pending) = self.cluster.pending(pod) else {
            return wake;
        };
        let key = pending.key().clone();
        self.active.remove(&key);
        let known = self.waiting.remove(&key);
        if is_pending(pod) && self.cluster.node_of(&key).is_none() {
            match known {
                // Its own status (why it waits) is no reason to try it again.
                Some((before, helps, retry)) if before.uid() == pending.uid() => {
                    self.waiting.insert(key, (pending, helps, retry));
                }
                _ => self.activate(pending),
            }
        }
        wake
    }

    fn remove(&mut self, object: &Object) {
        let path = object.key.path();
        let wake = match &*object.key.resource {
            "nodes" => self.cluster.remove_node(&object.key.name),
            "services" => self
                .cluster
                .remove_service(&object.key.namespace, &object.key.name),
            "runtimeclasses.node.k8s.io" => self.cluster.remove_runtime_class(&object.key.name),
            "pods" => {
                self.active.remove(path.as_str());
                self.waiting.remove(path.as_str());
                self.cluster.remove_pod(&path)
            }
            _ => return,
        };
        self.wake(wake);
    }

    fn wake(&mut self, wake: Wake) {
        if wake == Wake::NONE || self.waiting.is_empty() {
            return;
        }
        let helped: Vec<_> = self
            .waiting
            .extract_if(|_, (_, helps, _)| helps.intersects(wake))
            .collect();
        helped
            .into_iter()
            .for_each(|(_, (pending, ..))| self.activate(pending));
    }

    fn activate(&mut self, pending: PendingPod) {
        let key = pending.key().clone();
        if self.active.insert(key.clone(), pending).is_none() {
            self.order.push_back(key);
        }
    }

    /// Tries pods again that waited long, whatever happened.
    pub fn retry_due(&mut self, now: Duration) {
        let due: Vec<_> = self
            .waiting
            .extract_if(|_, (_, _, retry)| *retry <= now)
            .collect();
        due.into_iter()
            .for_each(|(_, (pending, ..))| self.activate(pending));
    }

    /// Whether a round would do anything.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.active.is_empty()
    }

    /// Places the pods that are due. Each placement is assumed until [`Scheduling::observe`] confirms it or
    /// [`Scheduling::refused`] takes it back.
    pub fn round(&mut self, now: Duration) -> Vec<Placement> {
        let mut batch = Vec::new();
        while batch.len() < PODS_PER_ROUND
            && let Some(key) = self.order.pop_front()
        {
            batch.extend(self.active.remove(&key));
        }
        let decisions = schedule(&mut self.cluster, &batch);
        let mut by_key: HashMap<Arc<str>, PendingPod> = batch
            .into_iter()
            .map(|pod| (pod.key().clone(), pod))
            .collect();
        let mut placements = Vec::with_capacity(decisions.len());
        for decision in decisions {
            let (pod, uid, node) = match decision {
                Decision::Bind { pod, uid, node } => (pod, uid, Ok(node)),
                Decision::Unschedulable { pod, uid, why } => {
                    if let Some(pending) = by_key.remove(&pod) {
                        self.waiting.insert(
                            pod.clone(),
                            (pending, why.wake(), now + UNSCHEDULABLE_RETRY),
                        );
                    }
                    (pod, uid, Err(why))
                }
                Decision::AlreadyPlaced { .. } => continue,
            };
            let (namespace, name) = pod.split_once('/').unwrap_or(("", &pod));
            placements.push(Placement {
                key: Key::new("pods", namespace, name),
                uid,
                node,
            });
        }
        placements
    }

    /// How many pods wait because no node takes them.
    #[must_use]
    pub fn unschedulable(&self) -> usize {
        self.waiting.len()
    }

    /// A binding was not written: the pod counts nowhere, and is tried again if it still waits.
    pub fn refused(&mut self, key: &Key, uid: &PodUid, view: &View) {
        let wake = self.cluster.forget(&key.path(), uid);
        self.wake(wake);
        let Some(pod) = view.get(key).and_then(|object| read::<Pod>(object)) else {
            return;
        };
        if is_pending(&pod)
            && let Some(pending) = self.cluster.pending(&pod)
        {
            self.activate(pending);
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(object: &Object) -> Option<T> {
    // Everything in the store passed its kind's decoding: what cannot be read is not one of these kinds.
    object.decode().ok()
}
