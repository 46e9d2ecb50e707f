//! What must hold of a [`Cluster`] at any time: checked by tests, simulation and a debug endpoint.

use crate::cluster::Cluster;
use crate::requests::PODS;
use std::collections::BTreeMap;

/// Adds up every pod again and compares with what is kept. Costs all pods and nodes.
///
/// # Errors
/// One sentence for each difference.
pub fn check(cluster: &Cluster) -> Result<(), Vec<String>> {
    let mut used: Vec<BTreeMap<&str, i128>> = vec![BTreeMap::new(); cluster.nodes.len()];
    let mut pods = vec![0; cluster.nodes.len()];
    let mut ports = vec![0; cluster.nodes.len()];
    for entry in cluster.pods.values() {
        let shape = &cluster.shapes.get(entry.shape).shape;
        pods[entry.slot] += 1;
        ports[entry.slot] += shape.ports.len();
        for (name, amount) in &shape.requests.amounts.0 {
            *used[entry.slot].entry(name).or_insert(0) += i128::from(*amount);
        }
    }
    let mut wrong = Vec::new();
    for (slot, node) in cluster.nodes.iter().enumerate() {
        for (resource, _, kept) in cluster.ledger.usage(slot) {
            let counted = used[slot].get(resource).copied().unwrap_or(0);
            if kept != counted {
                wrong.push(format!(
                    "node {}: {resource} kept as {kept}, pods use {counted}",
                    node.name
                ));
            }
        }
        if node.pods != pods[slot] || node.ports.len() != ports[slot] {
            wrong.push(format!(
                "node {}: its pods or ports are miscounted",
                node.name
            ));
        }
    }
    let counted: usize = cluster
        .shapes
        .all()
        .flat_map(|entry| entry.on.iter())
        .map(|(_, count)| count as usize)
        .sum();
    if counted != cluster.pods.len() {
        wrong.push(format!(
            "shapes count {counted} pods of {}",
            cluster.pods.len()
        ));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// A resource of which a node's pods are promised more than it has.
///
/// Placement never brings this about. A node that shrinks, or a pod that someone else assigned,
/// can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverCommitment {
    /// The node.
    pub node: String,
    /// The resource.
    pub resource: String,
    /// What the node has.
    pub capacity: i64,
    /// What its pods are promised.
    pub used: i128,
}

/// Every over-commitment, ports held twice (as resource `hostPorts`) included. Costs all nodes.
#[must_use]
pub fn over_commitments(cluster: &Cluster) -> Vec<OverCommitment> {
    let mut found = Vec::new();
    for (slot, node) in cluster
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| node.live)
    {
        let mut add = |resource: &str, capacity, used| {
            let (node, resource) = (node.name.to_string(), resource.to_owned());
            found.push(OverCommitment {
                node,
                resource,
                capacity,
                used,
            });
        };
        for (resource, capacity, used) in cluster.ledger.usage(slot) {
            debug_assert!(
                resource != PODS || used >= 0,
                "pods are not counted below zero"
            );
            if used > i128::from(capacity) {
                add(resource, capacity, used);
            }
        }
        let twice = node
            .ports
            .iter()
            .enumerate()
            .any(|(at, port)| node.ports[..at].iter().any(|one| one.conflicts(port)));
        if twice {
            add("hostPorts", 1, 2);
        }
    }
    found
}
