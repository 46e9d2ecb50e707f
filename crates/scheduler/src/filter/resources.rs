//! Countable things: cpu, memory, ephemeral storage, pods, extended resources.

use super::{Refusal, Rule};
use crate::ledger::{Ledger, Needs};
use crate::requests::PODS;
use crate::slots::Slot;

/// Names each resource that falls short, as kube-scheduler does.
pub fn refusal(ledger: &Ledger, slot: Slot, needs: &Needs) -> Option<Refusal> {
    let words: Vec<_> = ledger
        .lacking(slot, needs)
        .map(|name| {
            if name == PODS {
                "Too many pods".to_owned()
            } else {
                format!("Insufficient {name}")
            }
        })
        .collect();
    (!words.is_empty()).then_some(Refusal {
        rule: Rule::Resources,
        words,
    })
}
