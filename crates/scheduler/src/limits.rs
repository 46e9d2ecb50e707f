//! Limits of this crate, each with its reason.

/// Below this many nodes every feasible node is scored (kube-scheduler's
/// `minFeasibleNodesToFind`).
pub const MIN_SAMPLED_NODES: usize = 100;

/// Most feasible nodes that are scored for one pod. kube-scheduler samples 5-50 % of the nodes;
/// past a few hundred a larger sample changes the best score by less than the score's own
/// resolution of one percent, and its cost would grow with the cluster.
pub const MAX_SAMPLED_NODES: usize = 500;

/// Topology keys with a live index. Keys come from users' pods; past this many the index is
/// dropped and built again for the keys in use.
pub const MAX_TOPOLOGY_KEYS: usize = 32;

/// Sets of node constraints whose verdicts are remembered between calls. One costs a byte per
/// node.
pub const MAX_REMEMBERED_CONSTRAINTS: usize = 256;
