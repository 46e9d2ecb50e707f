//! Every control decision as a pure plan: a view, a key and the time in; writes, a time to look again and events out.
//!
//! No clock, no entropy, no IO: the loop in `reconcile` drives these, gives names and uids to what they create, makes
//! every write conditional on what the plan saw, and fences it by term. A controller has no memory: all it knows is in
//! the view, so that another server can go on at any point.
//!
//! Invariants:
//! - a plan for a world that is as it should be is empty;
//! - a plan never writes one object twice;
//! - a controller deletes only what it owns, and adopts only what nobody owns.

pub mod catalog;
pub mod controller;
pub mod deployment;
pub mod endpoints;
pub mod limits;
pub mod namespaces;
pub mod node_health;
pub mod owners;
mod ownership;
mod pod;
pub mod pods;
pub mod replica_set;
pub mod scheduling;
pub mod service_accounts;

pub use controller::{
    Context, Controller, EventNote, EventType, Intent, Liveness, Plan, PlanError, Requeue,
};
