//! The cluster's names, answered on each node from the node's own copy of services and endpoints.
//!
//! What it is: a [`zone::Zone`] (pure: services in, records out, by the Kubernetes DNS specification), a server that answers from it
//! and forwards the rest ([`server::DnsServer`]), and the texts of a pod's `/etc/resolv.conf` and `/etc/hosts` ([`resolv`]).
//!
//! What it is not: it watches nothing and stores nothing; whoever has the objects calls [`handler::Dns::upsert`].
//!
//! Invariants:
//! - A change of one service costs the size of that service; an answer costs the size of the answer.
//! - No datagram makes it panic, and none makes it wait without a bound: queries it cannot serve at once are refused.
//! - A name inside the cluster's domain is never asked of an upstream server.

pub mod entry;
pub mod forward;
pub mod handler;
pub mod limits;
pub mod metrics;
pub mod resolv;
pub mod server;
pub mod zone;
