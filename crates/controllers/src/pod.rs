//! Facts of pods that several controllers ask for.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use std::time::Duration;

/// The condition of a type, if the pod has it.
pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

/// Whether the pod is Ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Whether the pod has been Ready for `min_ready` seconds at `now`; if not yet, how long it takes.
pub(crate) fn availability(pod: &Pod, min_ready: i32, now: Timestamp) -> Availability {
    let Some(ready) = condition(pod, "Ready").filter(|condition| condition.status == "True") else {
        return Availability::NotReady;
    };
    if min_ready <= 0 {
        return Availability::Available;
    }
    let Some(since) = ready.last_transition_time.as_ref() else {
        return Availability::NotReady;
    };
    let wait = SignedDuration::from_secs(i64::from(min_ready)) - now.duration_since(since.0);
    if wait <= SignedDuration::ZERO {
        Availability::Available
    } else {
        Availability::In(wait.unsigned_abs())
    }
}

/// See [`availability`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Availability {
    /// Not Ready at all.
    NotReady,
    /// Ready, and available after this long if it stays so.
    In(Duration),
    /// Ready for long enough.
    Available,
}

/// `status.phase`, `Pending` when unset.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending")
}

/// Whether the pod has ended for good.
pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod is being deleted.
pub(crate) fn is_deleting(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether the pod counts towards a number of replicas.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_deleting(pod)
}

/// The node's name, if the pod is bound.
pub(crate) fn node(pod: &Pod) -> Option<&str> {
    pod.spec
        .as_ref()?
        .node_name
        .as_deref()
        .filter(|node| !node.is_empty())
}
