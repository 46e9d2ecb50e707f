//! The rules that a node must pass, in kube-scheduler's order.
//!
//! Rules about the node's description come first; their joint verdict per set of constraints and
//! node is remembered until the node changes. Rules about what runs there are asked each time.

pub mod affinity;
pub mod pod_affinity;
pub mod ports;
pub mod resources;
pub mod runtime;
pub mod spread;
pub mod taints;
pub mod unschedulable;

use crate::cluster::NodeEntry;
use crate::limits::MAX_REMEMBERED_CONSTRAINTS;
use crate::shape::NodeConstraint;
use crate::slots::{Slot, TextMap};
use crate::wake::Wake;
use std::borrow::Cow;
use std::sync::Arc;

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// `spec.unschedulable` of the node.
    Unschedulable,
    /// Taints, and conditions that stand for them.
    Taints,
    /// Node selector and required node affinity.
    Affinity,
    /// The handler of the pod's RuntimeClass.
    Runtime,
    /// Ports on the node.
    Ports,
    /// Cpu, memory, pods and all other countable things.
    Resources,
    /// Topology spread constraints with DoNotSchedule.
    Spread,
    /// Required pod affinity and anti-affinity, the pod's own and that of others.
    PodAffinity,
}

impl Rule {
    /// The name of kube-scheduler's plug-in for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unschedulable => "NodeUnschedulable",
            Self::Taints => "TaintToleration",
            Self::Affinity => "NodeAffinity",
            Self::Runtime => "RuntimeHandler",
            Self::Ports => "NodePorts",
            Self::Resources => "NodeResourcesFit",
            Self::Spread => "PodTopologySpread",
            Self::PodAffinity => "InterPodAffinity",
        }
    }

    /// The events that can turn this rule's refusal of a node.
    #[must_use]
    pub fn wake(self) -> Wake {
        let pods = Wake::POD_ADDED
            | Wake::POD_REMOVED
            | Wake::NODE_LABELS
            | Wake::NODE_TAINTS
            | Wake::NODE_REMOVED;
        Wake::NODE_ADDED
            | match self {
                Self::Unschedulable | Self::Taints => Wake::NODE_TAINTS,
                Self::Affinity => Wake::NODE_LABELS,
                Self::Runtime => Wake::NODE_RUNTIMES | Wake::RUNTIME_CLASS,
                Self::Ports => Wake::POD_REMOVED,
                Self::Resources => Wake::POD_REMOVED | Wake::NODE_RESOURCES,
                Self::Spread | Self::PodAffinity => pods,
            }
    }
}

/// A refusal in words.
pub struct Refusal {
    pub rule: Rule,
    pub words: Words,
}

/// What a rule has against a node: mostly one fixed sentence.
pub enum Words {
    One(Cow<'static, str>),
    Several(Vec<Cow<'static, str>>),
}

impl Words {
    pub fn as_slice(&self) -> &[Cow<'static, str>] {
        match self {
            Self::One(words) => std::slice::from_ref(words),
            Self::Several(all) => all,
        }
    }
}

impl Refusal {
    pub fn new(rule: Rule, words: impl Into<Cow<'static, str>>) -> Self {
        Self {
            rule,
            words: Words::One(words.into()),
        }
    }
}

/// The first rule about a node's description that refuses it.
pub fn refusal_of_node(constraint: &NodeConstraint, node: &NodeEntry) -> Option<Refusal> {
    unschedulable::refusal(constraint, node)
        .or_else(|| taints::refusal(constraint, node))
        .or_else(|| affinity::refusal(constraint, node))
        .or_else(|| runtime::refusal(constraint, node))
}

fn admits(constraint: &NodeConstraint, node: &NodeEntry) -> bool {
    node.live
        && unschedulable::admits(constraint, node)
        && taints::untolerated(constraint, node).is_none()
        && affinity::admits(constraint, node)
        && runtime::admits(constraint, node)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Unknown,
    Admitted,
    Refused,
}

/// Remembered verdicts of the rules about a node's description.
#[derive(Debug, Clone, Default)]
pub struct Verdicts {
    slots: usize,
    tables: Vec<Vec<Verdict>>,
    by_constraint: TextMap<Arc<NodeConstraint>, usize>,
}

impl Verdicts {
    pub fn add_slot(&mut self) {
        self.slots += 1;
        for table in &mut self.tables {
            table.push(Verdict::Unknown);
        }
    }

    /// A node changed.
    pub fn forget(&mut self, slot: Slot) {
        for table in &mut self.tables {
            table[slot] = Verdict::Unknown;
        }
    }

    /// Drops everything if there is too much. Not while tables are in use.
    pub fn trim(&mut self) {
        if self.tables.len() > MAX_REMEMBERED_CONSTRAINTS {
            self.tables.clear();
            self.by_constraint.clear();
        }
    }

    /// The table of a set of constraints.
    pub fn table(&mut self, constraint: &Arc<NodeConstraint>) -> usize {
        if let Some(table) = self.by_constraint.get(constraint) {
            return *table;
        }
        self.tables.push(vec![Verdict::Unknown; self.slots]);
        self.by_constraint
            .insert(Arc::clone(constraint), self.tables.len() - 1);
        self.tables.len() - 1
    }

    /// Whether the node is live and passes.
    #[inline]
    pub fn admits(
        &mut self,
        table: usize,
        constraint: &NodeConstraint,
        slot: Slot,
        nodes: &[NodeEntry],
    ) -> bool {
        match self.tables[table][slot] {
            Verdict::Admitted => true,
            Verdict::Refused => false,
            Verdict::Unknown => {
                let admitted = admits(constraint, &nodes[slot]);
                self.tables[table][slot] = if admitted {
                    Verdict::Admitted
                } else {
                    Verdict::Refused
                };
                admitted
            }
        }
    }
}
