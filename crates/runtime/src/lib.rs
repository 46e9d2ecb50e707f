//! The runtime contract: what the node agent asks of whatever runs its containers, and what it may rely on.
//!
//! What it is: the [`Runtime`] trait with its vocabulary, an in-memory [`fake`] for tests of the agent, and the
//! [`conformance`] suite that the fake and every real runtime pass.
//!
//! What it is not: a runtime. Nothing here starts a process, and nothing here knows pods' life cycle: restart
//! policy, back-off and probes belong to the agent.
//!
//! Invariants every runtime keeps:
//! * one attempt of one container of one sandbox runs at most once, ever, also across restarts of the agent;
//! * [`Runtime::list`] is the truth, events only say when to look;
//! * what a runtime cannot isolate or limit is said in [`Capabilities`], never left out in silence;
//! * a container outlives the process that asked for it.

pub mod conformance;
pub mod contract;
pub mod error;
pub mod fake;
pub mod limits;
pub mod log;

pub use contract::Runtime;
pub use contract::capabilities::{Capabilities, Capability, Support};
pub use contract::exec::{ExecExit, ExecInput, ExecOutput, ExecSession, ExecSpec, TerminalSize};
pub use contract::id::{ContainerId, SandboxId};
pub use contract::spec::{
    ContainerSpec, Mount, PodIdentity, PullPolicy, ResourceLimits, RunAs, SandboxSpec,
};
pub use contract::status::{
    ContainerState, ContainerStats, ContainerStatus, Exit, ExitReason, Inventory, RuntimeEvent,
    RuntimeVersion, SandboxState, SandboxStatus,
};
pub use error::RuntimeError;
