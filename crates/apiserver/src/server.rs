//! The API server put together: one verb layer, its fronts, the nodes' sessions.

use crate::admit::Plugin;
use crate::authorize::Authorizer;
use crate::gates::Gates;
use crate::node_service::{NodeLiveness, NodeService, Others};
use crate::planner::Planner;
use crate::registrar::{Registrar, Settings};
use crate::rest::{Discovery, OpenApi};
use crate::services::{RangeError, ServiceAddresses};
use crate::verbs::Verbs;
use pontoon_identity::Authorities;
use pontoon_state::{Membership, Replica};
use pontoon_telemetry::{Health, Metrics};
use pontoon_world::World;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What an API server is made of.
pub struct Parts {
    /// The store.
    pub replica: Arc<dyn Replica>,
    /// Clock and entropy.
    pub world: World,
    /// Who may do what; [`crate::authorize::BuiltIn`] until there are roles.
    pub authorizer: Arc<dyn Authorizer>,
    /// Admission plug-ins, in order.
    pub plugins: Vec<Arc<dyn Plugin>>,
    /// What foretells the effects of a plan.
    pub planner: Arc<dyn Planner>,
    /// Where services get their addresses, such as `10.96.0.0/16`.
    pub service_cidr: String,
    /// Where nodes get their pod ranges, such as `10.244.0.0/16`: a /24 each.
    pub pod_cidr: String,
    /// Such as `cluster.local`.
    pub cluster_domain: String,
    /// Where pods reach this API server: the endpoint of the `kubernetes` service. `None` leaves it without.
    pub advertise: Option<SocketAddr>,
    /// The other servers; [`crate::node_service::Alone`] where there are none.
    pub others: Arc<dyn Others>,
    /// What `/livez` and `/readyz` answer.
    pub health: Health,
    /// What `/metrics` answers.
    pub metrics: Metrics,
    /// The cluster's id, for `Cluster.Status`.
    pub cluster_id: String,
    /// What only the leader knows or can do.
    pub membership: Arc<dyn Membership>,
    /// What certificates for those who join are signed with; without them nobody joins.
    pub authorities: Option<Arc<Authorities>>,
    /// Pontoon's version.
    pub version: String,
}

/// The API server. Cheap to share.
pub struct ApiServer {
    pub(crate) verbs: Arc<Verbs>,
    pub(crate) nodes: NodeService,
    pub(crate) gates: Gates,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) discovery: Discovery,
    pub(crate) openapi: OpenApi,
    pub(crate) cluster_id: String,
    pub(crate) registrar: Registrar,
    pub(crate) version: String,
    pub(crate) advertise: Option<SocketAddr>,
    /// Cancelled when the server stops: watches and sessions end.
    pub(crate) stopping: CancellationToken,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer")
            .field("cluster", &self.cluster_id)
            .finish_non_exhaustive()
    }
}

impl ApiServer {
    /// Puts the parts together.
    ///
    /// # Errors
    /// [`RangeError`] when a range cannot be used.
    pub fn new(parts: Parts) -> Result<Arc<Self>, RangeError> {
        crate::metrics::describe();
        let addresses = ServiceAddresses::parse(&parts.service_cidr)?;
        let stopping = CancellationToken::new();
        let registrar = Registrar::new(
            parts.replica.clone(),
            parts.membership,
            parts.authorities,
            parts.world.clone(),
            parts.cluster_id.clone(),
            Settings {
                service_cidr: parts.service_cidr,
                pod_cidr: parts.pod_cidr.clone(),
                cluster_domain: parts.cluster_domain.clone(),
            },
        );
        let verbs = Arc::new(Verbs::new(
            parts.replica,
            parts.world,
            parts.authorizer,
            parts.plugins,
            addresses,
            parts.planner,
        ));
        let nodes = NodeService::new(
            verbs.clone(),
            parts.cluster_domain,
            &parts.pod_cidr,
            parts.others,
            stopping.clone(),
        )?;
        Ok(Arc::new(Self {
            verbs,
            nodes,
            gates: Gates::new(),
            health: parts.health,
            metrics: parts.metrics,
            discovery: Discovery::new(),
            openapi: OpenApi::new(),
            cluster_id: parts.cluster_id,
            registrar,
            version: parts.version,
            advertise: parts.advertise,
            stopping,
        }))
    }

    /// The verb layer, for what runs in the same process.
    #[must_use]
    pub const fn verbs(&self) -> &Arc<Verbs> {
        &self.verbs
    }

    /// The agents' side of the server: what tells the leader of nodes, and answers other servers.
    #[must_use]
    pub const fn nodes(&self) -> &NodeService {
        &self.nodes
    }

    /// Ends watches, sessions and what the server does by itself, also when it never served a listener.
    pub fn end(&self) {
        self.stopping.cancel();
    }

    /// The cluster's own administration.
    #[must_use]
    pub const fn registrar(&self) -> &Registrar {
        &self.registrar
    }

    /// When each node was last heard of by this server: soft state, for the node-health controller.
    #[must_use]
    pub fn liveness(&self) -> NodeLiveness {
        self.nodes.liveness()
    }
}
