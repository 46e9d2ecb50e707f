//! How good a node is for a pod: kube-scheduler's default scores and weights, in integers.
//!
//! Each rule gives a node 0 to [`BEST`]; rules that compare nodes are normalised over the nodes
//! that are scored together. A rule that says the same of every node is left out.

pub mod affinity;
pub mod pod_affinity;
pub mod resources;
pub mod spread;
pub mod taints;

/// The best score that one rule gives.
pub const BEST: i64 = 100;

/// Weights of kube-scheduler's default plug-ins. Least allocated and balanced allocation weigh 1.
const TAINTS: i64 = 3;
const AFFINITY: i64 = 2;
const SPREAD: i64 = 2;
const POD_AFFINITY: i64 = 2;

use crate::cluster::Cluster;
use crate::place::class::Class;
use crate::place::counters::Counters;
use crate::slots::Slot;

/// Scratch room, kept from pod to pod.
#[derive(Debug, Clone, Default)]
pub struct Scores {
    total: Vec<i64>,
    raw: Vec<i64>,
    spread: spread::Scratch,
}

impl Scores {
    /// The best of `candidates`, the first of equals.
    pub fn best(
        &mut self,
        cluster: &Cluster,
        class: &Class,
        counters: &Counters,
        candidates: &[Slot],
    ) -> Option<Slot> {
        if candidates.len() < 2 {
            return candidates.first().copied();
        }
        self.total.clear();
        self.total.extend(
            candidates
                .iter()
                .map(|slot| resources::score(&cluster.ledger, *slot, &class.needs)),
        );
        let shape = &class.shape;
        if cluster.avoided > 0 {
            self.compare(candidates, TAINTS, |slot| {
                -taints::raw(&shape.constraint, &cluster.nodes[slot])
            });
        }
        if !shape.preferred.is_empty() {
            self.compare(candidates, AFFINITY, |slot| {
                affinity::raw(&shape.preferred, &cluster.nodes[slot])
            });
        }
        if !class.soft.is_empty() {
            self.spread.add(
                &mut self.total,
                cluster,
                class,
                counters,
                candidates,
                SPREAD,
            );
        }
        if !class.preferred_pods.is_empty() {
            let topologies = &cluster.topologies;
            let raw = |slot| pod_affinity::raw(&class.preferred_pods, slot, topologies, counters);
            self.compare(candidates, POD_AFFINITY, raw);
        }
        let mut best = 0;
        for (at, total) in self.total.iter().enumerate() {
            if *total > self.total[best] {
                best = at;
            }
        }
        Some(candidates[best])
    }

    /// Adds a rule whose raw numbers are stretched over the whole range.
    fn compare(&mut self, candidates: &[Slot], weight: i64, raw: impl Fn(Slot) -> i64) {
        self.raw.clear();
        self.raw.extend(candidates.iter().map(|slot| raw(*slot)));
        let least = self.raw.iter().copied().min().unwrap_or(0);
        let most = self.raw.iter().copied().max().unwrap_or(0);
        if least == most {
            return;
        }
        for (total, raw) in self.total.iter_mut().zip(&self.raw) {
            *total += weight * BEST * (raw - least) / (most - least);
        }
    }
}
