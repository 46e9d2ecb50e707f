//! Limits of what controllers do at once.

/// Pods placed in one scheduling round.
pub const PODS_PER_ROUND: usize = 2_048;

/// Most pods a ReplicaSet creates or deletes in one plan: `burstReplicas` of Kubernetes' controller.
pub const BURST_REPLICAS: usize = 500;
