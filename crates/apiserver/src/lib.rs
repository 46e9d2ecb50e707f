//! The API server: REST and gRPC fronts over one verb layer; watch fan-out; agents' sessions.
//!
//! It is not the store (it meets it through [`pontoon_state::Replica`] only) and holds no state but soft state:
//! views kept for pages, encoded events, which nodes are connected. It does not know what a kind means beyond
//! [`pontoon_api::Kind`].
//!
//! Invariants:
//! - both fronts go through [`verbs`], and differ in encoding only;
//! - an error becomes a Status or a code in [`respond`] and nowhere else;
//! - every write is conditional on what it was made from;
//! - nobody is waited for: a slow watcher is dropped, a full server says 429;
//! - without a client certificate there is health, and joining for who has a token, and nothing else.

pub mod admit;
pub mod authenticate;
pub mod authorize;
pub mod bootstrap;
pub mod error;
mod fanout;
mod gates;
pub mod grpc;
pub mod limits;
mod metrics;
pub mod node_service;
pub mod planner;
pub mod registrar;
pub mod request;
pub mod respond;
pub mod rest;
pub mod selection;
pub mod serve;
pub mod server;
pub mod services;
pub mod verbs;

pub use bootstrap::bootstrap;
pub use error::VerbError;
pub use node_service::{Alone, NodeLiveness, NodeService, Others};
pub use planner::Planner;
pub use registrar::{Registrar, RegistrarError};
pub use serve::serve;
pub use server::{ApiServer, Parts};
