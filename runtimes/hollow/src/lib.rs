//! The hollow runtime: pods that are only played, so that thousands of pods on many nodes fit into one process.
//!
//! It keeps the whole runtime contract and starts nothing: no process, no namespace, no file. A container runs from
//! the moment it is started until it is stopped, or until its own [`script`] ends it. Everything else that this product does
//! with a pod (placing, starting, probing, reporting, replacing) is done for real, which is what it is for: load,
//! fault injection, and the behaviour of a control plane over more nodes than one has machines.
//!
//! What it is not: a place to run anything, and a fake. The fake of the runtime contract can be told to fail and remembers what
//! it was asked; this remembers no more of a container than its status.
//!
//! Invariants:
//! - an attempt that exists is not started again;
//! - what is kept of a container is bounded by its names: its environment, mounts and limits are not kept;
//! - the end of this object is the end of its containers, as the loss of a machine is.

pub mod limits;
pub mod runtime;
pub mod script;
mod talk;

pub use runtime::{Clock, HollowRuntime};
