//! `pontoon.v1.Cluster`.

use super::convert::caller;
use crate::registrar::{Issued, MemberView, RegistrarError, Wanted, administrators_only};
use crate::rest::KUBERNETES;
use crate::server::ApiServer;
use pontoon_identity::Role;
use pontoon_state::records::Token;
use pontoon_wire::pontoon::v1 as wire;
use pontoon_wire::pontoon::v1::cluster_server::Cluster;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status};

pub(super) struct ClusterFront {
    server: Arc<ApiServer>,
}

impl ClusterFront {
    pub(super) const fn new(server: Arc<ApiServer>) -> Self {
        Self { server }
    }

    async fn membership(&self) -> Response<wire::MembershipResponse> {
        let members = self.server.registrar.members().await;
        let leader = self.server.verbs.replica.leadership().leader;
        Response::new(wire::MembershipResponse {
            leader_id: leader.unwrap_or(0),
            members: members.into_iter().map(member).collect(),
        })
    }
}

/// A member as a message.
pub(super) fn member(found: MemberView) -> wire::Member {
    let api = match found.api_address.as_str() {
        "" => String::new(),
        address => format!("https://{address}"),
    };
    wire::Member {
        id: found.id,
        address: found.address,
        voter: found.progress.voter,
        api,
        matched_index: found.progress.matched,
        version: found.version,
        digest: found
            .digest
            .map(|(_, digest)| digest.to_string())
            .unwrap_or_default(),
        digest_revision: found.digest.map_or(0, |(revision, _)| revision.0),
        heard_ms: found.progress.heard_ms,
    }
}

fn token((id, record): (String, Token)) -> wire::TokenInfo {
    let role = match Role::parse(&record.role) {
        Some(Role::Server) => wire::Role::Server,
        Some(Role::Agent) => wire::Role::Agent,
        None => wire::Role::Unspecified,
    };
    wire::TokenInfo {
        id,
        role: role.into(),
        expires: record.expires,
        node_name: record.node_name,
        used_by: record.used_by,
    }
}

/// The request of an administrator; nobody else's.
#[allow(clippy::result_large_err, reason = "tonic's own error type")]
fn of_administrator<T>(request: Request<T>) -> Result<T, Status> {
    administrators_only(&caller(&request)?.identity)?;
    Ok(request.into_inner())
}

#[tonic::async_trait]
impl Cluster for ClusterFront {
    async fn status(
        &self,
        request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        caller(&request)?;
        let registrar = &self.server.registrar;
        let members = registrar.members().await;
        let replica = &self.server.verbs.replica;
        let leadership = replica.leadership();
        Ok(Response::new(wire::StatusResponse {
            cluster_id: self.server.cluster_id.clone(),
            version: self.server.version.clone(),
            kubernetes_version: KUBERNETES.to_owned(),
            leader_id: leadership.leader.unwrap_or(0),
            term: leadership.term.0,
            revision: replica.view().revision().0,
            applied_index: replica.applied_index(),
            members: members.into_iter().map(member).collect(),
            answered_by: registrar.membership.me(),
        }))
    }

    async fn create_token(
        &self,
        request: Request<wire::CreateTokenRequest>,
    ) -> Result<Response<wire::CreateTokenResponse>, Status> {
        let sent = of_administrator(request)?;
        let role = match sent.role() {
            wire::Role::Server => Role::Server,
            wire::Role::Agent => Role::Agent,
            wire::Role::Unspecified => {
                let why = "role: say whether a server or an agent is to join";
                return Err(RegistrarError::Invalid(why.into()).into());
            }
        };
        let wanted = Wanted {
            role,
            ttl: Duration::from_secs(sent.ttl_seconds),
            node_name: sent.node_name,
        };
        let Issued {
            token: made,
            record,
        } = self.server.registrar.create_token(&wanted).await?;
        Ok(Response::new(wire::CreateTokenResponse {
            token: made.reveal(),
            info: Some(token((made.id, record))),
        }))
    }

    async fn list_tokens(
        &self,
        request: Request<wire::ListTokensRequest>,
    ) -> Result<Response<wire::ListTokensResponse>, Status> {
        of_administrator(request)?;
        let tokens = self.server.registrar.list_tokens().await?;
        Ok(Response::new(wire::ListTokensResponse {
            tokens: tokens.into_iter().map(token).collect(),
        }))
    }

    async fn revoke_token(
        &self,
        request: Request<wire::RevokeTokenRequest>,
    ) -> Result<Response<wire::RevokeTokenResponse>, Status> {
        let sent = of_administrator(request)?;
        self.server.registrar.revoke_token(&sent.id).await?;
        Ok(Response::new(wire::RevokeTokenResponse {}))
    }

    async fn promote(
        &self,
        request: Request<wire::PromoteRequest>,
    ) -> Result<Response<wire::MembershipResponse>, Status> {
        let sent = of_administrator(request)?;
        self.server.registrar.promote(sent.id).await?;
        Ok(self.membership().await)
    }

    async fn remove(
        &self,
        request: Request<wire::RemoveRequest>,
    ) -> Result<Response<wire::MembershipResponse>, Status> {
        let sent = of_administrator(request)?;
        self.server.registrar.remove(sent.id, sent.force).await?;
        Ok(self.membership().await)
    }

    async fn transfer(
        &self,
        request: Request<wire::TransferRequest>,
    ) -> Result<Response<wire::MembershipResponse>, Status> {
        let sent = of_administrator(request)?;
        let to = Some(sent.id).filter(|id| *id != 0);
        let registrar = &self.server.registrar;
        registrar
            .membership
            .transfer(to)
            .await
            .map_err(RegistrarError::from)?;
        Ok(self.membership().await)
    }

    async fn rotate_key(
        &self,
        _: Request<wire::RotateKeyRequest>,
    ) -> Result<Response<wire::RotateKeyResponse>, Status> {
        Err(later())
    }

    type BackupStream = futures::stream::Empty<Result<wire::BackupChunk, Status>>;

    async fn backup(
        &self,
        _: Request<wire::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        Err(later())
    }
}

fn later() -> Status {
    Status::unimplemented("this server does not know how to do that")
}
