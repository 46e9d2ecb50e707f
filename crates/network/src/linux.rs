//! The data plane of a Linux node that may change its network namespace: as root, or as root of a user namespace.
//!
//! - A pod has a network namespace of its own, named by a bind mount under the state directory, and a veth pair to the node. It is
//!   routed, not bridged: the pod has its address with 32 bits and a default route by way of 169.254.1.1, whose
//!   hardware address is a permanent neighbour. No ARP, no bridge tables, nothing that goes stale.
//! - A service address is an element of one verdict map, keyed by address, protocol and port. The whole service network is *local*
//!   to the node (a route of type local, as for AnyIP), so the node can connect without a default route, the DNS server can be
//!   bound to its service address, and what no rule translates arrives at the input hook, where it is refused at once.
//! - Chains of other programs that drop what is forwarded accept pods' packets by rules of ours (`openings.rs`).
//! - Names carry the instance. Two clusters on one machine need distinct pod and service networks.
//!
//! The process must stay in one network and one mount namespace: the socket, the programs it runs and the files it mounts all
//! belong to those of the thread that called [`LinuxDataplane::start`].

mod names;
pub(crate) mod netlink;
mod openings;
pub(crate) mod plumbing;
mod programs;
mod rules;
mod table;
mod turns;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use parking_lot::Mutex;
use pontoon_api::name::PodUid;

use self::names::{Names, TABLE_PREFIX};
use self::netlink::Netlink;
use self::openings::Openings;
use self::plumbing::{LOOPBACK, Plan, failed, refused, write_sysctl};
pub(crate) use self::programs::find as find_program;
use self::programs::{Conntrack, Nft};
use self::rules::{Fragment, Layout, Owner, Wanted};
use self::table::Table;
use self::turns::{Turn, Turns};
use crate::cidr::Cidr;
use crate::dataplane::{
    Attached, Dataplane, DataplaneError, Description, PodAttachment, ServiceDelta, ServiceKey,
    ServiceRule, check_limits, within,
};
use crate::ledger::{Lease, Ledger};
use crate::limits::{PORTS_PER_OBJECT_COUNT, SERVICES_COUNT};
use crate::metrics;

/// What a node's data plane is made from.
#[derive(Debug, Clone)]
pub struct Config {
    /// What tells this cluster from others on the machine: 1 to 32 of `a-z`, `0-9` and `_`.
    pub instance: String,
    /// Where the ledger and the pods' namespaces are kept. Made if it is not there.
    pub state_dir: PathBuf,
    /// This node's pod addresses. The first is the node's own.
    pub pods: Cidr,
    /// All nodes' pod addresses: traffic to them is never masqueraded.
    pub cluster: Cidr,
    /// Service addresses.
    pub services: Cidr,
    /// The DNS server's address, one of the service network.
    pub dns_address: Ipv4Addr,
    /// The node's own address; `None` takes the first of `pods`.
    pub node_address: Option<Ipv4Addr>,
    /// The largest packet of a pod's link, in bytes.
    pub mtu: u32,
    /// What the surroundings lack (no way out, say), a sentence each: passed on by `describe`.
    pub lacks: Vec<String>,
}

/// A [`Dataplane`] of veth pairs and nftables.
#[derive(Debug)]
pub struct LinuxDataplane {
    config: Config,
    names: Names,
    node: Arc<Mutex<Netlink>>,
    ledger: Mutex<Ledger>,
    turns: Turns,
    layout: Layout,
    table: tokio::sync::Mutex<Table>,
    conntrack: Conntrack,
    nft: Nft,
    openings: Openings,
    /// Other programs' chains that drop forwarded packets and accept pods' by rules of ours, or why that cannot be had.
    opened: Mutex<Result<BTreeSet<String>, String>>,
}

/// How a file in the state directory remembers that forwarding was off before us.
const FORWARDING_MARK: &str = "forwarding-was-off";
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

impl LinuxDataplane {
    /// Takes hold of the namespace it is called in: finds what an earlier process left, sweeps what the ledger does not know, and
    /// prepares addresses, routes and the rules' table. A table that is there already goes on serving until the first change.
    ///
    /// # Errors
    /// [`DataplaneError::NotPermitted`] without the right to change the network, [`DataplaneError::ProgramMissing`] without `nft`,
    /// [`DataplaneError::Config`] for a configuration that cannot work, otherwise what the kernel said.
    pub async fn start(config: Config) -> Result<Self, DataplaneError> {
        let names = Names::new(&config.instance, &config.state_dir)?;
        check(&config)?;
        let nft = Nft::find()?;
        let conntrack = Conntrack::find();
        if !conntrack.is_present() {
            tracing::warn!(
                "the program conntrack is missing: UDP clients of an endpoint that goes wait for a timeout"
            );
        }
        std::fs::create_dir_all(names.netns_dir())
            .map_err(|error| failed("make the state directory", error))?;
        let ledger = Ledger::open(config.state_dir.join("addresses.json"), config.pods)?;
        let node = Arc::new(Mutex::new(
            Netlink::open().map_err(|error| failed("open the routing socket", error))?,
        ));
        let layout = Layout {
            table: names.table(),
            pods: config.pods,
            cluster: config.cluster,
            services: config.services,
            dns_address: config.dns_address,
        };
        let openings = Openings::new(names.table(), config.cluster);
        let wanted = ledger
            .iter()
            .filter_map(|(uid, lease)| host_ports(uid, lease))
            .collect();
        let table = tokio::sync::Mutex::new(Table::new(layout.clone(), nft.clone()));
        let plane = Self {
            config,
            names,
            layout,
            node,
            ledger: Mutex::new(ledger),
            turns: Turns::new(),
            table,
            conntrack,
            nft,
            openings,
            opened: Mutex::new(Ok(BTreeSet::new())),
        };
        plane.prepare_node()?;
        plane.sweep()?;
        plane.table.lock().await.prepare(wanted).await?;
        plane.open_others().await;
        metrics::pods_count(plane.ledger.lock().iter().count());
        Ok(plane)
    }

    /// Has other programs' chains accept what pods send and get. That a firewall stays shut keeps nothing else from working, so it is told
    /// and not an error.
    async fn open_others(&self) {
        let opened = self.openings.ensure(&self.nft).await;
        let opened = opened.map_err(|error| error.to_string());
        let mut known = self.opened.lock();
        if *known == opened {
            return;
        }
        match &opened {
            Ok(chains) => {
                tracing::info!(
                    ?chains,
                    "other programs' chains drop forwarded packets; pods' are accepted there"
                );
            }
            Err(error) => {
                tracing::warn!(%error, "other programs' rules could not be changed; pods may not reach each other");
            }
        }
        *known = opened;
    }

    fn node_end(&self) -> Ipv4Addr {
        self.config.pods.nth(1).unwrap_or(self.config.pods.base())
    }

    /// Addresses, the service network's route, and forwarding. These are a handful of system calls, each some microseconds.
    fn prepare_node(&self) -> Result<(), DataplaneError> {
        let mut node = self.node.lock();
        let links = node
            .links()
            .map_err(|error| failed("list interfaces", error))?;
        let mut steps = Vec::new();
        if links.iter().any(|link| link.index == LOOPBACK && !link.up) {
            steps.push(netlink::set_up(LOOPBACK));
        }
        steps.push(netlink::add_address(LOOPBACK, self.node_end()));
        steps.push(netlink::add_local_route(
            self.config.services,
            LOOPBACK,
            self.node_end(),
        ));
        node.change(steps).map_err(refused)?;
        let forwarding = std::fs::read_to_string(FORWARDING)
            .map_err(|error| failed("read the forwarding setting", error))?;
        if forwarding.trim() == "0" {
            let mark = self.config.state_dir.join(FORWARDING_MARK);
            std::fs::write(mark, b"")
                .map_err(|error| failed("remember the forwarding setting", error))?;
            write_sysctl(FORWARDING, "1")?;
        }
        Ok(())
    }

    /// Removes links and namespaces of ours that no lease explains.
    fn sweep(&self) -> Result<(), DataplaneError> {
        let (links, files) = {
            let ledger = self.ledger.lock();
            let links: Vec<String> = ledger.iter().map(|(uid, _)| self.names.link(uid)).collect();
            let files: Vec<PathBuf> = ledger
                .iter()
                .map(|(uid, _)| self.names.netns(uid))
                .collect();
            (links, files)
        };
        for name in self
            .own_links()?
            .into_iter()
            .filter(|name| !links.contains(name))
        {
            tracing::info!(link = %name, "a pod link that no lease explains is removed");
            self.node
                .lock()
                .change(vec![netlink::delete_link(&name)])
                .map_err(refused)?;
        }
        for file in self
            .own_namespaces()?
            .into_iter()
            .filter(|file| !files.contains(file))
        {
            tracing::info!(namespace = %file.display(), "a pod namespace that no lease explains is removed");
            plumbing::unname(&file)?;
        }
        Ok(())
    }

    fn own_links(&self) -> Result<Vec<String>, DataplaneError> {
        let links = self
            .node
            .lock()
            .links()
            .map_err(|error| failed("list interfaces", error))?;
        let own = |name: &String| name.starts_with(self.names.link_prefix());
        Ok(links
            .into_iter()
            .map(|link| link.name)
            .filter(own)
            .collect())
    }

    fn own_namespaces(&self) -> Result<Vec<PathBuf>, DataplaneError> {
        let list = || {
            std::fs::read_dir(self.names.netns_dir())?
                .map(|entry| Ok(entry?.path()))
                .collect()
        };
        let listed: std::io::Result<Vec<PathBuf>> = list();
        if listed
            .as_ref()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        {
            return Ok(Vec::new());
        }
        listed.map_err(|error| failed("list pods' namespaces", error))
    }

    /// Carries a change of rules out, and ends the flows that lost their endpoint.
    async fn change_rules(&self, wanted: Wanted) -> Result<(), DataplaneError> {
        let started = Instant::now();
        let ended = {
            let mut table = self.table.lock().await;
            let ended = table.change(wanted).await?;
            metrics::rules(started.elapsed(), table.services().count());
            ended
        };
        self.conntrack.end(&ended).await;
        Ok(())
    }

    fn plan_of(&self, uid: &str, ip: Ipv4Addr) -> Plan {
        Plan {
            netns: self.names.netns(uid),
            link: self.names.link(uid),
            group: self.names.link_group(),
            ip,
            node_end: self.node_end(),
            mtu: self.config.mtu,
        }
    }

    fn attached_of(&self, uid: &str, lease: &Lease) -> Attached {
        Attached {
            uid: PodUid::new(uid),
            namespace: lease.namespace.clone(),
            name: lease.name.clone(),
            ip: IpAddr::V4(lease.ip),
            netns_path: Some(self.names.netns(uid)),
        }
    }

    /// Runs the plumbing in a thread of its own, which the new namespace keeps until it ends.
    async fn build(&self, plan: Plan, turn: Turn) -> (Result<(), DataplaneError>, Option<Turn>) {
        let (answer, done) = tokio::sync::oneshot::channel();
        let node = Arc::clone(&self.node);
        let started = std::thread::Builder::new()
            .name("pod-network".to_owned())
            .spawn(move || {
                let result = if plumbing::is_built(&plan) {
                    Ok(())
                } else {
                    plumbing::build(&plan, &node)
                };
                // A caller that stopped waiting finds the pod attached when it asks again.
                let _ = answer.send((result, turn));
            });
        if let Err(error) = started {
            return (Err(failed("start a thread", error)), None);
        }
        match done.await {
            Ok((result, turn)) => (result, Some(turn)),
            Err(_) => {
                let detail = "the thread ended early".to_owned();
                (
                    Err(DataplaneError::Kernel {
                        operation: "plumb a pod".to_owned(),
                        detail,
                    }),
                    None,
                )
            }
        }
    }

    /// Takes a pod's link and namespace away without holding up the runtime's threads or other pods.
    async fn demolish(
        &self,
        netns: PathBuf,
        link: String,
        turn: Turn,
    ) -> Result<Turn, DataplaneError> {
        let work = move || {
            // A socket of its own: the kernel answers only when no packet holds on to the link, some 30 ms later.
            let node = Netlink::open().map_err(|error| failed("open the routing socket", error))?;
            plumbing::demolish(&netns, &link, &Mutex::new(node)).map(|()| turn)
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| DataplaneError::Kernel {
                operation: "take a pod's network away".to_owned(),
                detail: error.to_string(),
            })?
    }

    /// [`Dataplane::detach`], by one who has the pod's turn.
    async fn release(&self, uid: &str, turn: Turn) -> Result<(), DataplaneError> {
        let Some(lease) = self.ledger.lock().get(uid).cloned() else {
            return Ok(());
        };
        if !lease.host_ports.is_empty() {
            self.change_rules(Wanted::from([(Owner::Pod(uid.to_owned()), None)]))
                .await?;
        }
        let _turn = self
            .demolish(self.names.netns(uid), self.names.link(uid), turn)
            .await?;
        let mut ledger = self.ledger.lock();
        ledger.release(uid)?;
        metrics::pods_count(ledger.iter().count());
        Ok(())
    }
}

fn check(config: &Config) -> Result<(), DataplaneError> {
    let refuse = |detail: String| Err(DataplaneError::Config { detail });
    if config.pods.size() < 4 {
        return refuse(format!("the pod network {} is too small", config.pods));
    }
    if !config.services.contains(config.dns_address) {
        return refuse(format!(
            "the DNS address {} is not in {}",
            config.dns_address, config.services
        ));
    }
    if config.services.contains(config.pods.base()) || config.pods.contains(config.services.base())
    {
        return refuse(format!(
            "pods ({}) and services ({}) overlap",
            config.pods, config.services
        ));
    }
    // The least that IPv4 asks of a link is 68 bytes (RFC 791); loopback's 65,536 is the most.
    if !(68..=65_536).contains(&config.mtu) {
        return refuse(format!("an MTU of {} bytes cannot work", config.mtu));
    }
    Ok(())
}

fn host_ports(uid: &str, lease: &Lease) -> Option<(Owner, Option<Fragment>)> {
    if lease.host_ports.is_empty() {
        return None;
    }
    let fragment = Fragment::of_host_ports(lease.ip, &lease.host_ports);
    Some((Owner::Pod(uid.to_owned()), Some(fragment)))
}

#[async_trait]
impl Dataplane for LinuxDataplane {
    async fn attach(&self, pod: &PodAttachment) -> Result<Attached, DataplaneError> {
        within(
            "host ports of a pod",
            pod.host_ports.len(),
            PORTS_PER_OBJECT_COUNT,
        )?;
        let started = Instant::now();
        let uid = pod.uid.as_str();
        let turn = self.turns.of(uid).await;
        let (lease, fresh, pods) = {
            let mut ledger = self.ledger.lock();
            let fresh = ledger.get(uid).is_none();
            ledger.lease(uid, &pod.namespace, &pod.name, &pod.host_ports)?;
            (
                ledger.get(uid).cloned().expect("the lease was made above"),
                fresh,
                ledger.iter().count(),
            )
        };
        let (mut result, turn) = self.build(self.plan_of(uid, lease.ip), turn).await;
        if result.is_ok()
            && let Some(wanted) = host_ports(uid, &lease)
        {
            result = self.change_rules(Wanted::from([wanted])).await;
        }
        if let Err(error) = result {
            if let (true, Some(turn)) = (fresh, turn) {
                self.release(uid, turn).await?;
            }
            return Err(error);
        }
        metrics::attached(started.elapsed(), pods);
        Ok(self.attached_of(uid, &lease))
    }

    async fn detach(&self, uid: &PodUid) -> Result<(), DataplaneError> {
        let turn = self.turns.of(uid.as_str()).await;
        self.release(uid.as_str(), turn).await
    }

    fn attached(&self) -> Vec<Attached> {
        self.ledger
            .lock()
            .iter()
            .map(|(uid, lease)| self.attached_of(uid, lease))
            .collect()
    }

    async fn apply_services(&self, delta: ServiceDelta) -> Result<(), DataplaneError> {
        check_limits(&delta.upsert)?;
        let count = self.table.lock().await.services().count();
        within("services", count + delta.upsert.len(), SERVICES_COUNT)?;
        let removed = delta
            .remove
            .into_iter()
            .map(|key| (Owner::Service(key), None));
        let upserted = delta.upsert.iter().map(|service| self.owned(service));
        self.change_rules(removed.chain(upserted).collect()).await
    }

    async fn replace_services(&self, services: Vec<ServiceRule>) -> Result<(), DataplaneError> {
        check_limits(&services)?;
        within("services", services.len(), SERVICES_COUNT)?;
        let present: Vec<ServiceKey> = self.table.lock().await.services().cloned().collect();
        let gone = present.into_iter().map(|key| (Owner::Service(key), None));
        // A service that is there and is wanted comes twice, and the wish comes last.
        let wanted = services.iter().map(|service| self.owned(service));
        self.change_rules(gone.chain(wanted).collect()).await
    }

    fn node_address(&self) -> IpAddr {
        IpAddr::V4(self.config.node_address.unwrap_or(self.node_end()))
    }

    fn dns_address(&self) -> IpAddr {
        IpAddr::V4(self.config.dns_address)
    }

    fn describe(&self) -> Description {
        let mut lacks = self.config.lacks.clone();
        let opened = self.opened.lock().clone();
        if let Err(error) = &opened {
            let pods = self.config.cluster;
            lacks.push(format!("Other programs' rules could not be read or changed ({error}): where they drop forwarded packets, pods reach each other only after, say, `iptables -I FORWARD -s {pods} -j ACCEPT` and `iptables -I FORWARD -d {pods} -j ACCEPT`."));
        }
        if !self.conntrack.is_present() {
            lacks.push(
                "conntrack is not installed: UDP clients of a pod that goes wait for a timeout."
                    .to_owned(),
            );
        }
        Description {
            kind: "linux",
            gives: vec![
                format!(
                    "Each pod has a network namespace and an address of {} of its own.",
                    self.config.pods
                ),
                format!(
                    "Service addresses of {} are reached from pods and from the node.",
                    self.config.services
                ),
            ]
            .into_iter()
            .chain(opened.into_iter().flatten().map(|chain| {
                format!("Another program drops forwarded packets; rules of Pontoon in its chain {chain} accept those of pods.")
            }))
            .collect(),
            lacks,
        }
    }

    async fn tend(&self) {
        self.open_others().await;
    }

    async fn teardown(&self) -> Result<(), DataplaneError> {
        let _turns = self.turns.all().await;
        self.openings.close(&self.nft).await?;
        let mut rules = self.table.lock().await;
        rules.delete().await?;
        self.node
            .lock()
            .change(vec![netlink::delete_group(self.names.link_group())])
            .map_err(refused)?;
        for file in self.own_namespaces()? {
            plumbing::unname(&file)?;
        }
        let _ = std::fs::remove_dir(self.names.netns_dir());
        self.node
            .lock()
            .change(vec![
                netlink::delete_local_route(self.config.services, LOOPBACK, self.node_end()),
                netlink::delete_address(LOOPBACK, self.node_end()),
            ])
            .map_err(refused)?;
        self.ledger.lock().clear()?;
        self.restore_forwarding(&rules).await
    }
}

impl LinuxDataplane {
    fn owned(&self, service: &ServiceRule) -> (Owner, Option<Fragment>) {
        (
            Owner::Service(service.key.clone()),
            Some(Fragment::of_service(&self.layout, service)),
        )
    }

    /// Turns forwarding off again if we turned it on and no other instance on this machine relies on it.
    async fn restore_forwarding(&self, table: &Table) -> Result<(), DataplaneError> {
        let mark = self.config.state_dir.join(FORWARDING_MARK);
        if !mark.exists() {
            return Ok(());
        }
        let others = table
            .all()
            .await?
            .iter()
            .any(|name| name.starts_with(TABLE_PREFIX));
        if !others {
            write_sysctl(FORWARDING, "0")?;
        }
        std::fs::remove_file(mark).map_err(|error| failed("forget the forwarding setting", error))
    }
}
