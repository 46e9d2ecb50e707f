//! Topology spread constraints with `DoNotSchedule`.

use super::{Refusal, Rule};
use crate::cluster::Topologies;
use crate::place::counters::{Counters, Domains};
use crate::slots::Slot;
use std::sync::Arc;

/// A constraint, ready to be asked for one node after another.
#[derive(Debug)]
pub struct HardSpread {
    pub counter: usize,
    pub domains: Domains,
    pub max_skew: i64,
    pub min_domains: usize,
    /// Whether the pod counts itself.
    pub counts_itself: bool,
    /// Domains that take part, each once.
    pub eligible: Arc<Vec<usize>>,
    /// The fewest pods in an eligible domain, and at which state of the counter that was so.
    pub fewest: Option<(u64, i64)>,
}

impl HardSpread {
    /// Looks for the fewest again if pods were placed since. Costs the eligible domains.
    pub fn refresh(&mut self, counters: &Counters) {
        let version = counters.version(self.counter);
        if self.fewest.is_some_and(|(seen, _)| seen == version) {
            return;
        }
        let counts = self
            .eligible
            .iter()
            .map(|domain| i64::from(counters.count(self.counter, *domain)));
        let fewest = if self.eligible.len() < self.min_domains {
            0
        } else {
            counts.min().unwrap_or(0)
        };
        self.fewest = Some((version, fewest));
    }

    pub fn admits(&self, slot: Slot, topologies: &Topologies, counters: &Counters) -> bool {
        let Some(domain) = self.domains.of(slot, topologies) else {
            return false;
        };
        let fewest = self.fewest.map_or(0, |(_, fewest)| fewest);
        let here = i64::from(counters.count(self.counter, domain)) + i64::from(self.counts_itself);
        here - fewest <= self.max_skew
    }

    pub fn refusal(
        &self,
        slot: Slot,
        topologies: &Topologies,
        counters: &Counters,
    ) -> Option<Refusal> {
        let words = "node(s) didn't match pod topology spread constraints";
        if self.domains.of(slot, topologies).is_none() {
            return Some(Refusal::new(
                Rule::Spread,
                format!("{words} (missing required label)"),
            ));
        }
        (!self.admits(slot, topologies, counters)).then(|| Refusal::new(Rule::Spread, words))
    }
}
