//! The one control loop: changes wake keys, keys become plans, plans become fenced transactions.
//!
//! It runs on every server and works on the one that leads; [`forecast`] has the same deciders work on a fork of the present. Nothing here decides anything about objects: that is
//! `controllers` and `scheduler`. What it adds is time, names, uids, order and patience.
//!
//! Invariants:
//! - a key has at most one proposal in flight, and is planned again only on a view that has the last one's outcome;
//! - every write carries the term it was planned in and the revision it was planned from;
//! - a plan that panics or cannot be written parks its key with back-off, and no other.

mod driver;
mod events;
pub mod forecast;
pub mod limits;
mod metrics;
mod placing;
mod queue;
mod transaction;

pub use driver::{Reconciler, Stop};
