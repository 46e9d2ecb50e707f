//! Spreading: topology spread constraints with `ScheduleAnyway`, and for pods without any the
//! system's own over hosts and zones (`podtopologyspread/scoring.go`).

use super::BEST;
use crate::cluster::{Cluster, Topologies};
use crate::place::class::Class;
use crate::place::counters::{Counters, Domains};
use crate::slots::Slot;

/// Stands for a node that lacks a topology label: such nodes score nothing.
const UNLABELLED: i64 = -1;

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

impl SoftSpread {
    fn raw(&self, slot: Slot, topologies: &Topologies, counters: &Counters) -> Option<i64> {
        let Some(domain) = self.domains.of(slot, topologies) else {
            return self.lenient.then_some(0);
        };
        let count = i64::from(counters.count(self.counter, domain));
        Some(count * self.weight + (self.max_skew - 1) * 1000)
    }
}

/// Adds the scores of all soft constraints together: fewer pods are better.
pub fn add(
    total: &mut [i64],
    raw: &mut Vec<i64>,
    cluster: &Cluster,
    class: &Class,
    counters: &Counters,
    candidates: &[Slot],
    weight: i64,
) {
    raw.clear();
    raw.extend(candidates.iter().map(|slot| {
        let parts = class
            .soft
            .iter()
            .map(|one| one.raw(*slot, &cluster.topologies, counters));
        parts.sum::<Option<i64>>().unwrap_or(UNLABELLED)
    }));
    let counted = raw.iter().copied().filter(|one| *one != UNLABELLED);
    let least = counted.clone().min().unwrap_or(0);
    let most = counted.max().unwrap_or(0);
    // `BEST / most`, scaled up: one division for all nodes.
    let factor = if most == 0 {
        0
    } else {
        (BEST << FACTOR_BITS) / most
    };
    for (total, raw) in total.iter_mut().zip(raw.iter()) {
        if *raw == UNLABELLED {
            continue;
        }
        let share = ((most + least - raw) * factor) >> FACTOR_BITS;
        *total += weight * if most == 0 { BEST } else { share };
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
