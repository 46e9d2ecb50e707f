//! `pontoon.v1.Cluster`.

use super::convert::caller;
use crate::rest::KUBERNETES;
use crate::server::ApiServer;
use pontoon_wire::pontoon::v1 as wire;
use pontoon_wire::pontoon::v1::cluster_server::Cluster;
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub(super) struct ClusterFront {
    server: Arc<ApiServer>,
}

impl ClusterFront {
    pub(super) const fn new(server: Arc<ApiServer>) -> Self {
        Self { server }
    }
}

#[tonic::async_trait]
impl Cluster for ClusterFront {
    async fn status(
        &self,
        request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        caller(&request)?;
        let replica = &self.server.verbs.replica;
        let leadership = replica.leadership();
        let members = replica.members().into_iter();
        Ok(Response::new(wire::StatusResponse {
            cluster_id: self.server.cluster_id.clone(),
            version: self.server.version.clone(),
            kubernetes_version: KUBERNETES.to_owned(),
            leader_id: leadership.leader.unwrap_or(0),
            term: leadership.term.0,
            revision: replica.view().revision().0,
            applied_index: replica.applied_index(),
            members: members
                .map(|member| wire::Member {
                    id: member.id,
                    address: member.address,
                    voter: member.voter,
                })
                .collect(),
        }))
    }
}
