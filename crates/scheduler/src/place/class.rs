//! Pods of one shape in a batch, and what was worked out for all of them.

use super::counters::{Counters, Domains, Group, Part};
use crate::cluster::{Cluster, ShapeId};
use crate::filter::pod_affinity::PodRules;
use crate::filter::spread::HardSpread;
use crate::ledger::Needs;
use crate::score::spread::{SoftSpread, weight};
use crate::shape::{HostPort, PodTerm, Shape, Shaped, Spread};
use crate::slots::Tally;

/// The system's own spreading, for pods that ask for none: (key, maxSkew)
/// (`podtopologyspread/plugin.go`, `systemDefaultConstraints`).
const HOST_MAX_SKEW: i64 = 3;
const ZONE_MAX_SKEW: i64 = 5;
const ZONE_KEY: &str = "topology.kubernetes.io/zone";

/// A preferred pod affinity term.
#[derive(Debug)]
pub struct PodPreference {
    pub weight: i64,
    pub counter: usize,
    pub domains: Domains,
}

/// Pods of one shape.
#[derive(Debug)]
pub struct Class {
    pub shape: Shaped,
    /// Held in the cluster while the batch is placed.
    pub id: ShapeId,
    pub needs: Needs,
    pub table: usize,
    pub soft: Vec<SoftSpread>,
    pub hard: Vec<HardSpread>,
    pub pods: PodRules,
    pub preferred_pods: Vec<PodPreference>,
    /// Counters that a placement of this class changes.
    pub matching: Option<Vec<usize>>,
    /// Classes that a placed pod of this class keeps away, and from which domains.
    pub repels: Option<Vec<(usize, Domains)>>,
}

impl Class {
    pub fn new(
        cluster: &mut Cluster,
        counters: &mut Counters,
        shape: &Shaped,
        id: ShapeId,
    ) -> Self {
        let needs = cluster.shapes.get(id).needs.clone();
        let table = cluster.verdicts.table(&shape.constraint);
        Self {
            needs,
            table,
            soft: soft(cluster, counters, shape),
            hard: hard(cluster, counters, shape, table),
            pods: pod_rules(cluster, counters, shape),
            preferred_pods: preferred_pods(cluster, counters, shape),
            matching: None,
            repels: None,
            shape: shape.clone(),
            id,
        }
    }

    /// What decides whether a node takes a pod of the class, where other pods' places do not: classes of
    /// one demand are refused together, and stay refused while a batch is placed, for placements
    /// only take room away.
    pub fn demand(&self, cluster: &Cluster) -> Option<Demand> {
        if !self.hard.is_empty() || !self.pods.is_empty() {
            return None;
        }
        let (amounts, unknown) = cluster.shapes.get(self.id).needs.demand();
        Some(Demand {
            table: self.table,
            amounts: amounts.to_vec(),
            unknown: unknown.to_vec(),
            ports: self.shape.ports.clone(),
        })
    }
}

/// See [`Class::demand`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Demand {
    table: usize,
    amounts: Vec<(usize, i64)>,
    unknown: Vec<String>,
    ports: Vec<HostPort>,
}

pub fn domains(cluster: &mut Cluster, key: &str) -> Domains {
    Domains::Key(cluster.topologies.index(key, &cluster.nodes))
}

fn size(cluster: &Cluster, domains: Domains) -> usize {
    match domains {
        Domains::Hosts => cluster.node_count(),
        Domains::Key(at) => cluster.topologies.get(at).len(),
    }
}

fn soft(cluster: &mut Cluster, counters: &mut Counters, shape: &Shape) -> Vec<SoftSpread> {
    let mut found = Vec::new();
    let mut add = |cluster: &Cluster, group: Group, domains, max_skew, lenient| {
        let counter = counters.index(group, domains, cluster);
        found.push(SoftSpread {
            counter,
            domains,
            max_skew,
            lenient,
            weight: weight(size(cluster, domains)),
        });
    };
    for spread in shape.spread.iter().filter(|spread| !spread.required) {
        let domains = domains(cluster, &spread.topology);
        add(
            cluster,
            selected(shape, spread),
            domains,
            spread.max_skew,
            false,
        );
    }
    if !shape.spread.is_empty() {
        return found;
    }
    let group = match &shape.owner {
        Some(owner) => Some(Group::Owner(owner.clone())),
        None => cluster
            .service_selector(shape)
            .map(|selector| Group::Selected(shape.namespace.clone(), Some(selector))),
    };
    if let Some(group) = group {
        let zones = domains(cluster, ZONE_KEY);
        add(cluster, group.clone(), Domains::Hosts, HOST_MAX_SKEW, true);
        if size(cluster, zones) > 1 {
            add(cluster, group, zones, ZONE_MAX_SKEW, true);
        }
    }
    found
}

fn selected(shape: &Shape, spread: &Spread) -> Group {
    Group::Selected(shape.namespace.clone(), spread.selector.clone())
}

fn hard(
    cluster: &mut Cluster,
    counters: &mut Counters,
    shape: &Shape,
    table: usize,
) -> Vec<HardSpread> {
    let spreads: Vec<_> = shape
        .spread
        .iter()
        .filter(|spread| spread.required)
        .collect();
    let keys: Vec<_> = spreads
        .iter()
        .map(|spread| domains(cluster, &spread.topology))
        .collect();
    let mut found = Vec::new();
    for (spread, domains) in spreads.into_iter().zip(keys.iter().copied()) {
        let part = Part {
            table,
            keys: keys.clone(),
            honor_affinity: spread.honor_affinity,
            honor_taints: spread.honor_taints,
        };
        let group = selected(shape, spread);
        let counts_itself = group.matches(shape);
        let (counter, eligible) =
            counters.index_part(group, domains, part, &shape.constraint, cluster);
        found.push(HardSpread {
            counter,
            domains,
            max_skew: spread.max_skew,
            min_domains: usize::try_from(spread.min_domains).unwrap_or(1),
            counts_itself,
            eligible,
            fewest: None,
        });
    }
    found
}

fn pod_rules(cluster: &mut Cluster, counters: &mut Counters, shape: &Shape) -> PodRules {
    let mut rules = PodRules::default();
    for term in &shape.affinity {
        let domains = domains(cluster, &term.topology);
        let counter = counters.index(Group::Terms(shape.affinity.clone()), domains, cluster);
        rules.towards.push((counter, domains));
    }
    rules.matches_itself = shape.affinity.iter().all(|term| term.matches(shape));
    for term in &shape.anti_affinity {
        let domains = domains(cluster, &term.topology);
        let counter = counters.index(Group::Terms(vec![term.clone()]), domains, cluster);
        rules.away.push((counter, domains));
    }
    rules.repelled = repelled(cluster, shape);
    rules
}

/// Domains that pods with anti-affinity keep this shape out of.
fn repelled(cluster: &mut Cluster, shape: &Shape) -> Vec<(Domains, Tally)> {
    let against = |entry: &Shape| -> Vec<PodTerm> {
        entry
            .anti_affinity
            .iter()
            .filter(|term| term.matches(shape))
            .cloned()
            .collect()
    };
    let hostile: Vec<_> = cluster
        .shapes
        .repelling()
        .map(|entry| (against(&entry.shape), entry.on.clone()))
        .filter(|(terms, _)| !terms.is_empty())
        .collect();
    let mut found = Vec::new();
    for (terms, on) in hostile {
        for term in terms {
            let domains = domains(cluster, &term.topology);
            let tally = tally_of(&mut found, domains);
            for (slot, count) in on.iter() {
                if let Some(domain) = domains.of(slot, &cluster.topologies) {
                    tally.add(domain, count);
                }
            }
        }
    }
    found
}

/// The tally of one kind of domains, made at need.
pub fn tally_of(tallies: &mut Vec<(Domains, Tally)>, domains: Domains) -> &mut Tally {
    let at = tallies
        .iter()
        .position(|(one, _)| *one == domains)
        .unwrap_or_else(|| {
            tallies.push((domains, Tally::default()));
            tallies.len() - 1
        });
    &mut tallies[at].1
}

fn preferred_pods(
    cluster: &mut Cluster,
    counters: &mut Counters,
    shape: &Shape,
) -> Vec<PodPreference> {
    let mut found = Vec::new();
    for (weight, term) in &shape.preferred_pods {
        let domains = domains(cluster, &term.topology);
        let counter = counters.index(Group::Terms(vec![term.clone()]), domains, cluster);
        found.push(PodPreference {
            weight: *weight,
            counter,
            domains,
        });
    }
    found
}
