//! Replication by Raft: proposals in, applied state out, on one member or several through the same code.
//!
//! The only user of openraft. [`Consensus`] is a replica and implements `state`'s port; [`serve`] answers the other
//! replicas over `raft.v1`. The durable form of entries (`durable`) and what replicas say to each other
//! (`messages`) are two schemas.
//!
//! Not here: what commands mean (`state`), how bytes reach the disk (`storage`), who is whose peer by name (`identity`).
//!
//! Invariants:
//! - a proposal is answered with an outcome only when it is durable on a majority and applied at the replica that
//!   was asked;
//! - a proposal is sent again only when it was certainly not done;
//! - a replica is `ready` to lead only when it has applied an entry of its own term, and there is one leader per term;
//! - a read sees everything acknowledged before it began, without trusting a clock;
//! - a replica whose state differs from a majority's serves nothing, neither votes nor leads;
//! - a message for another cluster or member, or in another's name, is refused.

mod agreement;
mod beside;
mod config;
mod consensus;
pub mod disk;
mod durable;
mod inspect;
pub mod limits;
mod log_store;
mod membership;
mod messages;
pub mod metrics;
mod network;
mod peers;
mod propose;
mod read;
mod server;
mod service;
mod space;
mod state_machine;
#[cfg(test)]
mod suite;
mod tls;
pub mod transport;
mod types;
mod waiters;

pub use beside::{PeerError, UnreachablePeer};
pub use config::{Config, Tuning};
pub use consensus::{Consensus, OpenError};
pub use disk::Disk;
pub use inspect::Inspection;
pub use membership::{MembershipError, Standing};
pub use server::serve;
pub use service::Service;
pub use tls::TlsParts;
