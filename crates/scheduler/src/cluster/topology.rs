//! Which nodes share a value of a label: the domains of a topology key.

use super::NodeEntry;
use crate::limits::MAX_TOPOLOGY_KEYS;
use crate::selector::Labels;
use crate::slots::{Slot, TextMap};

/// The domains of one key.
#[derive(Debug, Clone)]
pub struct Topology {
    key: String,
    /// `None` for nodes without the label.
    domain_of: Vec<Option<u32>>,
    numbers: TextMap<String, u32>,
    /// Nodes in each domain.
    nodes_in: Vec<usize>,
    /// Domains with a node.
    populated: usize,
}

impl Topology {
    fn new(key: &str, nodes: &[NodeEntry]) -> Self {
        let mut topology = Self {
            key: key.to_owned(),
            domain_of: vec![None; nodes.len()],
            numbers: TextMap::default(),
            nodes_in: Vec::new(),
            populated: 0,
        };
        for (slot, node) in nodes.iter().enumerate().filter(|(_, node)| node.live) {
            topology.set(slot, Some(&node.description.labels));
        }
        topology
    }

    fn set(&mut self, slot: Slot, labels: Option<&Labels>) {
        if let Some(domain) = self.domain_of[slot].take() {
            let nodes = &mut self.nodes_in[domain as usize];
            *nodes -= 1;
            self.populated -= usize::from(*nodes == 0);
        }
        let Some(value) = labels.and_then(|labels| labels.get(&self.key)) else {
            return;
        };
        let next = u32::try_from(self.nodes_in.len()).expect("fewer domains than 2^32");
        let domain = *self.numbers.entry(value.clone()).or_insert(next);
        if domain == next {
            self.nodes_in.push(0);
        }
        let nodes = &mut self.nodes_in[domain as usize];
        self.populated += usize::from(*nodes == 0);
        *nodes += 1;
        self.domain_of[slot] = Some(domain);
    }

    /// The domain a node is in.
    #[inline]
    pub fn domain(&self, slot: Slot) -> Option<usize> {
        self.domain_of[slot].map(|domain| domain as usize)
    }

    /// How many domains were ever numbered.
    pub fn numbered(&self) -> usize {
        self.nodes_in.len()
    }

    /// How many domains have a node.
    pub fn len(&self) -> usize {
        self.populated
    }
}

/// The keys in use.
#[derive(Debug, Clone, Default)]
pub struct Topologies(Vec<Topology>);

impl Topologies {
    pub fn add_slot(&mut self) {
        for topology in &mut self.0 {
            topology.domain_of.push(None);
        }
    }

    pub fn set_node(&mut self, slot: Slot, labels: Option<&Labels>) {
        for topology in &mut self.0 {
            topology.set(slot, labels);
        }
    }

    /// Drops all keys if there are too many. Not while places in here are held.
    pub fn trim(&mut self) {
        let stale = self
            .0
            .iter()
            .any(|one| one.numbers.len() > 2 * one.domain_of.len() + 16);
        if stale || self.0.len() > MAX_TOPOLOGY_KEYS {
            self.0.clear();
        }
    }

    /// The place of a key, which is indexed if it was not.
    pub fn index(&mut self, key: &str, nodes: &[NodeEntry]) -> usize {
        if let Some(at) = self.0.iter().position(|one| one.key == key) {
            return at;
        }
        self.0.push(Topology::new(key, nodes));
        self.0.len() - 1
    }

    pub fn get(&self, at: usize) -> &Topology {
        &self.0[at]
    }
}
