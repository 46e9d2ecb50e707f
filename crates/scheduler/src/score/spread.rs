//! Spreading: topology spread constraints with `ScheduleAnyway`, and for pods without any the
//! system's own over hosts and zones (`podtopologyspread/scoring.go`).

use super::BEST;
use crate::cluster::{Cluster, Topology};
use crate::place::class::Class;
use crate::place::counters::{Counters, Domains};
use crate::slots::{Slot, Tally};

/// Stands for a node that lacks a topology label: such nodes score nothing.
const UNLABELLED: i64 = i64::MIN;

/// A constraint, ready to be asked for one node after another.
#[derive(Debug)]
pub struct SoftSpread {
    pub counter: usize,
    pub domains: Domains,
    pub max_skew: i64,
    /// A node without the label is scored by the other constraints: so for the system's own.
    pub lenient: bool,
    /// What a pod in the domain weighs, in thousandths: `ln(domains + 2)`, so that many small domains
    /// count as much as few large ones.
    pub weight: i64,
}

/// Scratch room, kept from pod to pod.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    raw: Vec<i64>,
    /// Pods per domain of one key.
    pods: Vec<u32>,
    /// Where a slot stands among the candidates; right only where the candidate there is that slot.
    position: Vec<usize>,
}

impl Scratch {
    /// Adds the scores of all soft constraints together: fewer pods are better.
    pub fn add(
        &mut self,
        total: &mut [i64],
        cluster: &Cluster,
        class: &Class,
        counters: &Counters,
        candidates: &[Slot],
        weight: i64,
    ) {
        let base: i64 = class.soft.iter().map(|one| (one.max_skew - 1) * 1000).sum();
        self.raw.clear();
        self.raw.resize(candidates.len(), base);
        for soft in &class.soft {
            let tally = counters.tally(soft.counter);
            match soft.domains {
                Domains::Hosts if tally.len() < candidates.len() => {
                    self.position.resize(cluster.nodes.len(), 0);
                    self.scatter(soft.weight, tally, candidates);
                }
                Domains::Hosts => {
                    for (raw, slot) in self.raw.iter_mut().zip(candidates) {
                        *raw += i64::from(tally.get(*slot)) * soft.weight;
                    }
                }
                Domains::Key(at) => {
                    self.gather(soft, tally, cluster.topologies.get(at), candidates)
                }
            }
        }
        self.normalise(total, weight);
    }

    /// Looks for the hosts that have pods among the candidates, where those are fewer.
    fn scatter(&mut self, weight: i64, tally: &Tally, candidates: &[Slot]) {
        if tally.is_empty() {
            return;
        }
        for (at, slot) in candidates.iter().enumerate() {
            self.position[*slot] = at;
        }
        for (slot, count) in tally.iter() {
            let at = self.position[slot];
            if candidates.get(at) == Some(&slot) {
                self.raw[at] += i64::from(count) * weight;
            }
        }
    }

    fn gather(
        &mut self,
        soft: &SoftSpread,
        tally: &Tally,
        topology: &Topology,
        candidates: &[Slot],
    ) {
        self.pods.clear();
        self.pods.resize(topology.numbered(), 0);
        for (domain, count) in tally.iter() {
            self.pods[domain] = count;
        }
        for (raw, slot) in self.raw.iter_mut().zip(candidates) {
            match topology.domain(*slot) {
                Some(domain) if *raw != UNLABELLED => {
                    *raw += i64::from(self.pods[domain]) * soft.weight
                }
                None if !soft.lenient => *raw = UNLABELLED,
                _ => {}
            }
        }
    }

    fn normalise(&self, total: &mut [i64], weight: i64) {
        let counted = self.raw.iter().copied().filter(|one| *one != UNLABELLED);
        let least = counted.clone().min().unwrap_or(0);
        let most = counted.max().unwrap_or(0);
        // `BEST / most`, scaled up: one division for all nodes.
        let factor = if most == 0 {
            0
        } else {
            (BEST << FACTOR_BITS) / most
        };
        for (total, raw) in total.iter_mut().zip(&self.raw) {
            if *raw != UNLABELLED {
                let share = ((most + least - raw) * factor) >> FACTOR_BITS;
                *total += weight * if most == 0 { BEST } else { share };
            }
        }
    }
}

const FACTOR_BITS: u32 = 32;

/// `ln(domains + 2)` in thousandths.
pub fn weight(domains: usize) -> i64 {
    // ln x = log2 x * ln 2; the fraction of log2 bit by bit (Knuth, TAOCP 1, 1.2.2, exercise 25).
    const FRACTION_BITS: u32 = 16;
    const LN_2_MILLIONTHS: u64 = 693_147;
    let x = domains as u64 + 2;
    let whole = x.ilog2();
    let mut log2 = u64::from(whole) << FRACTION_BITS;
    let mut rest = (u128::from(x) << 32) >> whole;
    for bit in (0..FRACTION_BITS).rev() {
        rest = (rest * rest) >> 32;
        if rest >= 2 << 32 {
            rest >>= 1;
            log2 |= 1 << bit;
        }
    }
    let thousandths = ((log2 * LN_2_MILLIONTHS) >> FRACTION_BITS) / 1000;
    i64::try_from(thousandths).expect("a logarithm is small")
}
