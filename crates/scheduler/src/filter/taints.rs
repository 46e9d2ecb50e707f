//! Taints of effect NoSchedule and NoExecute, among them those of a node that is not ready.

use super::{Refusal, Rule};
use crate::cluster::NodeEntry;
use crate::shape::{NodeConstraint, Taint};

pub fn untolerated<'a>(constraint: &NodeConstraint, node: &'a NodeEntry) -> Option<&'a Taint> {
    node.description
        .taints
        .iter()
        .find(|taint| !constraint.tolerates(taint))
}

pub fn refusal(constraint: &NodeConstraint, node: &NodeEntry) -> Option<Refusal> {
    let taint = untolerated(constraint, node)?;
    let words = format!(
        "node(s) had untolerated taint {{{}: {}}}",
        taint.key, taint.value
    );
    Some(Refusal::new(Rule::Taints, words))
}
