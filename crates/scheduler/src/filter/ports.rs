//! Host ports: one holder per node, protocol, port and address.

use super::{Refusal, Rule};
use crate::cluster::NodeEntry;
use crate::shape::HostPort;

#[inline]
pub fn admits(ports: &[HostPort], node: &NodeEntry) -> bool {
    ports.is_empty()
        || !node
            .ports
            .iter()
            .any(|held| ports.iter().any(|port| port.conflicts(held)))
}

pub fn refusal(ports: &[HostPort], node: &NodeEntry) -> Option<Refusal> {
    let words = "node(s) didn't have free ports for the requested pod ports";
    (!admits(ports, node)).then(|| Refusal::new(Rule::Ports, words))
}
