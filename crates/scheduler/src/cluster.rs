//! What is free where: nodes, the pods counted on them, and what both mean to placement.
//!
//! Fed with whole objects as they change; each setter costs what the one object holds, and
//! returns which events happened, for [`Wake::intersects`].

mod pods;
mod shapes;
mod topology;

use crate::ledger::Ledger;
use crate::node::Description;
use crate::pending::PendingPod;
use crate::score::Scores;
use crate::selector::{Labels, Selector};
use crate::shape::{HostPort, RuntimeRequirement, Shape, Shaped};
use crate::slots::{Slot, TextMap};
use crate::wake::Wake;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use pontoon_api::{NodeName, PodUid};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use pods::PodEntry;
pub(crate) use shapes::{ShapeEntry, ShapeId, Shapes};
pub(crate) use topology::{Topologies, Topology};

/// A node, or a name that pods are assigned to though no such node is known.
#[derive(Debug, Clone)]
pub(crate) struct NodeEntry {
    pub name: NodeName,
    /// Whether there is a Node object.
    pub live: bool,
    pub description: Description,
    /// Ports that pods here hold; one stands as often as it is held.
    pub ports: Vec<HostPort>,
    /// How many pods are counted here.
    pub pods: usize,
}

/// What is free where. A clone is a what-if: placing on it changes nothing here.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub(crate) seed: u64,
    /// Where the next search for nodes starts.
    pub(crate) cursor: usize,
    pub(crate) nodes: Vec<NodeEntry>,
    by_name: TextMap<NodeName, Slot>,
    vacant: Vec<Slot>,
    live: usize,
    /// Nodes with a PreferNoSchedule taint: where there is none, no pod is scored for it.
    pub(crate) avoided: usize,
    pub(crate) ledger: Ledger,
    pub(crate) pods: TextMap<Arc<str>, PodEntry>,
    pub(crate) shapes: Shapes,
    pub(crate) topologies: Topologies,
    pub(crate) verdicts: crate::filter::Verdicts,
    /// Room that scoring works in, kept from call to call: it is as large as the cluster.
    pub(crate) scratch: Scores,
    classes: TextMap<String, RuntimeRequirement>,
    /// Service selectors by namespace and name.
    services: TextMap<String, BTreeMap<String, Labels>>,
}

impl Cluster {
    /// Without any node. `seed` settles ties between nodes: with the same inputs, the same
    /// seed gives the same placements.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            cursor: 0,
            nodes: Vec::new(),
            by_name: TextMap::default(),
            vacant: Vec::new(),
            live: 0,
            avoided: 0,
            ledger: Ledger::new(),
            pods: TextMap::default(),
            shapes: Shapes::default(),
            topologies: Topologies::default(),
            verdicts: crate::filter::Verdicts::default(),
            scratch: Scores::default(),
            classes: TextMap::default(),
            services: TextMap::default(),
        }
    }

    /// How many nodes there are.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.live
    }

    /// How many pods are counted on nodes, assumed ones included.
    #[must_use]
    pub fn pod_count(&self) -> usize {
        self.pods.len()
    }

    /// Takes in a node that was created or changed.
    pub fn set_node(&mut self, node: &Node) -> Wake {
        let Some(name) = node.metadata.name.as_deref() else {
            return Wake::NONE;
        };
        let description = Description::of(node);
        let slot = self.slot_of(name);
        let entry = &mut self.nodes[slot];
        let wake = match entry.live {
            false => Wake::NODE_ADDED,
            true if entry.description == description => return Wake::NONE,
            true => description.changes(&entry.description),
        };
        self.live += usize::from(!entry.live);
        self.avoided -= usize::from(entry.live && !entry.description.avoided.is_empty());
        self.avoided += usize::from(!description.avoided.is_empty());
        entry.live = true;
        entry.description = description;
        self.set_capacity(slot);
        self.topologies
            .set_node(slot, Some(&self.nodes[slot].description.labels));
        self.verdicts.forget(slot);
        wake
    }

    /// A node is gone. Pods assigned to it stay counted, in case it comes back before they end.
    pub fn remove_node(&mut self, name: &str) -> Wake {
        let Some(slot) = self
            .by_name
            .get(name)
            .copied()
            .filter(|slot| self.nodes[*slot].live)
        else {
            return Wake::NONE;
        };
        let entry = &mut self.nodes[slot];
        self.live -= 1;
        self.avoided -= usize::from(!entry.description.avoided.is_empty());
        entry.live = false;
        entry.description = Description::default();
        self.set_capacity(slot);
        self.topologies.set_node(slot, None);
        self.verdicts.forget(slot);
        self.vacate(slot);
        Wake::NODE_REMOVED
    }

    /// Takes in a runtime class. Pods read by [`Cluster::pending`] before keep what they had.
    pub fn set_runtime_class(&mut self, class: &RuntimeClass) -> Wake {
        let name = class.metadata.name.clone().unwrap_or_default();
        let requirement = RuntimeRequirement::of(class);
        if self.classes.get(&name) == Some(&requirement) {
            return Wake::NONE;
        }
        self.classes.insert(name, requirement);
        Wake::RUNTIME_CLASS
    }

    /// A runtime class is gone.
    pub fn remove_runtime_class(&mut self, name: &str) -> Wake {
        self.classes.remove(name);
        Wake::NONE
    }

    /// Takes in a service: pods without a controller are spread by the services that select them.
    pub fn set_service(&mut self, service: &Service) -> Wake {
        let namespace = service.metadata.namespace.clone().unwrap_or_default();
        let name = service.metadata.name.clone().unwrap_or_default();
        let selector = service
            .spec
            .as_ref()
            .and_then(|spec| spec.selector.clone())
            .unwrap_or_default();
        if selector.is_empty() {
            return self.remove_service(&namespace, &name);
        }
        self.services
            .entry(namespace)
            .or_default()
            .insert(name, selector);
        Wake::NONE
    }

    /// A service is gone.
    pub fn remove_service(&mut self, namespace: &str, name: &str) -> Wake {
        if let Some(services) = self.services.get_mut(namespace) {
            services.remove(name);
            if services.is_empty() {
                self.services.remove(namespace);
            }
        }
        Wake::NONE
    }

    /// Reads a pod that waits for a node. `None` for one without a name.
    #[must_use]
    pub fn pending(&self, pod: &Pod) -> Option<PendingPod> {
        PendingPod::read(pod, self.shape(pod))
    }

    /// Takes in a pod that was created or changed.
    ///
    /// An assigned pod counts on its node until it is removed or has ended (phase Succeeded or
    /// Failed). A pod without a node keeps an assumption made for it.
    pub fn set_pod(&mut self, pod: &Pod) -> Wake {
        let (Some(key), Some(uid)) = (pod_key(pod), pod.metadata.uid.as_deref()) else {
            return Wake::NONE;
        };
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        let node = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.node_name.as_deref())
            .filter(|node| !node.is_empty());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return self.remove_pod(&key);
        }
        let Some(node) = node else {
            let assumed = self
                .pods
                .get(&key)
                .is_some_and(|entry| entry.assumed && entry.uid.as_str() == uid);
            return if assumed && pod.metadata.deletion_timestamp.is_none() {
                Wake::NONE
            } else {
                self.remove_pod(&key)
            };
        };
        let ending = pod.metadata.deletion_timestamp.is_some();
        let shape = Shaped::new(self.shape(pod));
        self.count(key, PodUid::new(uid), &shape, node, false, ending)
    }

    /// A pod is gone.
    pub fn remove_pod(&mut self, key: &str) -> Wake {
        self.discount(key)
    }

    /// Counts a pod on a node before its binding is written. [`crate::schedule`] does this for
    /// every pod it places.
    pub fn assume(&mut self, pod: &PendingPod, node: &str) -> Wake {
        self.count(
            Arc::clone(&pod.key),
            pod.uid.clone(),
            &pod.shape,
            node,
            true,
            false,
        )
    }

    /// Takes an assumption back: the binding was refused. A pod known to be assigned stays.
    pub fn forget(&mut self, key: &str, uid: &PodUid) -> Wake {
        match self.pods.get(key) {
            Some(entry) if entry.assumed && entry.uid == *uid => self.discount(key),
            _ => Wake::NONE,
        }
    }

    /// The node a pod is counted on, if it is.
    #[must_use]
    pub fn node_of(&self, key: &str) -> Option<&NodeName> {
        self.pods.get(key).map(|entry| &self.nodes[entry.slot].name)
    }

    fn shape(&self, pod: &Pod) -> Shape {
        let class = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.runtime_class_name.as_deref());
        Shape::of(pod, class.and_then(|class| self.classes.get(class)))
    }

    pub(crate) fn runtime_class(&self, name: &str) -> Option<&RuntimeRequirement> {
        self.classes.get(name)
    }

    /// What services that select `shape` ask for together.
    pub(crate) fn service_selector(&self, shape: &Shape) -> Option<Selector> {
        let mut merged = Labels::new();
        for selector in self.services.get(&shape.namespace)?.values() {
            if selector
                .iter()
                .all(|(key, value)| shape.labels.get(key) == Some(value))
            {
                merged.extend(selector.clone());
            }
        }
        (!merged.is_empty()).then(|| Selector::all_of(&merged))
    }

    fn set_capacity(&mut self, slot: Slot) {
        let allocatable = &self.nodes[slot].description.allocatable;
        let fresh = self.ledger.lacks_column_for(allocatable);
        self.ledger.set_capacity(slot, allocatable);
        if fresh {
            self.charge_anew();
        }
    }

    fn slot_of(&mut self, name: &str) -> Slot {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let name = NodeName::new(name);
        let entry = NodeEntry {
            name: name.clone(),
            live: false,
            description: Description::default(),
            ports: Vec::new(),
            pods: 0,
        };
        let slot = if let Some(slot) = self.vacant.pop() {
            self.nodes[slot] = entry;
            slot
        } else {
            self.nodes.push(entry);
            self.ledger.add_slot();
            self.topologies.add_slot();
            self.verdicts.add_slot();
            self.nodes.len() - 1
        };
        self.by_name.insert(name, slot);
        slot
    }

    /// Gives the slot of a node that is gone and empty to the next one.
    fn vacate(&mut self, slot: Slot) {
        let entry = &self.nodes[slot];
        if !entry.live && entry.pods == 0 && self.by_name.remove(&entry.name).is_some() {
            self.vacant.push(slot);
        }
    }
}

/// `namespace/name` of a pod.
pub(crate) fn pod_key(pod: &Pod) -> Option<Arc<str>> {
    let name = pod.metadata.name.as_deref()?;
    Some(Arc::from(format!(
        "{}/{name}",
        pod.metadata.namespace.as_deref().unwrap_or_default()
    )))
}
