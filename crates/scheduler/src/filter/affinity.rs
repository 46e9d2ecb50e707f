//! Node selector and required node affinity.

use super::{Refusal, Rule};
use crate::cluster::NodeEntry;
use crate::shape::NodeConstraint;

pub fn admits(constraint: &NodeConstraint, node: &NodeEntry) -> bool {
    let labels = &node.description.labels;
    constraint.selector.matches(labels)
        && constraint.terms.as_ref().is_none_or(|terms| {
            terms
                .iter()
                .any(|term| term.matches(node.name.as_str(), labels))
        })
}

pub fn refusal(constraint: &NodeConstraint, node: &NodeEntry) -> Option<Refusal> {
    let words = "node(s) didn't match Pod's node affinity/selector";
    (!admits(constraint, node)).then(|| Refusal::new(Rule::Affinity, words))
}
