//! The gRPC front: `pontoon.v1` for programs, `node.v1` for agents, health and reflection.
//!
//! It turns messages into the verb layer's requests and back, and nothing else.

mod cluster;
mod convert;
mod join;
mod objects;
mod pods;

use crate::server::ApiServer;
use pontoon_wire::MAX_MESSAGE_BYTES;
use pontoon_wire::node::v1::nodes_server::NodesServer;
use pontoon_wire::pontoon::v1::cluster_server::ClusterServer;
use pontoon_wire::pontoon::v1::join_server::JoinServer;
use pontoon_wire::pontoon::v1::objects_server::ObjectsServer;
use pontoon_wire::pontoon::v1::pods_server::PodsServer;
use std::sync::Arc;
use tonic::service::Routes;

/// What answers without a certificate: health, and joining, for which a token stands.
const OPEN: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/pontoon.v1.Join/Server",
    "/pontoon.v1.Join/Agent",
];

/// Whether a path answers without a certificate.
pub(crate) fn is_open(path: &str) -> bool {
    OPEN.iter().any(|open| {
        path.strip_prefix(open)
            .is_some_and(|rest| open.ends_with('/') || rest.is_empty())
    })
}

/// Every gRPC service of a server.
///
/// # Panics
/// Never: the descriptors are this program's own.
#[must_use]
pub fn routes(server: &Arc<ApiServer>) -> Routes {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pontoon_wire::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = reflection()
        .build_v1()
        .expect("the descriptors were compiled with this program");
    let v1alpha = reflection()
        .build_v1alpha()
        .expect("the descriptors were compiled with this program");
    let (health, health_service) = tonic_health::server::health_reporter();
    // What is up answers; whether it is ready is /readyz's to say.
    drop(health);
    Routes::new(
        ObjectsServer::new(objects::ObjectsFront::new(server.clone()))
            .max_decoding_message_size(MAX_MESSAGE_BYTES),
    )
    .add_service(
        PodsServer::new(pods::PodsFront::new(server.clone()))
            .max_decoding_message_size(MAX_MESSAGE_BYTES),
    )
    .add_service(ClusterServer::new(cluster::ClusterFront::new(
        server.clone(),
    )))
    .add_service(JoinServer::new(join::JoinFront::new(server.clone())))
    .add_service(
        NodesServer::new(server.nodes.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES),
    )
    .add_service(health_service)
    .add_service(v1)
    .add_service(v1alpha)
    .prepare()
}
