//! Least allocated and balanced allocation (`noderesources/least_allocated.go`,
//! `balanced_allocation.go`), over cpu and memory.

use super::BEST;
use crate::ledger::{Ledger, Needs};
use crate::slots::Slot;

/// The sum of both rules, of weight 1 each.
#[inline]
pub fn score(ledger: &Ledger, slot: Slot, needs: &Needs) -> i64 {
    let cpu = ledger.cpu.used_after(slot, needs.scored_cpu);
    let memory = ledger.memory.used_after(slot, needs.scored_memory);
    let (Some(cpu), Some(memory)) = (cpu, memory) else {
        // A resource that the node does not report is no reason for or against it.
        let known = cpu.or(memory).unwrap_or(FULL);
        return (FULL - known) / PERCENT;
    };
    let least = (FULL - cpu + FULL - memory) / 2 / PERCENT;
    if !needs.weighs {
        return least;
    }
    // The standard deviation of two fractions is half their distance.
    least + BEST - (cpu - memory).abs() / 2 / PERCENT
}

/// A whole node, in ten-thousandths.
const FULL: i64 = 10_000;
/// A percent of it.
const PERCENT: i64 = FULL / BEST;
