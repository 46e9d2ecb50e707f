//! A typed client of `pontoon.v1`: what the CLI and agents speak to the control plane with.
//!
//! [`Transport`] is one connection that moves to another server when its own is gone; [`Client`] is
//! the verbs over it, on objects as JSON; [`Collection`] the same verbs on Kubernetes' types;
//! [`watcher`] keeps a reader up to date, whatever happens to the connection.
//!
//! Not here: retries of writes whose fate is unknown (the caller alone knows whether asking twice is safe), and
//! anything of the store's formats.
//!
//! Invariants:
//! - a read is asked again at another server; a write only when it certainly did nothing;
//! - every call has a deadline; a stream has one for its beginning, and keepalive after that;
//! - nothing is buffered without bound: a reader who does not read stops the sender.

pub mod api;
mod cluster;
pub mod error;
mod failover;
pub mod limits;
pub mod streams;
pub mod target;
pub mod transport;
pub mod typed;
pub mod watcher;

pub use api::{Client, DeleteOptions, Listing, Selection};
pub use error::ClientError;
/// The messages of `pontoon.v1`, as calls take and give them: what uses this crate needs no other for them.
pub use pontoon_wire::pontoon::v1 as messages;
pub use transport::Transport;
pub use typed::Collection;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
