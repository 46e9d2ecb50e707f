//! Pods that wait for a node.

use crate::cluster::pod_key;
use crate::shape::{Shape, Shaped};
use k8s_openapi::api::core::v1::{Affinity, Pod, PodAffinityTerm, PodSpec};
use pontoon_api::PodUid;
use std::sync::Arc;

/// The scheduler names that are ours; Kubernetes fills in the first.
pub const SCHEDULER_NAMES: [&str; 2] = ["default-scheduler", "pontoon-scheduler"];

/// A pod read for placement. Made by [`crate::Cluster::pending`].
#[derive(Debug, Clone)]
pub struct PendingPod {
    pub(crate) key: Arc<str>,
    pub(crate) uid: PodUid,
    pub(crate) priority: i32,
    pub(crate) shape: Shaped,
}

impl PendingPod {
    pub(crate) fn read(pod: &Pod, shape: Shape) -> Option<Self> {
        Some(Self {
            key: pod_key(pod)?,
            uid: PodUid::new(pod.metadata.uid.as_deref().unwrap_or_default()),
            priority: pod
                .spec
                .as_ref()
                .and_then(|spec| spec.priority)
                .unwrap_or(0),
            shape: Shaped::new(shape),
        })
    }

    /// `namespace/name`.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Its uid.
    #[must_use]
    pub fn uid(&self) -> &PodUid {
        &self.uid
    }

    /// Higher goes first.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.priority
    }
}

/// Whether a pod waits for this scheduler: it has no node, is not ended, being deleted or gated,
/// and names no other scheduler.
#[must_use]
pub fn is_pending(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else {
        return false;
    };
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let ours = spec
        .scheduler_name
        .as_deref()
        .is_none_or(|name| name.is_empty() || SCHEDULER_NAMES.contains(&name));
    let gated = spec
        .scheduling_gates
        .as_ref()
        .is_some_and(|gates| !gates.is_empty());
    ours && !gated
        && spec.node_name.as_deref().is_none_or(str::is_empty)
        && pod.metadata.deletion_timestamp.is_none()
        && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// The fields of a pod that placement does not honour, in words, for a warning to its author.
#[must_use]
pub fn unsupported(pod: &Pod) -> Vec<String> {
    let mut found = Vec::new();
    let Some(spec) = &pod.spec else {
        return found;
    };
    if let Some(affinity) = &spec.affinity {
        unsupported_affinity(affinity, &mut found);
    }
    for (at, claim) in spec.resource_claims.iter().flatten().enumerate() {
        let name = &claim.name;
        found.push(format!(
            "spec.resourceClaims[{at}]: dynamic resource allocation is not honoured ({name})"
        ));
    }
    unsupported_volumes(spec, &mut found);
    found
}

fn unsupported_volumes(spec: &PodSpec, found: &mut Vec<String>) {
    for (at, volume) in spec.volumes.iter().flatten().enumerate() {
        if volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some() {
            found.push(format!(
                "spec.volumes[{at}]: the topology of persistent volumes is not honoured"
            ));
        }
    }
}

fn unsupported_affinity(affinity: &Affinity, found: &mut Vec<String>) {
    let mut term = |path: &str, term: &PodAffinityTerm| {
        if term
            .mismatch_label_keys
            .as_ref()
            .is_some_and(|keys| !keys.is_empty())
        {
            found.push(format!("{path}.mismatchLabelKeys is not honoured"));
        }
        let selects = term.namespace_selector.as_ref().is_some_and(|selector| {
            selector
                .match_labels
                .as_ref()
                .is_some_and(|labels| !labels.is_empty())
                || selector
                    .match_expressions
                    .as_ref()
                    .is_some_and(|list| !list.is_empty())
        });
        if selects {
            found.push(format!(
                "{path}.namespaceSelector is not honoured, except an empty one"
            ));
        }
    };
    let root = "spec.affinity";
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    if let Some(pods) = &affinity.pod_affinity {
        for (at, one) in pods
            .required_during_scheduling_ignored_during_execution
            .iter()
            .flatten()
            .enumerate()
        {
            term(&format!("{root}.podAffinity.{REQUIRED}[{at}]"), one);
        }
        for (at, one) in pods
            .preferred_during_scheduling_ignored_during_execution
            .iter()
            .flatten()
            .enumerate()
        {
            term(
                &format!("{root}.podAffinity.{PREFERRED}[{at}].podAffinityTerm"),
                &one.pod_affinity_term,
            );
        }
    }
    if let Some(pods) = &affinity.pod_anti_affinity {
        for (at, one) in pods
            .required_during_scheduling_ignored_during_execution
            .iter()
            .flatten()
            .enumerate()
        {
            term(&format!("{root}.podAntiAffinity.{REQUIRED}[{at}]"), one);
        }
        for (at, one) in pods
            .preferred_during_scheduling_ignored_during_execution
            .iter()
            .flatten()
            .enumerate()
        {
            term(
                &format!("{root}.podAntiAffinity.{PREFERRED}[{at}].podAffinityTerm"),
                &one.pod_affinity_term,
            );
        }
    }
}
