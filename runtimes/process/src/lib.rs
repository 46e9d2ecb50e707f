//! Pods as processes of the node: the runtime behind `image: host`.
//!
//! What it is: a [`ProcessRuntime`] in the agent and, for each container, a small supervisor ("shim") that is the
//! agent's own binary started with a hidden subcommand and handed to [`shim_main`]. The shim leaves the agent's
//! session, owns the program's streams and its exit status, and dies with it.
//!
//! What it is not: an image store. Images other than `host` are refused with words.
//!
//! Invariants:
//! * An attempt runs at most once. The shim holds a lock on the attempt's directory for its whole life and leaves a
//!   mark there before the first fork; no shim starts where there is a mark.
//! * The directory is the truth. `started.json` and `exit.json` are written by whoever holds the lock, appear whole or
//!   not at all, and are never changed. What the agent holds in memory is a copy.
//! * Nothing of a container outlives it. Where the node permits, the shim is the init of a pid namespace, so that even
//!   its own violent death ends every descendant; elsewhere it is a subreaper and kills what it adopts.
//! * The node's own file system is not changed by a volume: paths that do not exist are made in a private mount
//!   namespace (see [`shim`'s mounts](crate::shim)).
//! * What the node does not permit is said in [`pontoon_runtime::Capabilities`] and in a container's warnings.

#![allow(unsafe_code)] // System calls that no crate wraps: pidfds, the mount API, fork. Each site says why it is sound.

mod cgroup;
mod layout;
pub mod limits;
mod plan;
mod procfs;
mod runtime;
pub mod shim;
mod syscall;

pub use runtime::{OpenError, ProcessConfig, ProcessRuntime};
pub use shim::shim_main;
