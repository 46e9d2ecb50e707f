//! A node of this machine, joined: network, DNS, runtime and agent.

use crate::config::Config;
use crate::limits::END_TIMEOUT;
use crate::{SHIM, myself};
use anyhow::Context as _;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use pontoon_agent::{Agent, Names, Reserve};
use pontoon_api::NodeName;
use pontoon_client::transport::{self, Transport};
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

/// The network of a node: what has to be there before the API is served to it.
pub(crate) struct Network {
    pub(crate) plane: Arc<dyn Dataplane>,
    place: Place,
    instance: String,
}

impl Network {
    /// Takes hold of the node's network.
    pub(crate) async fn start(
        config: &Config,
        data_dir: &Path,
        place: Place,
    ) -> anyhow::Result<Self> {
        let instance = instance(data_dir);
        let directory = data_dir.join("network");
        let dns_address = in_range(&config.service_cidr, DNS_OFFSET)?;
        let lacks = match &place {
            Place::Inside(entered) => entered.lacks(),
            Place::Machine | Place::Shared(_) => Vec::new(),
        };
        let linux = linux::Config {
            instance: instance.clone(),
            state_dir: directory.clone(),
            pods: format!("{}/24", in_range(&config.pod_cidr, 0)?)
                .parse::<Cidr>()
                .context("pod-cidr")?,
            cluster: config.pod_cidr.parse::<Cidr>().context("pod-cidr")?,
            services: config
                .service_cidr
                .parse::<Cidr>()
                .context("service-cidr")?,
            dns_address,
            node_address: None,
            mtu: MTU_BYTES,
            lacks,
        };
        if let Place::Shared(why) = &place {
            return Self::shared(config, directory, why.clone(), place.clone(), instance);
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
                Self::shared(config, directory, why.clone(), Place::Shared(why), instance)
            }
            Err(error) => Err(error).context("the node's network cannot be set up"),
        }
    }

    fn shared(
        config: &Config,
        directory: PathBuf,
        why: String,
        place: Place,
        instance: String,
    ) -> anyhow::Result<Self> {
        let address = config.listen.ip();
        let plane = HostDataplane::start(directory, address, IpAddr::V4(Ipv4Addr::LOCALHOST), why)
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
    /// Starts everything of a node that reaches the API at `server`.
    pub(crate) async fn start(
        config: &Config,
        data_dir: &Path,
        network: Network,
        server: SocketAddr,
        tls: Arc<rustls::ClientConfig>,
        world: &World,
    ) -> anyhow::Result<Self> {
        let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let zone = Zone::new(&Origin {
            domain: config.cluster_domain.clone(),
            server: network.plane.dns_address(),
            networks: vec![
                network_of(&config.service_cidr)?,
                network_of(&config.pod_cidr)?,
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
        let transport = Transport::new(&transport::Config {
            servers: vec![format!("https://{server}")],
            server_name: None,
            tls,
            user_agent: concat!("pontoon-agent/", env!("CARGO_PKG_VERSION")).into(),
        })?;
        let agent = Agent::start(pontoon_agent::Config {
            node: NodeName::new(&config.node_name),
            directory: data_dir.join("agent"),
            dial: transport.channel(),
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
