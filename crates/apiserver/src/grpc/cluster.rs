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
                    digest: member
                        .digest
                        .map(|(_, digest)| digest.to_string())
                        .unwrap_or_default(),
                    digest_revision: member.digest.map_or(0, |(revision, _)| revision.0),
                    ..wire::Member::default()
                })
                .collect(),
            answered_by: 0,
        }))
    }

    type BackupStream = futures::stream::Empty<Result<wire::BackupChunk, Status>>;

    async fn create_token(
        &self,
        _: Request<wire::CreateTokenRequest>,
    ) -> Result<Response<wire::CreateTokenResponse>, Status> {
        Err(later())
    }

    async fn list_tokens(
        &self,
        _: Request<wire::ListTokensRequest>,
    ) -> Result<Response<wire::ListTokensResponse>, Status> {
        Err(later())
    }

    async fn revoke_token(
        &self,
        _: Request<wire::RevokeTokenRequest>,
    ) -> Result<Response<wire::RevokeTokenResponse>, Status> {
        Err(later())
    }

    async fn promote(
        &self,
        _: Request<wire::PromoteRequest>,
    ) -> Result<Response<wire::MembershipResponse>, Status> {
        Err(later())
    }

    async fn remove(
        &self,
        _: Request<wire::RemoveRequest>,
    ) -> Result<Response<wire::MembershipResponse>, Status> {
        Err(later())
    }

    async fn transfer(
        &self,
        _: Request<wire::TransferRequest>,
    ) -> Result<Response<wire::MembershipResponse>, Status> {
        Err(later())
    }

    async fn rotate_key(
        &self,
        _: Request<wire::RotateKeyRequest>,
    ) -> Result<Response<wire::RotateKeyResponse>, Status> {
        Err(later())
    }

    async fn backup(
        &self,
        _: Request<wire::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        Err(later())
    }
}

fn later() -> Status {
    Status::unimplemented("this server is its cluster's one member, and cannot change that")
}
