//! `pontoon.v1.Join`: for who has a token and no certificate yet.

use super::cluster::member;
use super::convert::caller;
use crate::registrar::{AgentPlace, AgentRequest, MemberView, ServerRequest};
use crate::server::ApiServer;
use pontoon_identity::authority::Handed;
use pontoon_state::Progress;
use pontoon_wire::pontoon::v1 as wire;
use pontoon_wire::pontoon::v1::join_server::Join;
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub(super) struct JoinFront {
    server: Arc<ApiServer>,
}

impl JoinFront {
    pub(super) const fn new(server: Arc<ApiServer>) -> Self {
        Self { server }
    }
}

fn authority(handed: Handed) -> wire::Authority {
    wire::Authority {
        certificate: handed.certificate,
        key: handed.key,
    }
}

#[tonic::async_trait]
impl Join for JoinFront {
    async fn server(
        &self,
        request: Request<wire::JoinServerRequest>,
    ) -> Result<Response<wire::JoinServerResponse>, Status> {
        let sent = request.into_inner();
        let request = ServerRequest {
            token: sent.token,
            attempt: sent.attempt,
            peer_address: sent.peer_address,
            api_address: sent.api_address,
            version: sent.version,
        };
        let place = self.server.registrar.join_server(&request).await?;
        let members = place.members.into_iter().map(|(id, found)| {
            member(MemberView {
                id,
                address: found.peer_address,
                api_address: found.api_address,
                version: found.version,
                progress: Progress::default(),
                digest: None,
            })
        });
        Ok(Response::new(wire::JoinServerResponse {
            cluster_id: place.cluster,
            member_id: place.member,
            cluster_authority: Some(authority(place.cluster_authority)),
            peer_authority: Some(authority(place.peer_authority)),
            members: members.collect(),
            service_cidr: place.settings.service_cidr,
            pod_cidr: place.settings.pod_cidr,
            cluster_domain: place.settings.cluster_domain,
            keyring: bytes::Bytes::new(),
        }))
    }

    async fn agent(
        &self,
        request: Request<wire::JoinAgentRequest>,
    ) -> Result<Response<wire::JoinAgentResponse>, Status> {
        let sent = request.into_inner();
        let request = AgentRequest {
            token: sent.token,
            attempt: sent.attempt,
            node_name: sent.node_name,
            csr: sent.csr,
        };
        let AgentPlace {
            certificate,
            authority,
            servers,
            settings,
        } = self.server.registrar.join_agent(&request).await?;
        Ok(Response::new(wire::JoinAgentResponse {
            certificate,
            cluster_certificate: authority,
            servers,
            service_cidr: settings.service_cidr,
            pod_cidr: settings.pod_cidr,
            cluster_domain: settings.cluster_domain,
        }))
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::RenewResponse>, Status> {
        let caller = caller(&request)?;
        let csr = request.into_inner().csr;
        let place = self.server.registrar.renew(&caller.identity, &csr)?;
        Ok(Response::new(wire::RenewResponse {
            certificate: place.certificate,
            cluster_certificate: place.authority,
            servers: place.servers,
        }))
    }
}
