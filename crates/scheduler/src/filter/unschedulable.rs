//! Cordoned nodes: `spec.unschedulable` counts as a taint that a pod may tolerate.

use super::{Refusal, Rule};
use crate::cluster::NodeEntry;
use crate::shape::{NodeConstraint, Taint};

const KEY: &str = "node.kubernetes.io/unschedulable";

pub fn admits(constraint: &NodeConstraint, node: &NodeEntry) -> bool {
    !node.description.unschedulable || constraint.tolerates(&Taint::implied(KEY))
}

pub fn refusal(constraint: &NodeConstraint, node: &NodeEntry) -> Option<Refusal> {
    (!admits(constraint, node))
        .then(|| Refusal::new(Rule::Unschedulable, "node(s) were unschedulable"))
}
