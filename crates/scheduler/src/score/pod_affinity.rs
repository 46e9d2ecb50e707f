//! Preferred pod affinity and anti-affinity: the pod's own terms, weighted by the pods they match.
//!
//! kube-scheduler also weighs the preferences of pods that are there already; those are left out.

use crate::cluster::Topologies;
use crate::place::class::PodPreference;
use crate::place::counters::Counters;
use crate::slots::Slot;

pub fn raw(
    preferences: &[PodPreference],
    slot: Slot,
    topologies: &Topologies,
    counters: &Counters,
) -> i64 {
    let count = |one: &PodPreference| {
        one.domains
            .of(slot, topologies)
            .map_or(0, |domain| i64::from(counters.count(one.counter, domain)))
    };
    preferences.iter().map(|one| one.weight * count(one)).sum()
}
