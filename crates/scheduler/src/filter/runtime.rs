//! Runtime classes: the node must publish the handler.

use super::{Refusal, Rule};
use crate::cluster::NodeEntry;
use crate::shape::{Handler, NodeConstraint};

pub fn admits(constraint: &NodeConstraint, node: &NodeEntry) -> bool {
    match &constraint.handler {
        Handler::Default => true,
        Handler::Named(handler) => node.description.handlers.contains(handler),
        Handler::UnknownClass(_) => false,
    }
}

pub fn refusal(constraint: &NodeConstraint, node: &NodeEntry) -> Option<Refusal> {
    if admits(constraint, node) {
        return None;
    }
    let words = match &constraint.handler {
        Handler::UnknownClass(class) => {
            format!("node(s) were refused because RuntimeClass {class:?} does not exist")
        }
        Handler::Named(handler) => format!("node(s) didn't have the runtime handler {handler:?}"),
        Handler::Default => return None,
    };
    Some(Refusal::new(Rule::Runtime, words))
}
