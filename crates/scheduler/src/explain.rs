//! Why a pod waits, in Kubernetes' words.

use crate::filter::{Refusal, Rule};
use crate::wake::Wake;
use std::collections::BTreeMap;

/// Why no node took a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    nodes: usize,
    by_rule: BTreeMap<&'static str, usize>,
    reasons: BTreeMap<String, usize>,
    wake: Wake,
}

impl Explanation {
    pub(crate) fn new() -> Self {
        // Another node can always help.
        Self {
            nodes: 0,
            by_rule: BTreeMap::new(),
            reasons: BTreeMap::new(),
            wake: Wake::NODE_ADDED,
        }
    }

    pub(crate) fn wait_for(&mut self, events: Wake) {
        self.wake |= events;
    }

    pub(crate) fn count(&mut self, refusal: Refusal) {
        self.nodes += 1;
        *self.by_rule.entry(refusal.rule.name()).or_insert(0) += 1;
        self.wake |= Rule::wake(refusal.rule);
        for words in refusal.words.as_slice() {
            if let Some(count) = self.reasons.get_mut(words.as_ref()) {
                *count += 1;
            } else {
                self.reasons.insert(words.clone().into_owned(), 1);
            }
        }
    }

    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// How many nodes each rule was the first to refuse, by the name of kube-scheduler's plug-in.
    /// The counts sum to [`Explanation::nodes`].
    #[must_use]
    pub fn by_rule(&self) -> &BTreeMap<&'static str, usize> {
        &self.by_rule
    }

    /// How many nodes each reason holds for. One node can lack several resources.
    #[must_use]
    pub fn reasons(&self) -> &BTreeMap<String, usize> {
        &self.reasons
    }

    /// The events after which the pod is worth trying again.
    #[must_use]
    pub fn wake(&self) -> Wake {
        self.wake
    }
}

/// The message of a `FailedScheduling` event and of the PodScheduled condition, as
/// kube-scheduler's `FitError` writes it.
impl std::fmt::Display for Explanation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let mut parts: Vec<_> = self
            .reasons
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        parts.sort();
        write!(
            f,
            "0/{} nodes are available: {}.",
            self.nodes,
            parts.join(", ")
        )
    }
}
