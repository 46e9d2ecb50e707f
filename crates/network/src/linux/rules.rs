//! Service rules as data: what the kernel should hold, and the smallest script that takes it there. Pure.
//!
//! Each service, and each pod with host ports, owns a [`Fragment`]: chains, sets and map elements whose names derive from its own
//! name. A change is the difference between the fragments of the owners it names, so it costs the size of those services and not
//! of the cluster. A port without ready endpoints has no rule at all: packets to it fall through to the `refuse` chain.
//!
//! Invariant: an element of a shared map has one owner. A second claim to the same address and port is passed over and logged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::names::hash;
use crate::cidr::Cidr;
use crate::dataplane::{
    Endpoint, HostPort, InternalTraffic, Protocol, ServiceKey, ServicePort, ServiceRule,
};
use crate::limits::AFFINITY_MAX;

/// The bit of a packet's mark that asks for masquerading. kube-proxy's is 0x4000; ours is another so that both may run.
const MASQUERADE_MARK: &str = "0x00100000";

/// How many clients one endpoint remembers. An entry takes about 100 bytes of kernel memory.
const AFFINITY_CLIENTS: usize = 65_536;

/// The longest comment that nftables keeps, in bytes (`NFTNL_UDATA_COMMENT_MAXLEN`), less its terminator and a reserve.
const COMMENT_BYTES: usize = 120;

/// The networks that base rules speak of.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) table: String,
    pub(super) pods: Cidr,
    pub(super) cluster: Cidr,
    pub(super) services: Cidr,
    pub(super) dns_address: Ipv4Addr,
}

/// Who owns a fragment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Owner {
    /// A service.
    Service(ServiceKey),
    /// A pod with host ports, by uid.
    Pod(String),
}

/// A UDP flow's shape: connection tracking keeps it on an endpoint that has gone, unless it is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Flow {
    /// The service's address; `None` for a port of the node.
    pub(super) address: Option<Ipv4Addr>,
    pub(super) port: u16,
    pub(super) endpoint: Ipv4Addr,
}

type ElementKey = (&'static str, String);

/// What one owner puts into the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fragment {
    chains: BTreeMap<String, Vec<String>>,
    sets: BTreeMap<String, String>,
    elements: BTreeMap<ElementKey, String>,
    hairpin: BTreeSet<Ipv4Addr>,
    flows: BTreeSet<Flow>,
}

/// What some owners should have in the table; `None` takes theirs away.
pub(super) type Wanted = BTreeMap<Owner, Option<Fragment>>;

/// What the kernel holds, by owner.
#[derive(Debug, Default)]
pub(super) struct Book {
    fragments: BTreeMap<Owner, Fragment>,
    claims: BTreeMap<ElementKey, Owner>,
    hairpin: BTreeMap<Ipv4Addr, usize>,
}

/// A planned change: the script that makes it, and what to write into the book once the kernel has taken it.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) script: String,
    pub(super) ended_flows: Vec<Flow>,
    pub(super) fragments: Vec<(Owner, Option<Fragment>)>,
}

impl Book {
    /// The services whose rules are in force.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.fragments.keys().filter_map(|owner| match owner {
            Owner::Service(key) => Some(key),
            Owner::Pod(_) => None,
        })
    }

    /// Everything, as a wish.
    pub(super) fn wanted(&self) -> Wanted {
        self.fragments
            .iter()
            .map(|(owner, fragment)| (owner.clone(), Some(fragment.clone())))
            .collect()
    }

    /// Plans a change of some owners' fragments.
    pub(super) fn plan(&self, layout: &Layout, wanted: &Wanted) -> Change {
        let mut old = Fragment::default();
        let mut counts = BTreeMap::<Ipv4Addr, isize>::new();
        for owner in wanted.keys() {
            if let Some(fragment) = self.fragments.get(owner) {
                fragment
                    .hairpin
                    .iter()
                    .for_each(|ip| *counts.entry(*ip).or_default() -= 1);
                old.absorb(fragment);
            }
        }
        let mut new = Fragment::default();
        let mut fragments = Vec::with_capacity(wanted.len());
        for (owner, fragment) in wanted {
            let fragment = fragment.clone().map(|mut fragment| {
                self.drop_claimed(owner, &mut fragment, wanted, &new);
                fragment
                    .hairpin
                    .iter()
                    .for_each(|ip| *counts.entry(*ip).or_default() += 1);
                new.absorb(&fragment);
                fragment
            });
            fragments.push((owner.clone(), fragment));
        }
        for (ip, change) in counts {
            let before = self.hairpin.get(&ip).copied().unwrap_or(0).cast_signed();
            let key = ("hairpin", format!("{ip} . {ip}"));
            if before > 0 {
                old.elements.insert(key.clone(), String::new());
            }
            if before + change > 0 {
                new.elements.insert(key, String::new());
            }
        }
        Change {
            script: script(&layout.table, &old, &new),
            ended_flows: old.flows.difference(&new.flows).cloned().collect(),
            fragments,
        }
    }

    /// Writes a change down, once the kernel has it.
    pub(super) fn commit(&mut self, change: Change) {
        for (owner, fragment) in change.fragments {
            if let Some(old) = self.fragments.remove(&owner) {
                for ip in &old.hairpin {
                    let count = self
                        .hairpin
                        .get_mut(ip)
                        .expect("each fragment's addresses are counted");
                    *count -= 1;
                    if *count == 0 {
                        self.hairpin.remove(ip);
                    }
                }
                old.elements.keys().for_each(|key| {
                    if self.claims.get(key) == Some(&owner) {
                        self.claims.remove(key);
                    }
                });
            }
            if let Some(fragment) = fragment {
                fragment
                    .hairpin
                    .iter()
                    .for_each(|ip| *self.hairpin.entry(*ip).or_default() += 1);
                for key in fragment.elements.keys() {
                    self.claims.insert(key.clone(), owner.clone());
                }
                self.fragments.insert(owner, fragment);
            }
        }
    }

    /// The script that takes a table of unknown content to what the book holds, given the names of the chains and sets
    /// in it. Sets that stay keep their elements: clients stay with their endpoints.
    pub(super) fn resync(&self, layout: &Layout, present: &Present) -> String {
        let mut all = Fragment::default();
        self.fragments
            .values()
            .for_each(|fragment| all.absorb(fragment));
        for ip in self.hairpin.keys() {
            all.elements
                .insert(("hairpin", format!("{ip} . {ip}")), String::new());
        }
        let mut text = base(layout);
        text.push_str(&script(&layout.table, &Fragment::default(), &all));
        let table = &layout.table;
        let stale = |names: &BTreeSet<String>, keep: &dyn Fn(&str) -> bool| -> Vec<String> {
            names.iter().filter(|name| !keep(name)).cloned().collect()
        };
        for chain in stale(&present.chains, &|name| {
            all.chains.contains_key(name) || BASE_CHAINS.contains(&name)
        }) {
            let _ = writeln!(text, "delete chain ip {table} {chain}");
        }
        for set in stale(&present.sets, &|name| {
            all.sets.contains_key(name) || BASE_SETS.contains(&name)
        }) {
            let _ = writeln!(text, "delete set ip {table} {set}");
        }
        text
    }

    /// Removes elements that another owner holds already, in the kernel or earlier in this change.
    fn drop_claimed(
        &self,
        owner: &Owner,
        fragment: &mut Fragment,
        wanted: &Wanted,
        new: &Fragment,
    ) {
        fragment.elements.retain(|key, _| {
            let held = self.claims.get(key).is_some_and(|holder| holder != owner && !wanted.contains_key(holder));
            let free = !held && !new.elements.contains_key(key);
            if !free {
                tracing::warn!(?owner, element = %key.1, "an address and port that another object holds is passed over");
            }
            free
        });
    }
}

/// The names of what a table holds.
#[derive(Debug, Default)]
pub(super) struct Present {
    pub(super) chains: BTreeSet<String>,
    pub(super) sets: BTreeSet<String>,
}

const BASE_CHAINS: [&str; 6] = [
    "prerouting",
    "output",
    "dispatch",
    "postrouting",
    "input",
    "refuse",
];
const BASE_SETS: [&str; 4] = ["services", "nodeports", "hostports", "hairpin"];

/// The table's fixed part, emptied: maps, hooks and the rules that lead from one to the other.
///
/// Every service address is local to the node (a route of type `local`), so what no rule translates reaches the `input` hook and is
/// refused there at once, whether a pod or the node itself sent it.
fn base(layout: &Layout) -> String {
    let Layout {
        table,
        pods,
        cluster,
        services,
        dns_address,
    } = layout;
    format!(
        "add table ip {table}
flush table ip {table}
add map ip {table} services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
flush map ip {table} services
add map ip {table} nodeports {{ type inet_proto . inet_service : verdict; }}
flush map ip {table} nodeports
add map ip {table} hostports {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
flush map ip {table} hostports
add set ip {table} hairpin {{ type ipv4_addr . ipv4_addr; }}
flush set ip {table} hairpin
add chain ip {table} dispatch
add chain ip {table} refuse
add chain ip {table} prerouting {{ type nat hook prerouting priority -100; policy accept; }}
add chain ip {table} output {{ type nat hook output priority -100; policy accept; }}
add chain ip {table} postrouting {{ type nat hook postrouting priority 100; policy accept; }}
add chain ip {table} input {{ type filter hook input priority 0; policy accept; }}
add rule ip {table} prerouting jump dispatch
add rule ip {table} output jump dispatch
add rule ip {table} dispatch ip daddr . meta l4proto . th dport vmap @services
add rule ip {table} dispatch ip daddr {services} return
add rule ip {table} dispatch ip daddr 127.0.0.0/8 return
add rule ip {table} dispatch fib daddr type local meta l4proto . th dport vmap @nodeports
add rule ip {table} dispatch fib daddr type local dnat ip to meta l4proto . th dport map @hostports
add rule ip {table} postrouting ct status dnat ip saddr . ip daddr @hairpin masquerade
add rule ip {table} postrouting meta mark & {MASQUERADE_MARK} != 0 masquerade
add rule ip {table} postrouting ip saddr {pods} ip daddr != {cluster} oifname != \"lo\" masquerade
add rule ip {table} input ip daddr {services} jump refuse
add rule ip {table} refuse ip daddr {dns_address} meta l4proto {{ tcp, udp }} th dport 53 accept
add rule ip {table} refuse meta l4proto tcp reject with tcp reset
add rule ip {table} refuse reject with icmp type port-unreachable
"
    )
}

/// The difference between two states as one transaction, in an order in which nothing is used before it is there or after it is gone.
fn script(table: &str, old: &Fragment, new: &Fragment) -> String {
    let mut text = String::new();
    let mut line = |words: std::fmt::Arguments<'_>| {
        let _ = text.write_fmt(words);
        text.push('\n');
    };
    for (set, declaration) in new
        .sets
        .iter()
        .filter(|(set, _)| !old.sets.contains_key(*set))
    {
        line(format_args!("add set ip {table} {set} {declaration}"));
    }
    for chain in new
        .chains
        .keys()
        .filter(|chain| !old.chains.contains_key(*chain))
    {
        line(format_args!("add chain ip {table} {chain}"));
    }
    for (chain, rules) in &new.chains {
        let before = old.chains.get(chain);
        if before == Some(rules) {
            continue;
        }
        if before.is_some() {
            line(format_args!("flush chain ip {table} {chain}"));
        }
        for rule in rules {
            line(format_args!("add rule ip {table} {chain} {rule}"));
        }
    }
    for ((set, key), _) in old
        .elements
        .iter()
        .filter(|(key, value)| new.elements.get(*key) != Some(*value))
    {
        line(format_args!("delete element ip {table} {set} {{ {key} }}"));
    }
    for ((set, key), value) in new
        .elements
        .iter()
        .filter(|(key, value)| old.elements.get(*key) != Some(*value))
    {
        line(format_args!(
            "add element ip {table} {set} {{ {key}{value} }}"
        ));
    }
    let gone: Vec<_> = old
        .chains
        .keys()
        .filter(|chain| !new.chains.contains_key(*chain))
        .collect();
    for verb in ["flush", "delete"] {
        for chain in &gone {
            line(format_args!("{verb} chain ip {table} {chain}"));
        }
    }
    for set in old.sets.keys().filter(|set| !new.sets.contains_key(*set)) {
        line(format_args!("delete set ip {table} {set}"));
    }
    text
}

impl Fragment {
    fn absorb(&mut self, other: &Self) {
        self.chains.extend(other.chains.clone());
        self.sets.extend(other.sets.clone());
        self.elements.extend(other.elements.clone());
        self.flows.extend(other.flows.iter().cloned());
    }

    /// What a service puts into the table.
    pub(super) fn of_service(layout: &Layout, service: &ServiceRule) -> Self {
        let mut fragment = Self::default();
        let addresses: Vec<Ipv4Addr> = service
            .cluster_ips
            .iter()
            .filter_map(|ip| v4(*ip))
            .collect();
        for port in &service.ports {
            let local_only = service.internal_traffic == InternalTraffic::Local;
            let endpoints = targets(port, local_only);
            if !endpoints.is_empty() {
                fragment.add_port(layout, service, port, &addresses, &endpoints);
            }
        }
        fragment
    }

    /// What a pod's host ports put into the table.
    pub(super) fn of_host_ports(ip: Ipv4Addr, ports: &[HostPort]) -> Self {
        let mut fragment = Self::default();
        for port in ports {
            let key = format!("{} . {}", port.protocol, port.host_port);
            fragment.elements.insert(
                ("hostports", key),
                format!(" : {ip} . {}", port.container_port),
            );
            fragment.hairpin.insert(ip);
            if port.protocol == Protocol::Udp {
                fragment.flows.insert(Flow {
                    address: None,
                    port: port.host_port,
                    endpoint: ip,
                });
            }
        }
        fragment
    }

    fn add_port(
        &mut self,
        layout: &Layout,
        service: &ServiceRule,
        port: &ServicePort,
        addresses: &[Ipv4Addr],
        endpoints: &BTreeSet<SocketAddrV4>,
    ) {
        let id = format!(
            "{:016x}",
            hash(&format!("{}/{}/{}", service.key, port.protocol, port.port))
        );
        let chain = format!("s_{id}");
        let comment = comment(service, port);
        let rules = match service.affinity {
            None => vec![format!("{}{comment}", spread(port.protocol, endpoints))],
            Some(timeout) => self.sticky(
                &id,
                port.protocol,
                endpoints,
                timeout.min(AFFINITY_MAX),
                &comment,
            ),
        };
        self.chains.insert(chain.clone(), rules);
        // The node's DNS server answers at its service address itself.
        let mine = |address: Ipv4Addr| address == layout.dns_address && port.port == 53;
        for address in addresses.iter().copied().filter(|address| !mine(*address)) {
            let key = format!("{address} . {} . {}", port.protocol, port.port);
            self.elements
                .insert(("services", key), format!(" : goto {chain}"));
        }
        if let Some(node_port) = port.node_port {
            // The answer must come back through this node, whichever node the endpoint is on.
            let external = format!("n_{id}");
            let rules = vec![
                format!("meta mark set meta mark or {MASQUERADE_MARK}"),
                format!("goto {chain}"),
            ];
            self.chains.insert(external.clone(), rules);
            let key = format!("{} . {node_port}", port.protocol);
            self.elements
                .insert(("nodeports", key), format!(" : goto {external}"));
        }
        self.hairpin.extend(
            endpoints
                .iter()
                .map(|endpoint| *endpoint.ip())
                .filter(|ip| layout.pods.contains(*ip)),
        );
        if port.protocol == Protocol::Udp {
            let fronts = addresses.iter().map(|address| (Some(*address), port.port));
            let fronts: Vec<_> = fronts
                .chain(port.node_port.map(|node_port| (None, node_port)))
                .collect();
            for endpoint in endpoints {
                self.flows.extend(fronts.iter().map(|(address, port)| Flow {
                    address: *address,
                    port: *port,
                    endpoint: *endpoint.ip(),
                }));
            }
        }
    }

    /// A service with session affinity: each endpoint remembers its clients in a set of its own, and the service asks the sets first
    /// (kube-proxy's way; verdicts cannot be stored from a packet's path).
    fn sticky(
        &mut self,
        id: &str,
        protocol: Protocol,
        endpoints: &BTreeSet<SocketAddrV4>,
        timeout: Duration,
        comment: &str,
    ) -> Vec<String> {
        let seconds = timeout.as_secs().max(1);
        let mut rules = Vec::with_capacity(endpoints.len() + 1);
        let mut ways = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let place = format!(
                "{id}_{:08x}{:04x}",
                u32::from(*endpoint.ip()),
                endpoint.port()
            );
            let (chain, set) = (format!("e_{place}"), format!("a_{place}_{seconds}"));
            let kind = "type ipv4_addr; flags dynamic,timeout;";
            let declaration = format!("{{ {kind} timeout {seconds}s; size {AFFINITY_CLIENTS}; }}");
            self.sets.insert(set.clone(), declaration);
            let remember = format!("update @{set} {{ ip saddr }}");
            self.chains.insert(
                chain.clone(),
                vec![remember, spread(protocol, &BTreeSet::from([*endpoint]))],
            );
            rules.push(format!("ip saddr @{set} goto {chain}"));
            ways.push(format!("{} : goto {chain}", ways.len()));
        }
        rules.push(format!(
            "numgen random mod {} vmap {{ {} }}{comment}",
            ways.len(),
            ways.join(", ")
        ));
        rules
    }
}

/// A rule that sends a connection to one of the endpoints, each as likely.
fn spread(protocol: Protocol, endpoints: &BTreeSet<SocketAddrV4>) -> String {
    if let (1, Some(only)) = (endpoints.len(), endpoints.first()) {
        return format!("meta l4proto {protocol} dnat to {only}");
    }
    let choices: Vec<String> = endpoints
        .iter()
        .enumerate()
        .map(|(at, place)| format!("{at} : {} . {}", place.ip(), place.port()))
        .collect();
    format!(
        "meta l4proto {protocol} dnat to numgen random mod {} map {{ {} }}",
        choices.len(),
        choices.join(", ")
    )
}

fn targets(port: &ServicePort, local_only: bool) -> BTreeSet<SocketAddrV4> {
    let serves = |endpoint: &&Endpoint| endpoint.local || !local_only;
    port.endpoints
        .iter()
        .filter(serves)
        .filter_map(|endpoint| {
            Some(SocketAddrV4::new(
                v4(endpoint.address.ip())?,
                endpoint.address.port(),
            ))
        })
        .collect()
}

fn v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped(),
    }
}

/// The service's name on its rule, for people who read `nft list ruleset`. What would need quoting is left out.
fn comment(service: &ServiceRule, port: &ServicePort) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || "-./:_".contains(*c);
    let text: String = format!("{}:{}", service.key, port.name)
        .chars()
        .filter(plain)
        .take(COMMENT_BYTES)
        .collect();
    format!(" comment \"{text}\"")
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "rules_model_tests.rs"]
mod model_tests;
