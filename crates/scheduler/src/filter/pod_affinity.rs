//! Required pod affinity and anti-affinity: the pod's own terms, and the anti-affinity of pods
//! that are there.

use super::{Refusal, Rule};
use crate::cluster::Topologies;
use crate::place::counters::{Counters, Domains};
use crate::slots::{Slot, Tally};

/// One class's terms, ready to be asked for one node after another.
#[derive(Debug, Default)]
pub struct PodRules {
    /// Counters of pods that match all affinity terms, one for each term's topology.
    pub towards: Vec<(usize, Domains)>,
    /// Whether the pod matches its own affinity terms: then the first of its kind goes anywhere.
    pub matches_itself: bool,
    /// Counters of pods to keep away from.
    pub away: Vec<(usize, Domains)>,
    /// Domains in which pods are that keep this one away.
    pub repelled: Vec<(Domains, Tally)>,
}

impl PodRules {
    pub fn is_empty(&self) -> bool {
        self.towards.is_empty() && self.away.is_empty() && self.repelled.is_empty()
    }

    pub fn refusal(
        &self,
        slot: Slot,
        topologies: &Topologies,
        counters: &Counters,
    ) -> Option<Refusal> {
        let words = if !self.joins(slot, topologies, counters) {
            "node(s) didn't match pod affinity rules"
        } else if self.collides(slot, topologies, counters) {
            "node(s) didn't match pod anti-affinity rules"
        } else if self.is_repelled(slot, topologies) {
            "node(s) didn't satisfy existing pods anti-affinity rules"
        } else {
            return None;
        };
        Some(Refusal::new(Rule::PodAffinity, words))
    }

    pub fn admits(&self, slot: Slot, topologies: &Topologies, counters: &Counters) -> bool {
        self.joins(slot, topologies, counters)
            && !self.collides(slot, topologies, counters)
            && !self.is_repelled(slot, topologies)
    }

    fn joins(&self, slot: Slot, topologies: &Topologies, counters: &Counters) -> bool {
        let mut labelled = true;
        let mut joined = true;
        for (counter, domains) in &self.towards {
            let domain = domains.of(slot, topologies);
            labelled &= domain.is_some();
            joined &= domain.is_some_and(|domain| counters.count(*counter, domain) > 0);
        }
        let first = self.matches_itself
            && self
                .towards
                .iter()
                .all(|(counter, _)| counters.is_empty(*counter));
        joined || (labelled && first)
    }

    fn collides(&self, slot: Slot, topologies: &Topologies, counters: &Counters) -> bool {
        self.away.iter().any(|(counter, domains)| {
            domains
                .of(slot, topologies)
                .is_some_and(|domain| counters.count(*counter, domain) > 0)
        })
    }

    fn is_repelled(&self, slot: Slot, topologies: &Topologies) -> bool {
        self.repelled.iter().any(|(domains, blocked)| {
            domains
                .of(slot, topologies)
                .is_some_and(|domain| blocked.get(domain) > 0)
        })
    }
}
