//! Countable things: cpu, memory, ephemeral storage, pods, extended resources.

use super::{Refusal, Rule, Words};
use crate::ledger::{Ledger, Needs};
use crate::requests::PODS;
use crate::slots::Slot;
use std::borrow::Cow;

/// Names each resource that falls short, as kube-scheduler does.
pub fn refusal(ledger: &Ledger, slot: Slot, needs: &Needs) -> Option<Refusal> {
    let mut words: Vec<_> = ledger.lacking(slot, needs).map(insufficient).collect();
    let words = match words.len() {
        0 => return None,
        1 => Words::One(words.remove(0)),
        _ => Words::Several(words),
    };
    Some(Refusal {
        rule: Rule::Resources,
        words,
    })
}

fn insufficient(resource: &str) -> Cow<'static, str> {
    Cow::Borrowed(match resource {
        PODS => "Too many pods",
        "cpu" => "Insufficient cpu",
        "memory" => "Insufficient memory",
        "ephemeral-storage" => "Insufficient ephemeral-storage",
        other => return Cow::Owned(format!("Insufficient {other}")),
    })
}
