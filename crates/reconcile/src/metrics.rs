//! Metrics of the control loop.

use metrics::{counter, gauge, histogram};
use std::time::Duration;

/// A plan was made.
pub(crate) fn planned(controller: &'static str, took: Duration) {
    histogram!("pontoon_reconcile_plan_seconds", "controller" => controller)
        .record(took.as_secs_f64());
}

/// A plan or proposal ended; `result` is `done`, `unchanged`, `conflict`, `fenced`, `failed` or `panicked`.
pub(crate) fn ended(controller: &'static str, result: &'static str) {
    counter!("pontoon_reconcile_keys_total", "controller" => controller, "result" => result)
        .increment(1);
}

/// A full pass found work that no signal had announced.
pub(crate) fn lost_signal(controller: &'static str) {
    counter!("pontoon_reconcile_lost_signals_total", "controller" => controller).increment(1);
}

/// Keys waiting to be planned.
pub(crate) fn waiting(keys: usize) {
    gauge!("pontoon_reconcile_keys_waiting").set(u32::try_from(keys).unwrap_or(u32::MAX));
}

/// An event was dropped because too many were waiting.
pub(crate) fn event_dropped() {
    counter!("pontoon_reconcile_events_dropped_total").increment(1);
}

/// A scheduling round placed and refused so many pods.
pub(crate) fn scheduled(placed: usize, refused: usize, took: Duration) {
    counter!("pontoon_scheduler_pods_total", "result" => "placed").increment(placed as u64);
    counter!("pontoon_scheduler_pods_total", "result" => "unschedulable").increment(refused as u64);
    histogram!("pontoon_scheduler_round_seconds").record(took.as_secs_f64());
}

/// Pods that wait for a node.
pub(crate) fn unscheduled(pods: usize) {
    gauge!("pontoon_scheduler_pods_waiting").set(u32::try_from(pods).unwrap_or(u32::MAX));
}
