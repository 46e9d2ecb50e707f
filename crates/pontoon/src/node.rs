//! A node of this machine, joined: network, DNS, runtime and agent.

use crate::config::Config;
use crate::limits::END_TIMEOUT;
use crate::{SHIM, myself};
use anyhow::Context as _;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use pontoon_agent::{Agent, Dial, Memory, Names, Reserve};
use pontoon_api::NodeName;
use pontoon_dns::forward::Forwarder;
use pontoon_dns::handler::Dns;
use pontoon_dns::resolv::ResolvConf;
use pontoon_dns::server::DnsServer;
use pontoon_dns::zone::{Origin, Zone};
use pontoon_network::cidr::Cidr;
use pontoon_network::dataplane::{Dataplane, DataplaneError};
use pontoon_network::host::HostDataplane;
use pontoon_network::linux::{self, LinuxDataplane};
use pontoon_network::rootless::{Entered, Outbound};
use pontoon_process::{ProcessConfig, ProcessRuntime};
use pontoon_runtime::Runtime;
use pontoon_world::World;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest packet of a pod's link: Ethernet's.
const MTU_BYTES: u32 = 1_500;

/// What a node calls itself where it asks.
pub(crate) const USER_AGENT: &str = concat!("pontoon-agent/", env!("CARGO_PKG_VERSION"));

/// The resolver's place in the service range, as in kubeadm's clusters.
const DNS_OFFSET: u32 = 10;

/// Where a node's network lies.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// On the machine itself: we are root there.
    Machine,
    /// In namespaces of our own, where we are root.
    Inside(Entered),
    /// On the machine, without any right to its network; why there is nothing better.
    Shared(String),
}

/// What a node is set to: in dev by flags, elsewhere by the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// The node's name.
    pub(crate) node: NodeName,
    /// The domain of services' names.
    pub(crate) cluster_domain: String,
    /// Addresses of services.
    pub(crate) service_cidr: String,
    /// Addresses of all pods.
    pub(crate) cluster_cidr: String,
    /// Addresses of this node's pods.
    pub(crate) pod_cidr: String,
    /// The machine's own address: where other nodes reach this one. Without it, nobody does, and the node has the first address of
    /// its pods' network.
    pub(crate) address: Option<Ipv4Addr>,
    /// Where pods are when they share the machine's network.
    pub(crate) shared: IpAddr,
}

impl Ground {
    /// The node of `pontoon dev`: the only one, so it has the first part of the pods' network, as a server gives it.
    pub(crate) fn of_dev(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            node: NodeName::new(&config.node_name),
            cluster_domain: config.cluster_domain.clone(),
            service_cidr: config.service_cidr.clone(),
            cluster_cidr: config.pod_cidr.clone(),
            pod_cidr: format!("{}/24", in_range(&config.pod_cidr, 0)?),
            address: None,
            shared: config.listen.ip(),
        })
    }

    /// The resolver's address.
    pub(crate) fn dns_address(&self) -> anyhow::Result<Ipv4Addr> {
        in_range(&self.service_cidr, DNS_OFFSET)
    }
}

/// The network of a node: what has to be there before the API is served to it.
pub(crate) struct Network {
    pub(crate) plane: Arc<dyn Dataplane>,
    place: Place,
    instance: String,
}

impl Network {
    /// Takes hold of the node's network.
    pub(crate) async fn start(
        ground: &Ground,
        data_dir: &Path,
        place: Place,
    ) -> anyhow::Result<Self> {
        let instance = instance(data_dir);
        let directory = data_dir.join("network");
        let dns_address = ground.dns_address()?;
        let lacks = match &place {
            Place::Inside(entered) => entered.lacks(),
            Place::Machine | Place::Shared(_) => Vec::new(),
        };
        let linux = linux::Config {
            instance: instance.clone(),
            state_dir: directory.clone(),
            pods: ground.pod_cidr.parse::<Cidr>().context("pod-cidr")?,
            cluster: ground.cluster_cidr.parse::<Cidr>().context("pod-cidr")?,
            services: ground
                .service_cidr
                .parse::<Cidr>()
                .context("service-cidr")?,
            dns_address,
            node_address: ground.address,
            mtu: MTU_BYTES,
            lacks,
        };
        if let Place::Shared(why) = &place {
            return Self::shared(ground, directory, why.clone(), place.clone(), instance);
        }
        match LinuxDataplane::start(linux).await {
            Ok(plane) => Ok(Self {
                plane: Arc::new(plane),
                place,
                instance,
            }),
            Err(
                error @ (DataplaneError::NotPermitted { .. }
                | DataplaneError::ProgramMissing { .. }),
            ) => {
                let why = format!("{error}.");
                Self::shared(ground, directory, why.clone(), Place::Shared(why), instance)
            }
            Err(error) => Err(error).context("the node's network cannot be set up"),
        }
    }

    fn shared(
        ground: &Ground,
        directory: PathBuf,
        why: String,
        place: Place,
        instance: String,
    ) -> anyhow::Result<Self> {
        let resolver = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let plane = HostDataplane::start(directory, ground.shared, resolver, why)
            .context("the node's network cannot be set up")?;
        Ok(Self {
            plane: Arc::new(plane),
            place,
            instance,
        })
    }

    /// Where the node and its pods reach an API served at `port`; `None` when that is where everybody does.
    pub(crate) fn api_address(&self, port: u16) -> Option<SocketAddr> {
        let own = !matches!(self.place, Place::Shared(_));
        own.then(|| (self.plane.node_address(), port).into())
    }

    fn upstreams(&self, resolv_conf: &str) -> Vec<SocketAddr> {
        match &self.place {
            Place::Inside(entered) => match &entered.outbound {
                Outbound::Slirp { resolver } => vec![(*resolver, 53).into()],
                Outbound::None { .. } => Vec::new(),
            },
            Place::Machine | Place::Shared(_) => Forwarder::upstreams_of(
                &ResolvConf::parse(resolv_conf).nameservers,
                self.plane.dns_address(),
            ),
        }
    }
}

/// A running node.
pub(crate) struct Node {
    agent: Agent,
    dns: Option<DnsServer>,
    network: Network,
    /// What its pods have and lack, a sentence each.
    words: Vec<String>,
}

/// The zone, told of services by the agent.
#[derive(Debug)]
struct ClusterNames(Arc<Dns>);

impl Names for ClusterNames {
    fn upsert(&self, service: &Service, slices: &[EndpointSlice]) {
        self.0.observe(service, slices);
    }

    fn remove(&self, namespace: &str, name: &str) {
        self.0.remove(namespace, name);
    }
}

impl Node {
    /// Starts everything of a node that reaches servers by `dial`.
    pub(crate) async fn start(
        ground: &Ground,
        data_dir: &Path,
        network: Network,
        dial: Arc<dyn Dial>,
        world: &World,
    ) -> anyhow::Result<Self> {
        let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let zone = Zone::new(&Origin {
            domain: ground.cluster_domain.clone(),
            server: network.plane.dns_address(),
            networks: vec![
                network_of(&ground.service_cidr)?,
                network_of(&ground.cluster_cidr)?,
            ],
        })?;
        let dns = Arc::new(Dns::new(
            zone,
            Forwarder::new(network.upstreams(&resolv_conf)),
        ));
        let mut words = network.plane.describe().gives;
        words.extend(network.plane.describe().lacks);
        let names =
            match DnsServer::start(dns.clone(), (network.plane.dns_address(), 53).into()).await {
                Ok(server) => Some(server),
                Err(error) => {
                    words.push(format!("Names of services are not answered: {error}."));
                    None
                }
            };
        let runtime = ProcessRuntime::open(ProcessConfig {
            state_dir: data_dir.join("runtime"),
            shim_command: myself(SHIM),
            cgroup_parent: matches!(network.place, Place::Machine)
                .then(|| PathBuf::from("pontoon").join(&network.instance)),
        })
        .await
        .context("the process runtime cannot be opened")?;
        words.extend(runtime.capabilities().missing().map(str::to_owned));
        let agent = Agent::start(pontoon_agent::Config {
            node: ground.node.clone(),
            directory: data_dir.join("agent"),
            memory: Memory::Kept,
            dial,
            runtimes: vec![Arc::new(runtime) as Arc<dyn Runtime>],
            dataplane: network.plane.clone(),
            names: Arc::new(ClusterNames(dns)),
            world: world.clone(),
            labels: BTreeMap::new(),
            reserve: Reserve {
                cpu_millis: 0,
                memory_bytes: 0,
            },
            pods: None,
            resolv_conf,
        })
        .await
        .context("the agent cannot be started")?;
        Ok(Self {
            agent,
            dns: names,
            network,
            words,
        })
    }

    /// What pods of this node have and lack, a sentence each.
    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }

    /// Waits until a server knows the node and has told it everything.
    pub(crate) async fn joined(&self) {
        // The sender lives as long as the agent: a closed channel is an agent that ended, and no reason to wait.
        let _ = self.agent.synced().wait_for(|synced| *synced).await;
    }

    /// Ends the node, with its pods unless they are to stay.
    pub(crate) async fn stop(self, keep_pods: bool) -> anyhow::Result<()> {
        self.agent.shutdown(keep_pods, END_TIMEOUT).await;
        if let Some(dns) = self.dns {
            dns.shutdown().await;
        }
        if !keep_pods {
            self.network
                .plane
                .teardown()
                .await
                .context("the node's network cannot be taken down whole")?;
        }
        Ok(())
    }
}

/// What tells this cluster's names in the kernel from another's: eight letters of the data directory's hash (FNV-1a).
fn instance(data_dir: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = data_dir.as_os_str().as_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:08x}", hash >> 32)
}

fn network_of(cidr: &str) -> anyhow::Result<(Ipv4Addr, u8)> {
    let parts = cidr
        .split_once('/')
        .and_then(|(address, prefix)| Some((address.parse().ok()?, prefix.parse().ok()?)));
    parts.with_context(|| format!("{cidr} is not a network"))
}

/// The address `offset` behind the start of a network.
fn in_range(cidr: &str, offset: u32) -> anyhow::Result<Ipv4Addr> {
    let (address, prefix) = network_of(cidr)?;
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    Ok(Ipv4Addr::from((u32::from(address) & mask) + offset))
}
