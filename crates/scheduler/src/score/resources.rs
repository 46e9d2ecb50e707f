//! Least allocated and balanced allocation (`noderesources/least_allocated.go`,
//! `balanced_allocation.go`), over cpu and memory.

use super::BEST;
use crate::ledger::{Ledger, Needs, WHOLE};
use crate::slots::Slot;

/// A percent of a node.
const PERCENT: i64 = WHOLE / BEST;

/// The sum of both rules, of weight 1 each.
#[inline]
pub fn score(ledger: &Ledger, slot: Slot, needs: &Needs) -> i64 {
    let (cpu, memory) = match ledger.used_after(slot, needs) {
        [Some(cpu), Some(memory)] => (cpu, memory),
        // A resource that the node does not report is no reason for or against it.
        [cpu, memory] => return (WHOLE - cpu.or(memory).unwrap_or(WHOLE)) / PERCENT,
    };
    let least = (WHOLE - cpu + WHOLE - memory) / 2 / PERCENT;
    if !needs.weighs {
        return least;
    }
    // The standard deviation of two fractions is half their distance.
    least + BEST - (cpu - memory).abs() / 2 / PERCENT
}
