//! The agents' side of the server: one session for each node, and tunnels into its pods.
//!
//! The agent dials. Its session brings down the pods bound to the node with what they refer to, and every
//! service with its endpoints; up come heartbeats, pod statuses and events. Logs, exec and port-forward go through
//! tunnels that the agent opens when its session says so.
//!
//! Invariants:
//! - a session writes only to its own Node and to pods bound to it;
//! - a node has one session on a server: a newer one ends the older;
//! - liveness is soft state: heartbeats are not written, and reach the leader from whichever server has the session;
//! - any server reaches any connected node.

mod events;
mod feed;
mod liveness;
mod node;
mod others;
mod ranges;
mod references;
mod relay;
mod reports;
mod session;
mod signs;
mod streams;
mod tunnels;

use crate::authenticate::administrator;
use crate::request::Caller;
use crate::services::RangeError;
use crate::verbs::Verbs;
use parking_lot::Mutex;
use pontoon_wire::node::v1 as wire;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use liveness::NodeLiveness;
pub use others::{Alone, Others};
pub use streams::{ExecOptions, LogOptions, LogStream};
pub use tunnels::Tunnel;

/// The agents' side of the server. A clone shares it.
#[derive(Clone)]
pub struct NodeService {
    inner: Arc<Inner>,
}

struct Inner {
    verbs: Arc<Verbs>,
    cluster_domain: String,
    ranges: ranges::PodRanges,
    liveness: NodeLiveness,
    others: Arc<dyn Others>,
    /// Whether the leader has not been reached for too long.
    cut_off: watch::Sender<bool>,
    sessions: Mutex<HashMap<String, Handle>>,
    tunnels: tunnels::Registry,
    stopping: CancellationToken,
}

/// A node's session, as others reach it.
#[derive(Clone)]
struct Handle {
    down: mpsc::Sender<Result<wire::Down, tonic::Status>>,
    ended: CancellationToken,
}

impl std::fmt::Debug for NodeService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeService")
            .field("sessions", &self.inner.sessions.lock().len())
            .finish_non_exhaustive()
    }
}

impl NodeService {
    pub(crate) fn new(
        verbs: Arc<Verbs>,
        cluster_domain: String,
        pod_cidr: &str,
        others: Arc<dyn Others>,
        stopping: CancellationToken,
    ) -> Result<Self, RangeError> {
        let ranges = ranges::PodRanges::parse(pod_cidr)?;
        let inner = Inner {
            verbs,
            cluster_domain,
            ranges,
            liveness: NodeLiveness::default(),
            others,
            cut_off: watch::Sender::new(false),
            sessions: Mutex::default(),
            tunnels: tunnels::Registry::default(),
            stopping,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    pub(crate) fn liveness(&self) -> NodeLiveness {
        self.inner.liveness.clone()
    }

    /// Nodes that have a session with this server.
    #[must_use]
    pub fn connected(&self) -> Vec<String> {
        self.inner.sessions.lock().keys().cloned().collect()
    }
}

/// What the server itself writes as, once a session's right to it is checked.
fn own_caller() -> Caller {
    Caller {
        identity: administrator("system:apiserver"),
    }
}

fn down(message: wire::down::Message) -> wire::Down {
    wire::Down {
        message: Some(message),
    }
}
