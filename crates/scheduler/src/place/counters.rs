//! Counts of pods per topology domain, kept up while one batch is placed.

use crate::cluster::{Cluster, ShapeEntry, Shapes, Topologies};
use crate::filter::{affinity, taints};
use crate::selector::Selector;
use crate::shape::{NodeConstraint, PodTerm, Shape};
use crate::slots::{Slot, Tally, TextMap};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What nodes are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Domains {
    /// Each node is its own domain.
    Hosts,
    /// A topology key, by its place in [`Topologies`].
    Key(usize),
}

impl Domains {
    #[inline]
    pub fn of(self, slot: Slot, topologies: &Topologies) -> Option<usize> {
        match self {
            Self::Hosts => Some(slot),
            Self::Key(at) => topologies.get(at).domain(slot),
        }
    }
}

/// Which pods are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Group {
    /// Those of one controller.
    Owner(String),
    /// Those of one namespace that a selector matches.
    Selected(String, Option<Selector>),
    /// Those that match all terms, those being deleted included: they still are where they are.
    Terms(Vec<PodTerm>),
}

impl Group {
    pub fn matches(&self, shape: &Shape) -> bool {
        match self {
            Self::Owner(owner) => shape.owner.as_ref() == Some(owner),
            Self::Selected(namespace, selector) => {
                shape.namespace == *namespace
                    && selector
                        .as_ref()
                        .is_some_and(|selector| selector.matches(&shape.labels))
            }
            Self::Terms(terms) => terms.iter().all(|term| term.matches(shape)),
        }
    }

    fn visit(&self, shapes: &Shapes, visit: &mut dyn FnMut(&ShapeEntry)) {
        match self {
            Self::Owner(owner) => shapes.owned_by(owner).for_each(visit),
            Self::Selected(namespace, _) => shapes.in_namespace(namespace).for_each(visit),
            Self::Terms(terms) => match terms.first() {
                Some(term) if !term.every_namespace => {
                    term.namespaces
                        .iter()
                        .for_each(|namespace| shapes.in_namespace(namespace).for_each(&mut *visit));
                }
                _ => shapes.all().for_each(visit),
            },
        }
    }
}

impl PodTerm {
    /// Whether a pod of this shape is one that the term speaks of.
    pub fn matches(&self, shape: &Shape) -> bool {
        (self.every_namespace || self.namespaces.binary_search(&shape.namespace).is_ok())
            && self
                .selector
                .as_ref()
                .is_some_and(|selector| selector.matches(&shape.labels))
    }
}

#[derive(Debug)]
struct Counter {
    group: Group,
    domains: Domains,
    /// Nodes whose pods count; all where `None`.
    among: Option<Arc<Vec<bool>>>,
    counts: Tally,
    version: u64,
}

/// Which nodes take part in a spread constraint: they carry all keys, and pass the rules that the
/// constraint honours.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part {
    /// The constraints' place in [`crate::filter::Verdicts`].
    pub table: usize,
    pub keys: Vec<Domains>,
    pub honor_affinity: bool,
    pub honor_taints: bool,
}

impl Part {
    fn nodes(&self, constraint: &NodeConstraint, cluster: &Cluster) -> Vec<bool> {
        let labelled = |slot| {
            self.keys
                .iter()
                .all(|key| key.of(slot, &cluster.topologies).is_some())
        };
        let nodes = cluster.nodes.iter().enumerate();
        let takes_part = nodes.map(|(slot, node)| {
            node.live
                && labelled(slot)
                && (!self.honor_affinity || affinity::admits(constraint, node))
                && (!self.honor_taints || taints::untolerated(constraint, node).is_none())
        });
        takes_part.collect()
    }
}

/// All counters of one batch.
#[derive(Debug, Default)]
pub struct Counters {
    counters: Vec<Counter>,
    known: TextMap<(Group, Domains, Option<Part>), usize>,
    parts: TextMap<Part, Arc<Vec<bool>>>,
    eligible: TextMap<(Domains, Part), Arc<Vec<usize>>>,
    by_owner: TextMap<String, Vec<usize>>,
    by_namespace: TextMap<String, Vec<usize>>,
    /// Counters of terms, which can speak of any namespace.
    of_terms: Vec<usize>,
}

impl Counters {
    /// The counter of a group over domains, made at need. Costs the shapes that the group could match, and
    /// their pods' nodes.
    pub fn index(&mut self, group: Group, domains: Domains, cluster: &Cluster) -> usize {
        self.find((group, domains, None), None, cluster)
    }

    /// The counter of a group on nodes that take part in a constraint, and the domains of those, each
    /// once. Costs all nodes, once for equal parts.
    pub fn index_part(
        &mut self,
        group: Group,
        domains: Domains,
        part: Part,
        constraint: &NodeConstraint,
        cluster: &Cluster,
    ) -> (usize, Arc<Vec<usize>>) {
        let among = self
            .parts
            .entry(part.clone())
            .or_insert_with(|| Arc::new(part.nodes(constraint, cluster)));
        let among = Arc::clone(among);
        let eligible = self
            .eligible
            .entry((domains, part.clone()))
            .or_insert_with(|| {
                let slots = among.iter().enumerate().filter(|(_, taken)| **taken);
                let found: BTreeSet<_> = slots
                    .filter_map(|(slot, _)| domains.of(slot, &cluster.topologies))
                    .collect();
                Arc::new(found.into_iter().collect())
            });
        let eligible = Arc::clone(eligible);
        (
            self.find((group, domains, Some(part)), Some(among), cluster),
            eligible,
        )
    }

    fn find(
        &mut self,
        key: (Group, Domains, Option<Part>),
        among: Option<Arc<Vec<bool>>>,
        cluster: &Cluster,
    ) -> usize {
        if let Some(at) = self.known.get(&key) {
            return *at;
        }
        let at = self.add(key.0.clone(), key.1, among, cluster);
        self.known.insert(key, at);
        at
    }

    fn add(
        &mut self,
        group: Group,
        domains: Domains,
        among: Option<Arc<Vec<bool>>>,
        cluster: &Cluster,
    ) -> usize {
        let mut counts = Tally::default();
        let ending = matches!(group, Group::Terms(_));
        group.visit(&cluster.shapes, &mut |entry| {
            if !group.matches(&entry.shape) {
                return;
            }
            for (slot, count) in entry.on.iter() {
                let count = if ending {
                    count
                } else {
                    count - entry.ending.get(slot)
                };
                let taken =
                    cluster.nodes[slot].live && among.as_ref().is_none_or(|among| among[slot]);
                if let Some(domain) = domains
                    .of(slot, &cluster.topologies)
                    .filter(|_| taken && count > 0)
                {
                    counts.add(domain, count);
                }
            }
        });
        let at = self.counters.len();
        match &group {
            Group::Owner(owner) => self.by_owner.entry(owner.clone()).or_default().push(at),
            Group::Selected(namespace, _) => self
                .by_namespace
                .entry(namespace.clone())
                .or_default()
                .push(at),
            Group::Terms(_) => self.of_terms.push(at),
        }
        self.counters.push(Counter {
            group,
            domains,
            among,
            counts,
            version: 0,
        });
        at
    }

    /// The counters that count pods of this shape. Costs the counters of its owner and its namespace, and
    /// those of terms.
    pub fn matching(&self, shape: &Shape) -> Vec<usize> {
        let owner = shape
            .owner
            .as_ref()
            .and_then(|owner| self.by_owner.get(owner));
        let namespace = self.by_namespace.get(&shape.namespace);
        let near = owner
            .into_iter()
            .chain(namespace)
            .flatten()
            .chain(&self.of_terms)
            .copied();
        near.filter(|at| self.counters[*at].group.matches(shape))
            .collect()
    }

    /// A pod was placed.
    pub fn placed(&mut self, at: usize, slot: Slot, topologies: &Topologies) {
        let counter = &mut self.counters[at];
        if counter.among.as_ref().is_some_and(|among| !among[slot]) {
            return;
        }
        if let Some(domain) = counter.domains.of(slot, topologies) {
            counter.counts.add(domain, 1);
            counter.version += 1;
        }
    }

    #[inline]
    pub fn count(&self, at: usize, domain: usize) -> u32 {
        self.counters[at].counts.get(domain)
    }

    /// All counts of a counter, by domain.
    pub fn tally(&self, at: usize) -> &Tally {
        &self.counters[at].counts
    }

    pub fn is_empty(&self, at: usize) -> bool {
        self.counters[at].counts.is_empty()
    }

    /// Changes when a count changes.
    pub fn version(&self, at: usize) -> u64 {
        self.counters[at].version
    }
}
