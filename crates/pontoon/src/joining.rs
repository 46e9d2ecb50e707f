//! `pontoon server --join`: how a server gets its place from a cluster that exists.
//!
//! It may be interrupted at any point, and goes on where it was: the attempt is kept before it is told to anybody, and what the
//! cluster answered before it is acted on.

use crate::limits::{JOIN_PATIENCE, JOIN_PAUSE};
use crate::place::{self, Place, Settings};
use anyhow::{Context as _, anyhow, bail};
use pontoon_client::{Transport, transport};
use pontoon_identity::authority::Handed;
use pontoon_identity::{Authorities, JoinToken, Role, tls};
use pontoon_wire::pontoon::v1 as wire;
use pontoon_wire::pontoon::v1::join_client::JoinClient;
use pontoon_world::World;
use std::path::Path;
use std::time::Instant;

/// Where a server is to be reached.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// By the other servers: `HOST:PORT`.
    pub(crate) peer: String,
    /// By clients: `HOST:PORT`.
    pub(crate) api: String,
}

/// Asks the server at `url` for a place, and keeps it.
pub(crate) async fn join(
    directory: &Path,
    url: &str,
    token: &str,
    attempt: Option<String>,
    addresses: &Addresses,
    world: &World,
) -> anyhow::Result<Place> {
    let parsed = JoinToken::parse(token)?;
    if parsed.role != Role::Server {
        bail!(
            "this join token is for an agent: make one with `pontoon cluster token create --role server`"
        );
    }
    let attempt = match attempt {
        Some(attempt) => attempt,
        None => place::begin(directory, world)?,
    };
    let transport = Transport::new(&transport::Config {
        servers: vec![url.to_owned()],
        server_name: None,
        tls: tls::pinned_client(parsed.pin, tls::GRPC_PROTOCOLS, world)?,
        user_agent: concat!("pontoon-server/", env!("CARGO_PKG_VERSION")).into(),
    })?;
    let request = wire::JoinServerRequest {
        token: parsed.reveal(),
        attempt,
        peer_address: addresses.peer.clone(),
        api_address: addresses.api.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let answer = ask(JoinClient::new(transport.channel()), &request, url).await?;
    keep(directory, answer)
}

type Client = JoinClient<
    tonic::service::interceptor::InterceptedService<tonic::transport::Channel, transport::Trace>,
>;

/// Asks until there is an answer: the cluster may be without a leader for a moment.
async fn ask(
    mut client: Client,
    request: &wire::JoinServerRequest,
    url: &str,
) -> anyhow::Result<wire::JoinServerResponse> {
    let begun = Instant::now();
    loop {
        let status = match client.server(request.clone()).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => status,
        };
        let passes = matches!(
            status.code(),
            tonic::Code::Unavailable | tonic::Code::DeadlineExceeded | tonic::Code::Unknown
        );
        let why = described(&status);
        let hopeless = !passes || why.contains("certificate") || why.contains("pinned");
        if hopeless || begun.elapsed() > JOIN_PATIENCE {
            return Err(anyhow!("{why}"))
                .with_context(|| format!("{url} gives no place in its cluster"));
        }
        tracing::info!(why, "the cluster is asked again for a place");
        tokio::time::sleep(JOIN_PAUSE).await;
    }
}

/// The reason at the bottom: what is above it says only that a call failed.
fn described(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}

/// Makes the answer durable.
fn keep(directory: &Path, answer: wire::JoinServerResponse) -> anyhow::Result<Place> {
    let handed = |authority: Option<wire::Authority>| {
        authority
            .map(|authority| Handed {
                certificate: authority.certificate,
                key: authority.key,
            })
            .context("the cluster's answer has no authorities in it")
    };
    let (cluster, peers) = (
        handed(answer.cluster_authority)?,
        handed(answer.peer_authority)?,
    );
    Authorities::install(&directory.join("pki"), &cluster, &peers)?;
    let settings = Settings {
        service_cidr: answer.service_cidr,
        pod_cidr: answer.pod_cidr,
        cluster_domain: answer.cluster_domain,
    };
    let members = answer.members.into_iter();
    let others = members
        .filter(|member| member.id != answer.member_id)
        .map(|member| (member.id, member.address));
    Place::given(
        directory,
        &answer.cluster_id,
        answer.member_id,
        others.collect(),
        &settings,
    )
}
