//! Feeds the scheduler from the change feed, and turns its decisions into bindings and explanations.

use crate::limits::PODS_PER_ROUND;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use pontoon_api::{NodeName, PodUid};
use pontoon_scheduler::{Cluster, Decision, Explanation, PendingPod, Queue, Wake, schedule};
use pontoon_state::{Change, Key, Object, View};
use std::sync::Arc;

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
#[derive(Debug)]
pub struct Scheduling {
    cluster: Cluster,
    queue: Queue,
}

impl Scheduling {
    /// Reads everything from a view. The seed decides which of equally good nodes is asked first.
    #[must_use]
    pub fn new(view: &View, seed: u64) -> Self {
        let mut scheduling = Self {
            cluster: Cluster::new(seed),
            queue: Queue::new(),
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
            "pods" => read::<Pod>(object).map(|pod| {
                self.queue.set_pod(&pod);
                self.cluster.set_pod(&pod)
            }),
            _ => return,
        };
        self.queue.wake(wake.unwrap_or(Wake::NONE));
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
                self.queue.remove(&path);
                self.cluster.remove_pod(&path)
            }
            _ => return,
        };
        self.queue.wake(wake);
    }

    /// Tries every pod again, whatever happened: the full pass, in case an event was missed.
    pub fn retry_all(&mut self) {
        self.queue.wake(Wake::ALL);
    }

    /// Whether a round would do anything.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.queue.due() > 0
    }

    /// How many pods wait, those in the middle of being bound included.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Places the pods whose turn it is, by priority and then by age. Each placement is assumed until
    /// [`Scheduling::observe`] confirms it or [`Scheduling::refused`] takes it back.
    pub fn round(&mut self, view: &View) -> Vec<Placement> {
        let mut batch: Vec<PendingPod> = Vec::new();
        for path in self.queue.take(PODS_PER_ROUND) {
            let pod = view.get(&key(&path)).and_then(|object| read::<Pod>(object));
            match pod.and_then(|pod| self.cluster.pending(&pod)) {
                Some(pending) => batch.push(pending),
                // It went meanwhile; the change that says so comes as well.
                None => self.queue.remove(&path),
            }
        }
        let decisions = schedule(&mut self.cluster, &batch);
        self.queue.answer(&decisions);
        let placement = |decision| match decision {
            Decision::Bind { pod, uid, node } => Some(Placement {
                key: key(&pod),
                uid,
                node: Ok(node),
            }),
            Decision::Unschedulable { pod, uid, why } => Some(Placement {
                key: key(&pod),
                uid,
                node: Err(why),
            }),
            Decision::AlreadyPlaced { .. } => None,
        };
        decisions.into_iter().filter_map(placement).collect()
    }

    /// A binding was not written: the pod counts nowhere, and is tried again if it still waits.
    pub fn refused(&mut self, key: &Key, uid: &PodUid) {
        let path = key.path();
        let wake = self.cluster.forget(&path, uid);
        self.queue.wake(wake);
        self.queue.retry(&path);
    }
}

/// The key of a pod from its path, `namespace/name`.
fn key(path: &str) -> Key {
    let (namespace, name) = path.split_once('/').unwrap_or(("", path));
    Key::new("pods", namespace, name)
}

fn read<T: serde::de::DeserializeOwned>(object: &Object) -> Option<T> {
    // Everything in the store passed its kind's decoding: what cannot be read is not one of these kinds.
    object.decode().ok()
}
