//! The port an agent speaks to: addresses for pods, rules for services, and words about what isolation that gives.
//!
//! The types here are plain: the caller turns Pods, Services and EndpointSlices into them. Every operation is idempotent,
//! so an agent may repeat whatever it is unsure about after a restart.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use pontoon_api::name::PodUid;
use serde::{Deserialize, Serialize};

/// A transport protocol that a service or a host port may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The name nftables and `/etc/protocols` use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A port of the node that leads to a port of one pod (`hostPort`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The node's port.
    pub host_port: u16,
    /// The pod's port.
    pub container_port: u16,
}

/// A pod that wants an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodAttachment {
    /// What the address is kept under.
    pub uid: PodUid,
    /// The pod's namespace, for people who read the ledger.
    pub namespace: String,
    /// The pod's name, for people who read the ledger.
    pub name: String,
    /// The host name that the pod's own /etc/hosts gives to the address.
    pub hostname: String,
    /// Ports of the node that lead to this pod. At most [`crate::limits::PORTS_PER_OBJECT_COUNT`].
    pub host_ports: Vec<HostPort>,
}

/// A pod's place in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The pod.
    pub uid: PodUid,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its address: `status.podIP`.
    pub ip: IpAddr,
    /// A file that names its network namespace, to be entered by `setns`; `None` when the pod shares the node's network.
    pub netns_path: Option<PathBuf>,
}

/// A service's namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which endpoints traffic from inside the cluster may reach (`spec.internalTrafficPolicy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InternalTraffic {
    /// All ready endpoints.
    Cluster,
    /// Those on this node only; without one the service refuses connections here.
    Local,
}

/// One ready endpoint of a service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it is on this node.
    pub local: bool,
}

/// One port of a service, with the ready endpoints behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// The port's name; empty for the only port of a service.
    pub name: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The port on the service's addresses.
    pub port: u16,
    /// The port on the node's own addresses (`nodePort`), if any.
    pub node_port: Option<u16>,
    /// Ready endpoints, each with the target port resolved. None: connections are refused at once.
    pub endpoints: Vec<Endpoint>,
}

/// A service as the data plane sees it. Headless and ExternalName services have no rule: they are DNS's affair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRule {
    /// Namespace and name.
    pub key: ServiceKey,
    /// The service's addresses. IPv6 ones are passed over by a data plane that has none.
    pub cluster_ips: Vec<IpAddr>,
    /// The ports. At most [`crate::limits::PORTS_PER_OBJECT_COUNT`].
    pub ports: Vec<ServicePort>,
    /// With `sessionAffinity: ClientIP`, how long after its last connection a client goes back to the same endpoint.
    pub affinity: Option<Duration>,
    /// Which endpoints serve.
    pub internal_traffic: InternalTraffic,
}

/// A change of some services' rules. It takes effect as a whole, or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceDelta {
    /// Services to add or replace, each given in full.
    pub upsert: Vec<ServiceRule>,
    /// Services that are gone. Unknown ones are passed over.
    pub remove: Vec<ServiceKey>,
}

/// What a data plane gives to pods, in words for `describe`, logs and `pontoon dev`'s greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// One word: `linux`, `host`, `hollow`, `fake`.
    pub kind: &'static str,
    /// What pods have, a sentence each.
    pub gives: Vec<String>,
    /// What pods lack, a sentence each; empty when nothing is missing.
    pub lacks: Vec<String>,
}

/// Why a data plane could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// Each address of the node's pod network is taken.
    #[error("all {capacity} pod addresses of {network} are in use")]
    AddressesExhausted {
        /// The node's pod network.
        network: String,
        /// How many pods it can hold.
        capacity: usize,
    },
    /// More than one of the crate's limits allows.
    #[error("{what}: {count} is over the limit of {limit}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many were given.
        count: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The kernel does not let this process change the network.
    #[error("not permitted to {operation}")]
    NotPermitted {
        /// What was tried.
        operation: String,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// The kernel, or the program that speaks to it, failed.
    #[error("could not {operation}: {detail}")]
    Kernel {
        /// What was tried.
        operation: String,
        /// The kernel's words.
        detail: String,
    },
    /// A program that the data plane needs is not installed.
    #[error("the program {program} is missing: install the package {package}")]
    ProgramMissing {
        /// The program's name.
        program: &'static str,
        /// Debian's package.
        package: &'static str,
    },
    /// The address ledger could not be read or written.
    #[error("address ledger {}", path.display())]
    Ledger {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A value of the configuration cannot work.
    #[error("network configuration: {detail}")]
    Config {
        /// What is wrong, in words.
        detail: String,
    },
}

/// The network of one node.
#[async_trait]
pub trait Dataplane: Send + Sync + fmt::Debug + 'static {
    /// Gives the pod a network namespace and an address, or finds those it has. Idempotent per uid; the address is durable
    /// before the namespace exists.
    ///
    /// # Errors
    /// [`DataplaneError::AddressesExhausted`] when the node's pod network is full; otherwise what the kernel said.
    async fn attach(&self, pod: &PodAttachment) -> Result<Attached, DataplaneError>;

    /// Takes the pod's namespace and address away. A pod that is not attached is no error.
    ///
    /// # Errors
    /// What the kernel said; the address is then still taken, and the call may be repeated.
    async fn detach(&self, uid: &PodUid) -> Result<(), DataplaneError>;

    /// Every attached pod, in order of uid: what a restarted agent begins with.
    fn attached(&self) -> Vec<Attached>;

    /// Changes some services' rules in one transaction. After a start, [`Dataplane::replace_services`] comes first: until a data plane has been
    /// told everything, it takes what an earlier process left for unwanted.
    ///
    /// # Errors
    /// The rules are then as before.
    async fn apply_services(&self, delta: ServiceDelta) -> Result<(), DataplaneError>;

    /// Makes the rules those of exactly these services. Costs the difference, not the whole.
    ///
    /// # Errors
    /// The rules are then as before.
    async fn replace_services(&self, services: Vec<ServiceRule>) -> Result<(), DataplaneError>;

    /// The node's address as pods and services see it: `status.hostIP` and the endpoint of what listens on the node.
    fn node_address(&self) -> IpAddr;

    /// The address of the node's DNS server: it is local to this node, so that a server can be bound to it, and pods have it in
    /// their /etc/resolv.conf.
    fn dns_address(&self) -> IpAddr;

    /// What isolation pods have, in words.
    fn describe(&self) -> Description;

    /// Sees to what other programs may have changed meanwhile: a firewall that was started or reloaded. To be called now and then.
    async fn tend(&self) {}

    /// Removes everything: pods' namespaces, addresses, rules, and the ledger.
    ///
    /// # Errors
    /// What could not be removed; the call may be repeated.
    async fn teardown(&self) -> Result<(), DataplaneError>;
}

/// Checks a delta against the crate's limits, so that no implementation has to.
///
/// # Errors
/// [`DataplaneError::TooMany`].
pub(crate) fn check_limits<'a>(
    services: impl IntoIterator<Item = &'a ServiceRule>,
) -> Result<(), DataplaneError> {
    use crate::limits::{ENDPOINTS_PER_PORT_COUNT, PORTS_PER_OBJECT_COUNT};
    for service in services {
        within(
            "ports of a service",
            service.ports.len(),
            PORTS_PER_OBJECT_COUNT,
        )?;
        for port in &service.ports {
            within(
                "endpoints of a service port",
                port.endpoints.len(),
                ENDPOINTS_PER_PORT_COUNT,
            )?;
        }
    }
    Ok(())
}

/// Refuses a count over its limit.
///
/// # Errors
/// [`DataplaneError::TooMany`].
pub(crate) fn within(what: &'static str, count: usize, limit: usize) -> Result<(), DataplaneError> {
    if count > limit {
        Err(DataplaneError::TooMany { what, count, limit })
    } else {
        Ok(())
    }
}
