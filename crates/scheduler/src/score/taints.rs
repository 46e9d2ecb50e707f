//! Taints of effect PreferNoSchedule: fewer untolerated ones are better.

use crate::cluster::NodeEntry;
use crate::shape::NodeConstraint;

pub fn raw(constraint: &NodeConstraint, node: &NodeEntry) -> i64 {
    let untolerated = node
        .description
        .avoided
        .iter()
        .filter(|taint| !constraint.tolerates(taint));
    i64::try_from(untolerated.count()).unwrap_or(i64::MAX)
}
