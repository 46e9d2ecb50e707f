//! `pontoon agent`: a node of a cluster whose servers are elsewhere.
//!
//! It joins once with a token, and needs none after that. Its pods outlive it: an agent that is ended, upgraded or killed touches
//! none of them, unless they are hollow.

mod options;

use crate::config::Config;
use crate::limits::{ENROL_PATIENCE, HOLLOW_STARTING};
use crate::node::{Ground, Network, Node, Place, USER_AGENT};
use crate::wiring::{self, Process};
use crate::{limits, lock, shutdown};
use anyhow::{Context as _, anyhow};
use futures::{StreamExt as _, TryStreamExt as _};
use pontoon_agent::enrol::{Applicant, Member};
use pontoon_agent::{Agent, Memory, NoNames, Reserve};
use pontoon_api::NodeName;
use pontoon_hollow::HollowRuntime;
use pontoon_identity::enrolment::Enrolment;
use pontoon_network::hollow::HollowDataplane;
use pontoon_world::World;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::JoinSet;

pub(crate) use options::{Options, RuntimeChoice, arguments};

/// Runs one node, or several hollow ones, until told to end.
pub(crate) fn run(config: &Config, options: &Options) -> anyhow::Result<()> {
    let data_dir = wiring::make_data_dir(config)?;
    let lock = lock::take(&data_dir, "agent.lock")?;
    let runtime = wiring::runtime()?;
    let process = runtime.block_on(async { Process::start(config) })?;
    let ended = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        let run = Box::pin(nodes(
            config,
            options,
            &process.world,
            &data_dir,
            &mut tasks,
        ));
        let running = tokio::select! {
            started = run => started?,
            asked = shutdown::requested() => return asked.context("signals cannot be waited for"),
        };
        let asked = shutdown::requested().await;
        for node in running {
            node.stop().await?;
        }
        tasks.shutdown().await;
        asked.context("signals cannot be waited for")
    });
    drop(process);
    drop(lock);
    ended
}

/// A node that runs.
enum Running {
    Real(Box<Node>),
    Hollow(Agent),
}

impl Running {
    async fn joined(&self) {
        match self {
            Self::Real(node) => node.joined().await,
            Self::Hollow(agent) => {
                let _ = agent.synced().wait_for(|synced| *synced).await;
            }
        }
    }

    async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Real(node) => node.stop(true).await,
            Self::Hollow(agent) => {
                agent.shutdown(true, limits::END_TIMEOUT).await;
                Ok(())
            }
        }
    }
}

/// The names of the nodes: the one, or with a number each.
fn names(config: &Config, options: &Options) -> Vec<NodeName> {
    if options.nodes == 1 {
        return vec![NodeName::new(&config.node_name)];
    }
    let name = |number| NodeName::new(&format!("{}-{number}", config.node_name));
    (1..=options.nodes).map(name).collect()
}

async fn nodes(
    config: &Config,
    options: &Options,
    world: &World,
    data_dir: &Path,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<Vec<Running>> {
    let mut tokens = options.tokens()?.into_iter();
    let names = names(config, options);
    let mut applicants = Vec::new();
    for node in &names {
        let directory = match options.nodes {
            1 => data_dir.to_owned(),
            _ => data_dir.join("nodes").join(node.as_str()),
        };
        let kept = applicant(&directory, node, options, world).kept()?;
        let token = if kept.is_none() { tokens.next() } else { None };
        applicants.push((node.clone(), directory, kept, token));
    }
    let start = |(node, directory, kept, token): (
        NodeName,
        PathBuf,
        Option<Enrolment>,
        Option<String>,
    )| async move {
        let member = enrol(&directory, &node, options, world, kept, token).await?;
        let running = Box::pin(start(&directory, &node, options, world, &member)).await?;
        Ok::<_, anyhow::Error>((member, running))
    };
    let started: Vec<(Arc<Member>, Running)> =
        futures::stream::iter(applicants.into_iter().map(start))
            .buffered(HOLLOW_STARTING)
            .try_collect()
            .await?;
    let mut running = Vec::new();
    for (member, node) in started {
        tasks.spawn(member.stay_fresh());
        running.push(node);
    }
    for node in &running {
        node.joined().await;
    }
    announce(&names, options, &running);
    Ok(running)
}

fn announce(names: &[NodeName], options: &Options, running: &[Running]) {
    let version = env!("CARGO_PKG_VERSION");
    match names {
        [only] => println!(
            "Pontoon {version}: node {only} has joined ({} pods).",
            options.runtime
        ),
        all => println!("Pontoon {version}: {} hollow nodes have joined.", all.len()),
    }
    for node in running {
        if let Running::Real(node) = node {
            for word in node.words() {
                println!("  - {word}");
            }
        }
    }
}

fn applicant<'a>(
    directory: &'a Path,
    node: &'a NodeName,
    options: &'a Options,
    world: &'a World,
) -> Applicant<'a> {
    Applicant {
        directory,
        node,
        servers: &options.servers,
        user_agent: USER_AGENT,
        world,
    }
}

/// The node's place in the cluster: the one it has, or one that a token gives.
async fn enrol(
    directory: &Path,
    node: &NodeName,
    options: &Options,
    world: &World,
    kept: Option<Enrolment>,
    token: Option<String>,
) -> anyhow::Result<Arc<Member>> {
    let applicant = applicant(directory, node, options, world);
    let enrolment = match (kept, token) {
        (Some(kept), _) => kept,
        (None, _) if options.servers.is_empty() => {
            return Err(anyhow!(
                "node {node} has not joined yet: give --server https://HOST:6443 and --token TOKEN"
            ));
        }
        (None, Some(token)) => applicant
            .join(&token, ENROL_PATIENCE)
            .await
            .with_context(|| format!("node {node} cannot join"))?,
        (None, None) => {
            return Err(anyhow!(
                "node {node} has not joined yet: `pontoon cluster token create --role agent` makes a token for --token"
            ));
        }
    };
    Ok(applicant.take(enrolment)?)
}

async fn start(
    directory: &Path,
    node: &NodeName,
    options: &Options,
    world: &World,
    member: &Arc<Member>,
) -> anyhow::Result<Running> {
    let pod_cidr = member
        .node_cidr(ENROL_PATIENCE)
        .await
        .with_context(|| format!("node {node} cannot learn its part of the pods' network"))?;
    let known = member.enrolment();
    let ground = |address: Option<Ipv4Addr>| Ground {
        node: node.clone(),
        cluster_domain: known.cluster_domain.clone(),
        service_cidr: known.service_cidr.clone(),
        cluster_cidr: known.pod_cidr.clone(),
        pod_cidr: pod_cidr.clone(),
        address,
        shared: IpAddr::V4(address.unwrap_or(Ipv4Addr::LOCALHOST)),
    };
    match options.runtime {
        RuntimeChoice::Hollow => hollow(directory, &ground(None), world, member)
            .await
            .map(Running::Hollow),
        RuntimeChoice::Process => {
            let ground = ground(own_address(&known.servers).await);
            let network = Network::start(&ground, directory, place()).await?;
            let node = Node::start(&ground, directory, network, member.clone(), world).await?;
            Ok(Running::Real(Box::new(node)))
        }
    }
}

/// Where the node's network lies.
fn place() -> Place {
    if nix::unistd::geteuid().is_root() {
        Place::Machine
    } else {
        Place::Shared("Without root an agent can make no network for its pods.".to_owned())
    }
}

async fn hollow(
    directory: &Path,
    ground: &Ground,
    world: &World,
    member: &Arc<Member>,
) -> anyhow::Result<Agent> {
    let pods = ground.pod_cidr.parse().context("the node's pod range")?;
    let clock = world.clone();
    let runtime = HollowRuntime::new(Arc::new(move || clock.now()));
    let agent = Agent::start(pontoon_agent::Config {
        node: ground.node.clone(),
        directory: directory.join("agent"),
        memory: Memory::None,
        dial: member.clone(),
        runtimes: vec![Arc::new(runtime)],
        dataplane: Arc::new(HollowDataplane::new(pods, ground.dns_address()?)),
        names: Arc::new(NoNames),
        world: world.clone(),
        labels: BTreeMap::new(),
        reserve: Reserve {
            cpu_millis: 0,
            memory_bytes: 0,
        },
        pods: None,
        resolv_conf: String::new(),
    });
    agent.await.context("the agent cannot be started")
}

/// The machine's address on the way to a server; `None` when that way leaves it nowhere, as over loopback.
async fn own_address(servers: &[String]) -> Option<Ipv4Addr> {
    for server in servers {
        let uri: http::Uri = server.parse().ok()?;
        let (host, port) = (uri.host()?.trim_matches(['[', ']']), uri.port_u16());
        let Ok(found) = tokio::net::lookup_host((host, port.unwrap_or(6443))).await else {
            continue;
        };
        for address in found {
            // Nothing is sent: the kernel only says which of its addresses it would use.
            let socket = tokio::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
                .await
                .ok()?;
            let own = socket
                .connect(address)
                .await
                .and_then(|()| socket.local_addr());
            if let Ok(std::net::SocketAddr::V4(own)) = own
                && !own.ip().is_loopback()
            {
                return Some(*own.ip());
            }
        }
    }
    None
}
