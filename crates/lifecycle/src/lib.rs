//! One pod on one node as a pure machine: inputs and the time go in, actions, reports, events and timers come out.
//!
//! What it is: everything a kubelet decides about a pod that is already bound to its node. Which container starts when,
//! what is restarted and how long it is held back, what a probe's answer means, in which order a pod ends, and what its
//! status says of all that, in Kubernetes' words.
//!
//! What it is not: it starts nothing, reads no file and no clock, and knows no runtime. A driver carries the [`Action`]s
//! out and answers each of them with one [`Input`]; time is given with every input, and [`Machine::poll_timeout`] says
//! when to come back.
//!
//! Invariants ([`invariant`]), asserted after every input:
//! - a pod's phase only moves forward, and a pod that has ended stays ended;
//! - a container has at most one attempt that may be alive, and a number names one attempt for ever;
//! - only a running container is ready, and only a pod whose containers are ready is;
//! - a pod is given up only when nothing of it can be alive.

pub mod action;
mod bring_up;
mod conditions;
pub mod input;
pub mod invariant;
pub mod limits;
pub mod machine;
pub mod phase;
mod probe;
pub mod qos;
pub mod restart;
mod shutdown;
mod slot;
mod status;

pub use action::{Action, Event, EventType};
pub use input::{
    Exit, Input, NodeFacts, ProbeKind, ProbeOutcome, Recovered, RecoveredContainer, RecoveredState,
    StartFailure,
};
pub use machine::{Machine, TimerReason};
pub use phase::Phase;
