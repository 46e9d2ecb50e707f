//! The one list of controllers.

use crate::controller::Controller;
use crate::deployment::DeploymentController;
use crate::endpoints::{EndpointSliceController, EndpointsController};
use crate::namespaces::NamespaceController;
use crate::node_health::NodeHealthController;
use crate::owners::GarbageCollector;
use crate::pods::PodCleanup;
use crate::replica_set::ReplicaSetController;
use crate::service_accounts::ServiceAccountController;

/// Every controller, in the order they are told of changes.
#[must_use]
pub fn all() -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(DeploymentController),
        Box::new(ReplicaSetController),
        Box::new(EndpointSliceController),
        Box::new(EndpointsController),
        Box::new(GarbageCollector),
        Box::new(NamespaceController),
        Box::new(ServiceAccountController),
        Box::new(NodeHealthController),
        Box::new(PodCleanup),
    ]
}
