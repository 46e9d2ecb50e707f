//! Pod addresses, routes and service rules of one node.
//!
//! What it is: the [`Dataplane`] port, through which an agent gives each pod one address and one network namespace
//! and tells the node which service addresses lead to which endpoints; a Linux implementation (routed veth pairs by
//! netlink, services as nftables verdict maps); one for machines that forbid both; one for nodes that are only played; and a
//! fake.
//!
//! What it is not: it never reads the cluster's objects, starts no container, answers no DNS query, and does not connect
//! nodes with each other.
//!
//! Invariants:
//! - A pod uid keeps its address from its first `attach` to its `detach`, whatever process restarts in between: the
//!   address ledger is written before the kernel is told.
//! - No two attached pods have one address, and a freed address is the last to be given again.
//! - Each change of service rules reaches the kernel as one transaction: a packet sees the old rules or the new.
//! - After `teardown` nothing of ours is left: no namespace, interface, address, route, rule or mount.

pub mod cidr;
pub mod conformance;
pub mod dataplane;
pub mod fake;
pub mod hollow;
pub mod host;
pub mod ledger;
pub mod limits;
pub mod linux;
pub mod metrics;
pub mod rootless;
