//! Every control decision as a pure plan: a view, a key and the time in; writes, a time to look again and events out.
//!
//! No clock, no entropy, no IO: the loop in `reconcile` drives these, gives names and uids to what they create, makes
//! every write conditional on what the plan saw, and fences it by term. A controller has no memory: all it knows is in
//! the view, so that another server can go on at any point.

pub mod controller;
pub mod limits;
pub mod scheduling;

pub use controller::{Context, Controller, EventNote, EventType, Intent, Liveness, Plan, PlanError, Requeue};
