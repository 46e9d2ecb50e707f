//! The cluster's zone: pure. Services go in, record sets come out, by the Kubernetes DNS specification, schema 1.1.0
//! (kubernetes/dns, docs/specification.md).
//!
//! Each service owns a list of names with their record sets, built when the service changes and shared by every answer. A query is
//! one lookup in a hash map.
//!
//! - A name that exists without records of the asked type gives NODATA; one that does not exist, NXDOMAIN. A name between two
//!   existing ones exists (RFC 8020).
//! - A headless service without ready endpoints does not exist (specification, 2.4.1).
//! - `a-b-c-d.NAMESPACE.pod.DOMAIN` answers with the address it spells (2.6; kubeadm's `pods insecure`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};

use crate::entry::{Address, Endpoint, Entry, Port};
use crate::limits::TTL_SECONDS;

/// The version of the schema that the zone follows.
const SCHEMA_VERSION: &str = "1.1.0";

/// Records of one type at one name, with what helps the asker (addresses of SRV targets).
#[derive(Debug, PartialEq, Eq)]
pub struct RecordSet {
    /// The answer.
    pub records: Vec<Record>,
    /// What the asker will want next.
    pub additionals: Vec<Record>,
}

/// What the zone knows of a question.
#[derive(Debug, Clone)]
pub enum Found {
    /// The records.
    Records(Arc<RecordSet>),
    /// Another name: the alias itself and where it leads, for the caller to follow.
    Alias(Arc<RecordSet>, Name),
    /// The name exists, without records of this type.
    NoData,
    /// The name does not exist.
    NoName,
    /// The name belongs to somebody else.
    Elsewhere,
}

/// The record sets of one name; empty for a name that only has names below it.
#[derive(Debug, Default)]
struct Node {
    sets: Vec<(RecordType, Arc<RecordSet>)>,
}

/// Something is wrong with the domain's name.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no domain name")]
pub struct DomainError {
    text: String,
}

/// An entry holds a name that DNS cannot carry. The API validates names, so this is another program's mistake.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no DNS name")]
pub struct EntryError {
    text: String,
}

/// Where the zone is.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The cluster's domain: `cluster.local`.
    pub domain: String,
    /// The name server's own address.
    pub server: IpAddr,
    /// Networks (address and prefix length) of services and pods: their reverse names are never asked upstream.
    pub networks: Vec<(Ipv4Addr, u8)>,
}

/// The zone.
#[derive(Debug)]
pub struct Zone {
    domain: Name,
    lower_domain: LowerName,
    pods: LowerName,
    networks: Vec<(Ipv4Addr, u8)>,
    soa: Record,
    nodes: HashMap<LowerName, Node>,
    /// Names that each service owns, by namespace and name.
    services: HashMap<(String, String), Owned>,
    /// How many services a namespace's name stands above.
    namespaces: HashMap<LowerName, usize>,
    reverse: HashMap<IpAddr, BTreeMap<(String, String), Vec<Name>>>,
}

#[derive(Debug, Default)]
struct Owned {
    names: Vec<LowerName>,
    addresses: HashSet<IpAddr>,
}

impl Zone {
    /// An empty zone.
    ///
    /// # Errors
    /// [`DomainError`].
    pub fn new(origin: &Origin) -> Result<Self, DomainError> {
        let bad = || DomainError {
            text: origin.domain.clone(),
        };
        let domain = Name::from_ascii(origin.domain.trim_end_matches('.')).map_err(|_| bad())?;
        let mut domain = domain.to_lowercase();
        domain.set_fqdn(true);
        if domain.num_labels() == 0 {
            return Err(bad());
        }
        let below = |labels: &[&str]| under(&domain, labels).map_err(|_| bad());
        let server = below(&["ns", "dns"])?;
        // Values as CoreDNS' kubernetes plug-in has them: nobody transfers this zone.
        let soa = SOA::new(
            server.clone(),
            below(&["hostmaster"])?,
            1,
            7_200,
            1_800,
            86_400,
            TTL_SECONDS,
        );
        let soa = Record::from_rdata(domain.clone(), TTL_SECONDS, RData::SOA(soa));
        let mut zone = Self {
            lower_domain: LowerName::new(&domain),
            pods: LowerName::new(&below(&["pod"])?),
            networks: origin.networks.clone(),
            soa,
            nodes: HashMap::new(),
            services: HashMap::new(),
            namespaces: HashMap::new(),
            reverse: HashMap::new(),
            domain: domain.clone(),
        };
        let address = addresses(&server, &[origin.server]);
        zone.put(server.clone(), address.clone());
        for name in [below(&["svc"])?, below(&["pod"])?, below(&["dns"])?] {
            zone.put(name, Vec::new());
        }
        let version = RData::TXT(TXT::new(vec![SCHEMA_VERSION.to_owned()]));
        let name = below(&["dns-version"])?;
        zone.put(
            name.clone(),
            vec![Record::from_rdata(name, TTL_SECONDS, version)],
        );
        let server = Record::from_rdata(domain.clone(), TTL_SECONDS, RData::NS(NS(server)));
        let soa = zone.soa.clone();
        zone.put(domain, vec![soa, server]);
        Ok(zone)
    }

    /// The record that goes with every answer that something is not there.
    #[must_use]
    pub fn soa(&self) -> &Record {
        &self.soa
    }

    /// The cluster's domain.
    #[must_use]
    pub fn domain(&self) -> &Name {
        &self.domain
    }

    /// Adds a service, or replaces what it had.
    ///
    /// # Errors
    /// [`EntryError`]; the service then has no names.
    pub fn upsert(&mut self, entry: &Entry) -> Result<(), EntryError> {
        self.remove(&entry.namespace, &entry.name);
        let service = under(&self.domain, &[&entry.name, &entry.namespace, "svc"])?;
        let (sets, reverse) = sets(&service, entry)?;
        if sets.is_empty() {
            return Ok(());
        }
        let key = (entry.namespace.clone(), entry.name.clone());
        let mut owned = Owned::default();
        for (name, records) in sets {
            owned.names.push(LowerName::new(&name));
            self.put_sets(name, records);
        }
        for (address, name) in reverse {
            owned.addresses.insert(address);
            self.reverse
                .entry(address)
                .or_default()
                .entry(key.clone())
                .or_default()
                .push(name);
        }
        *self
            .namespaces
            .entry(LowerName::new(&service.base_name()))
            .or_default() += 1;
        self.services.insert(key, owned);
        Ok(())
    }

    /// Removes a service. One that is not there is no error.
    pub fn remove(&mut self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        let Some(owned) = self.services.remove(&key) else {
            return;
        };
        for name in &owned.names {
            self.nodes.remove(name);
        }
        for address in &owned.addresses {
            if let Some(owners) = self.reverse.get_mut(address) {
                owners.remove(&key);
                if owners.is_empty() {
                    self.reverse.remove(address);
                }
            }
        }
        if let Ok(name) = under(&self.domain, &[namespace, "svc"]) {
            let name = LowerName::new(&name);
            if let Some(count) = self.namespaces.get_mut(&name) {
                *count -= 1;
                if *count == 0 {
                    self.namespaces.remove(&name);
                }
            }
        }
    }

    /// The services with names in the zone, as namespace and name.
    pub fn services(&self) -> impl Iterator<Item = (&str, &str)> {
        self.services
            .keys()
            .map(|(namespace, name)| (namespace.as_str(), name.as_str()))
    }

    /// Answers a question. The name may be in any case.
    #[must_use]
    pub fn find(&self, name: &LowerName, kind: RecordType) -> Found {
        if self.lower_domain.zone_of(name) {
            return self.find_inside(name, kind);
        }
        reverse_address(name).map_or(Found::Elsewhere, |address| {
            self.find_reverse(name, address, kind)
        })
    }

    fn find_inside(&self, name: &LowerName, kind: RecordType) -> Found {
        if let Some(node) = self.nodes.get(name) {
            let set = |kind| {
                node.sets
                    .iter()
                    .find(|(of, _)| *of == kind)
                    .map(|(_, set)| Arc::clone(set))
            };
            if let Some(set) = set(kind) {
                return Found::Records(set);
            }
            let Some(alias) = set(RecordType::CNAME) else {
                return Found::NoData;
            };
            return match alias.records.first().map(|record| &record.data) {
                Some(RData::CNAME(CNAME(target))) => {
                    let target = target.clone();
                    Found::Alias(alias, target)
                }
                _ => Found::NoData,
            };
        }
        if self.namespaces.contains_key(name) {
            return Found::NoData;
        }
        self.find_pod(name, kind)
    }

    /// `a-b-c-d.NAMESPACE.pod.DOMAIN`
    fn find_pod(&self, name: &LowerName, kind: RecordType) -> Found {
        if !self.pods.zone_of(name) {
            return Found::NoName;
        }
        let name: &Name = name;
        let depth = name.num_labels() - self.domain.num_labels() - 1;
        if depth == 1 {
            return Found::NoData;
        }
        let label = name
            .iter()
            .next()
            .and_then(|label| std::str::from_utf8(label).ok());
        match label.filter(|_| depth == 2).and_then(spelled_address) {
            Some(address) if address_kind(address) == kind => {
                let records = addresses(name, &[address]);
                Found::Records(Arc::new(RecordSet {
                    records,
                    additionals: Vec::new(),
                }))
            }
            Some(_) => Found::NoData,
            None => Found::NoName,
        }
    }

    fn find_reverse(&self, name: &LowerName, address: IpAddr, kind: RecordType) -> Found {
        let Some(owners) = self.reverse.get(&address) else {
            return if self.is_ours(address) {
                Found::NoName
            } else {
                Found::Elsewhere
            };
        };
        if kind != RecordType::PTR {
            return Found::NoData;
        }
        let record = |target: &Name| {
            Record::from_rdata(name.into(), TTL_SECONDS, RData::PTR(PTR(target.clone())))
        };
        let records = owners.values().flatten().map(record).collect();
        Found::Records(Arc::new(RecordSet {
            records,
            additionals: Vec::new(),
        }))
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else {
            return false;
        };
        self.networks.iter().any(|(base, prefix)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(*prefix)).unwrap_or(0);
            u32::from(address) & mask == u32::from(*base) & mask
        })
    }

    fn put(&mut self, name: Name, records: Vec<Record>) {
        self.put_sets(
            name,
            vec![RecordSet {
                records,
                additionals: Vec::new(),
            }],
        );
    }

    /// Files the sets under their types. Each holds records of one type, but for the zone's own name.
    fn put_sets(&mut self, name: Name, sets: Vec<RecordSet>) {
        let mut node = Node::default();
        for set in sets {
            let mut by_kind: Vec<(RecordType, RecordSet)> = Vec::new();
            let mut additionals = Some(set.additionals);
            for record in set.records {
                let kind = record.record_type();
                match by_kind.iter_mut().find(|(of, _)| *of == kind) {
                    Some((_, set)) => set.records.push(record),
                    None => {
                        let additionals = additionals.take().unwrap_or_default();
                        by_kind.push((
                            kind,
                            RecordSet {
                                records: vec![record],
                                additionals,
                            },
                        ));
                    }
                }
            }
            node.sets
                .extend(by_kind.into_iter().map(|(kind, set)| (kind, Arc::new(set))));
        }
        self.nodes.insert(LowerName::new(&name), node);
    }
}

type Sets = BTreeMap<Name, Vec<RecordSet>>;

/// The names a service owns, and the reverse names that lead to it.
fn sets(service: &Name, entry: &Entry) -> Result<(Sets, Vec<(IpAddr, Name)>), EntryError> {
    let mut sets = Sets::new();
    let mut reverse = Vec::new();
    let plain = |records| {
        vec![RecordSet {
            records,
            additionals: Vec::new(),
        }]
    };
    match &entry.address {
        Address::External(target) => {
            let bad = || EntryError {
                text: target.clone(),
            };
            let mut target = Name::from_ascii(target.trim_end_matches('.')).map_err(|_| bad())?;
            target.set_fqdn(true);
            let record =
                Record::from_rdata(service.clone(), TTL_SECONDS, RData::CNAME(CNAME(target)));
            sets.insert(service.clone(), plain(vec![record]));
        }
        Address::Cluster(ips) => {
            let records = addresses(service, ips);
            let target = Target {
                name: service.clone(),
                addresses: records.clone(),
            };
            let targets = entry.ports.iter().map(|port| (port, &target));
            add_ports(service, targets, &mut sets)?;
            sets.insert(service.clone(), plain(records));
            reverse.extend(ips.iter().map(|ip| (*ip, service.clone())));
        }
        Address::Headless => headless(service, &entry.endpoints, &mut sets, &mut reverse)?,
    }
    Ok((sets, reverse))
}

/// What an SRV record leads to.
struct Target {
    name: Name,
    addresses: Vec<Record>,
}

fn headless(
    service: &Name,
    endpoints: &[Endpoint],
    sets: &mut Sets,
    reverse: &mut Vec<(IpAddr, Name)>,
) -> Result<(), EntryError> {
    let mut hosts = BTreeMap::<Name, Vec<IpAddr>>::new();
    let mut all = Vec::new();
    for endpoint in endpoints {
        all.extend_from_slice(&endpoint.addresses);
        hosts
            .entry(host_name(service, endpoint)?)
            .or_default()
            .extend_from_slice(&endpoint.addresses);
    }
    if all.is_empty() {
        return Ok(());
    }
    let targets: BTreeMap<Name, Target> = hosts
        .into_iter()
        .map(|(name, mut ips)| {
            ips.sort_unstable();
            ips.dedup();
            reverse.extend(ips.iter().map(|ip| (*ip, name.clone())));
            let addresses = addresses(&name, &ips);
            (name.clone(), Target { name, addresses })
        })
        .collect();
    let mut ports = Vec::new();
    for endpoint in endpoints {
        let target = &targets[&host_name(service, endpoint)?];
        ports.extend(endpoint.ports.iter().map(|port| (port, target)));
    }
    add_ports(service, ports.into_iter(), sets)?;
    for target in targets.into_values() {
        sets.insert(
            target.name,
            vec![RecordSet {
                records: target.addresses,
                additionals: Vec::new(),
            }],
        );
    }
    all.sort_unstable();
    all.dedup();
    let records = addresses(service, &all);
    sets.insert(
        service.clone(),
        vec![RecordSet {
            records,
            additionals: Vec::new(),
        }],
    );
    Ok(())
}

/// `_PORT._PROTOCOL.SERVICE`, and the name between.
fn add_ports<'a>(
    service: &Name,
    ports: impl Iterator<Item = (&'a Port, &'a Target)>,
    sets: &mut Sets,
) -> Result<(), EntryError> {
    for (port, target) in ports {
        let protocol = under(service, &[&format!("_{}", port.protocol)])?;
        let name = under(&protocol, &[&format!("_{}", port.name)])?;
        sets.entry(protocol).or_default();
        // Priority and weight as CoreDNS has them for a set of one; all are alike, so clients spread evenly.
        let data = RData::SRV(SRV::new(0, 100, port.number, target.name.clone()));
        let record = Record::from_rdata(name.clone(), TTL_SECONDS, data);
        let slots = sets.entry(name).or_default();
        if slots.is_empty() {
            slots.push(RecordSet {
                records: Vec::new(),
                additionals: Vec::new(),
            });
        }
        let set = slots.first_mut().expect("it was pushed above");
        if !set.records.contains(&record) {
            set.records.push(record);
            let fresh = target
                .addresses
                .iter()
                .filter(|address| !set.additionals.contains(address));
            let fresh: Vec<Record> = fresh.cloned().collect();
            set.additionals.extend(fresh);
        }
    }
    Ok(())
}

fn host_name(service: &Name, endpoint: &Endpoint) -> Result<Name, EntryError> {
    let spelled = || {
        let first = endpoint
            .addresses
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        first.replace(['.', ':'], "-")
    };
    under(
        service,
        &[&endpoint.hostname.clone().unwrap_or_else(spelled)],
    )
}

fn addresses(name: &Name, ips: &[IpAddr]) -> Vec<Record> {
    let data = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => RData::A(A(*ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(*ip)),
    };
    ips.iter()
        .map(|ip| Record::from_rdata(name.clone(), TTL_SECONDS, data(ip)))
        .collect()
}

fn address_kind(address: IpAddr) -> RecordType {
    if address.is_ipv4() {
        RecordType::A
    } else {
        RecordType::AAAA
    }
}

/// `labels` in front of `parent`, in lower case: names are compared so.
fn under(parent: &Name, labels: &[&str]) -> Result<Name, EntryError> {
    labels.iter().rev().try_fold(parent.clone(), |name, label| {
        let bad = || EntryError {
            text: (*label).to_owned(),
        };
        if label.is_empty() || label.contains('.') {
            return Err(bad());
        }
        name.prepend_label(label.to_ascii_lowercase().as_bytes())
            .map_err(|_| bad())
    })
}

/// An address with `-` for its separators.
fn spelled_address(label: &str) -> Option<IpAddr> {
    let v4 = label.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::V4);
    v4.or_else(|_| label.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::V6))
        .ok()
}

/// The address that a name under `in-addr.arpa` or `ip6.arpa` stands for; `None` for another name or a part of one.
fn reverse_address(name: &LowerName) -> Option<IpAddr> {
    let name: &Name = name;
    let labels: Vec<&str> = name
        .iter()
        .map(std::str::from_utf8)
        .collect::<Result<_, _>>()
        .ok()?;
    match labels.as_slice() {
        [digits @ .., "in-addr", "arpa"] if digits.len() == 4 => {
            let mut octets = [0; 4];
            for (octet, digit) in octets.iter_mut().zip(digits.iter().rev()) {
                *octet = digit.parse().ok()?;
            }
            Some(IpAddr::from(octets))
        }
        [digits @ .., "ip6", "arpa"] if digits.len() == 32 => {
            let mut bits = 0u128;
            for digit in digits.iter().rev().filter(|digit| digit.len() == 1) {
                bits = (bits << 4) | u128::from(u8::from_str_radix(digit, 16).ok()?);
            }
            Some(IpAddr::from(bits.to_be_bytes()))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
