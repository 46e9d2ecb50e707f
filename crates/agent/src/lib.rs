//! The node agent: it runs the pods that servers assign to this node, and tells them what became of each.
//!
//! What it is: the driver around `lifecycle`'s pure machines. A session brings assignments and services; one task per
//! pod has its machine's actions carried out by a runtime and the data plane; statuses go up; a ledger on the disk lets
//! all of it go on when servers, or the agent itself, go away.
//!
//! What it is not: it decides nothing about a pod (`lifecycle` does), places none (the scheduler does), and reads no
//! object that a server did not send. No port is open on the node: the agent dials.
//!
//! Invariants:
//! - of one container at most one attempt runs, also across restarts of the agent: nothing is started before every
//!   runtime has said what it has;
//! - what runs when the agent starts is adopted, never restarted, unless the synced session says that no pod claims it;
//! - a pod's status is reported until a server has committed it; of two the later wins;
//! - a local pod that is not ready, or ends, is behind no service of this node from that moment on;
//! - every queue is bounded, and what happens when it is full is said in [`limits`].

pub mod agent;
mod container;
mod context;
mod driver;
pub mod enrol;
pub mod environment;
mod hooks;
pub mod ledger;
pub mod limits;
mod logs;
pub mod metrics;
pub mod node;
mod pod;
mod pods;
mod probes;
pub mod references;
mod report;
pub mod services;
mod session;
mod termination;
mod tunnel;
mod view;
pub mod volumes;

pub use agent::{Agent, Config, Memory, StartError};
pub use node::Reserve;
pub use services::{Names, NoNames};
pub use session::{Connection, Dial};
