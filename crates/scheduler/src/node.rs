//! What a Node object says that placement looks at.

use crate::requests::{Amounts, PODS};
use crate::selector::Labels;
use crate::shape::{Effect, Taint};
use crate::wake::Wake;
use k8s_openapi::api::core::v1::Node;

/// A node's description. Two that are equal are the same to every rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    pub labels: Labels,
    /// Taints that keep pods away, those that conditions stand for included.
    pub taints: Vec<Taint>,
    /// Taints that scoring avoids.
    pub avoided: Vec<Taint>,
    pub unschedulable: bool,
    pub handlers: Vec<String>,
    pub allocatable: Amounts,
}

/// Conditions and the taints they stand for: (type, status, key), as node-lifecycle-controller
/// maps them. The condition itself is read too, so that no pod slips in before the taint is written.
const IMPLIED: [(&str, &str, &str); 6] = [
    ("Ready", "False", "node.kubernetes.io/not-ready"),
    ("Ready", "Unknown", "node.kubernetes.io/unreachable"),
    (
        "MemoryPressure",
        "True",
        "node.kubernetes.io/memory-pressure",
    ),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    (
        "NetworkUnavailable",
        "True",
        "node.kubernetes.io/network-unavailable",
    ),
];

impl Description {
    /// Reads a node. One that never reported a Ready condition counts as not ready.
    pub fn of(node: &Node) -> Self {
        let status = node.status.clone().unwrap_or_default();
        let spec = node.spec.clone().unwrap_or_default();
        let read = spec.taints.iter().flatten().filter_map(Taint::read);
        let (avoided, mut taints): (Vec<_>, Vec<_>) =
            read.partition(|one| one.effect == Effect::PreferNoSchedule);
        let mut imply = |key: &str| {
            if !taints.iter().any(|taint| taint.key == key) {
                taints.push(Taint::implied(key));
            }
        };
        let conditions = status.conditions.unwrap_or_default();
        if !conditions
            .iter()
            .any(|condition| condition.type_ == "Ready")
        {
            imply(IMPLIED[0].2);
        }
        for (kind, state, key) in IMPLIED {
            if conditions
                .iter()
                .any(|condition| condition.type_ == kind && condition.status == state)
            {
                imply(key);
            }
        }
        let handlers = status.runtime_handlers.unwrap_or_default();
        // Kubernetes falls back to capacity where a node reports no allocatable.
        let mut allocatable =
            Amounts::read(status.allocatable.as_ref().or(status.capacity.as_ref()));
        allocatable.0.entry(PODS.to_owned()).or_insert(0);
        Self {
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints,
            avoided,
            unschedulable: spec.unschedulable.unwrap_or(false),
            handlers: handlers
                .into_iter()
                .filter_map(|handler| handler.name)
                .collect(),
            allocatable,
        }
    }

    /// What changed from `before`, as far as it can make a pod schedulable.
    pub fn changes(&self, before: &Self) -> Wake {
        let mut wake = Wake::NONE;
        if self.labels != before.labels {
            wake |= Wake::NODE_LABELS;
        }
        if (&self.taints, self.unschedulable) != (&before.taints, before.unschedulable) {
            wake |= Wake::NODE_TAINTS;
        }
        if self.allocatable != before.allocatable {
            wake |= Wake::NODE_RESOURCES;
        }
        if self.handlers != before.handlers {
            wake |= Wake::NODE_RUNTIMES;
        }
        wake
    }
}
