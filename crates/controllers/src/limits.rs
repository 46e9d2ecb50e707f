//! Limits of what controllers do at once.

use std::time::Duration;

/// Pods placed in one scheduling round.
pub const PODS_PER_ROUND: usize = 2_048;

/// How long an unschedulable pod waits before it is tried again though nothing relevant changed: kube-scheduler's
/// `podMaxInUnschedulablePodsDuration`.
pub const UNSCHEDULABLE_RETRY: Duration = Duration::from_secs(300);

/// Most pods a ReplicaSet creates or deletes in one plan: `burstReplicas` of Kubernetes' controller.
pub const BURST_REPLICAS: usize = 500;
