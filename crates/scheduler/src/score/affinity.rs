//! Preferred node affinity: the sum of the weights of the terms that match.

use crate::cluster::NodeEntry;
use crate::selector::NodeTerm;

pub fn raw(preferred: &[(i64, NodeTerm)], node: &NodeEntry) -> i64 {
    let labels = &node.description.labels;
    let matching = preferred
        .iter()
        .filter(|(_, term)| term.matches(node.name.as_str(), labels));
    matching.map(|(weight, _)| weight).sum()
}
