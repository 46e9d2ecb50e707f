//! Pure pod placement: filter, score, explain.
//!
//! [`Cluster`] knows what is free where. It is fed whole objects (nodes, pods, runtime classes,
//! services) in any order, and [`schedule`] places pending pods on it, assuming each placement
//! at once so that the next pod sees it. Rules are those of kube-scheduler's default profile;
//! [`unsupported`] names in words the fields of a pod that are not honoured.
//!
//! A driver, for each change of the store: gives nodes, pods, runtime classes and services to the
//! [`Cluster`], pods to the [`Queue`] too, and the [`Wake`] it gets back to [`Queue::wake`]. When
//! pods are due: [`Queue::take`], read each with [`Cluster::pending`], [`schedule`],
//! [`Queue::answer`], propose the bindings. For a refused binding: [`Cluster::forget`],
//! [`Queue::wake`] with what that returns, [`Queue::retry`].
//!
//! What it is not: it reads no clock, no store and no entropy, keeps no timers, and binds
//! nothing. Preemption will live in `preempt.rs`; its place is where `place.rs` gives up on a pod.
//!
//! Invariants ([`invariant`] checks the first three):
//! - what is used on a node is exactly the sum of the pods counted there;
//! - a pod is counted on one node at most, and a placed pod is never placed again;
//! - a placement never makes a node promise more than it has;
//! - a pod is left waiting only if every node was looked at and refused;
//! - the same inputs with the same seed give the same placements.

pub mod cluster;
pub mod explain;
mod filter;
pub mod invariant;
mod ledger;
pub mod limits;
mod node;
pub mod pending;
mod place;
pub mod queue;
pub mod requests;
mod score;
mod selector;
pub mod shape;
mod slots;
pub mod wake;

pub use cluster::Cluster;
pub use explain::Explanation;
pub use pending::{PendingPod, is_pending, unsupported};
pub use place::{Decision, schedule};
pub use queue::Queue;
pub use wake::Wake;
