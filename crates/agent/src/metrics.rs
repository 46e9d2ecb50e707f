//! What the agent counts.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::time::Duration;

const PODS: &str = "pontoon_agent_pods_count";
const START_SECONDS: &str = "pontoon_agent_pod_start_seconds";
const RESTARTS: &str = "pontoon_agent_container_restarts_total";
const PROBES: &str = "pontoon_agent_probes_total";
const SESSIONS: &str = "pontoon_agent_sessions_total";
const REPORTS_WAITING: &str = "pontoon_agent_reports_waiting_count";
const EVENTS_DROPPED: &str = "pontoon_agent_events_dropped_total";
const TUNNELS: &str = "pontoon_agent_tunnels_count";
const RULES_SECONDS: &str = "pontoon_agent_service_rules_seconds";
const LOST_SIGNALS: &str = "pontoon_agent_runtime_signals_lost_total";
const LEDGER_FAILURES: &str = "pontoon_agent_ledger_failures_total";
const RENEWAL_FAILURES: &str = "pontoon_agent_certificate_renewal_failures_total";

/// Describes every metric; call it once, when the registry is installed.
pub fn describe() {
    describe_gauge!(PODS, "Pods that this node drives.");
    describe_histogram!(
        START_SECONDS,
        "Time from a pod's assignment to its first Ready, on this node's clock."
    );
    describe_counter!(RESTARTS, "Containers that were started again.");
    describe_counter!(PROBES, "Probes made, by kind and result.");
    describe_counter!(SESSIONS, "Sessions that a server welcomed.");
    describe_gauge!(
        REPORTS_WAITING,
        "Pods whose status no server has committed yet."
    );
    describe_counter!(
        EVENTS_DROPPED,
        "Events given up because too many waited for a server."
    );
    describe_gauge!(TUNNELS, "Logs, execs and port-forwards open.");
    describe_histogram!(
        RULES_SECONDS,
        "Time a change of services took to reach the data plane."
    );
    describe_counter!(
        LOST_SIGNALS,
        "Ends of containers that only a list of the runtime showed."
    );
    describe_counter!(
        LEDGER_FAILURES,
        "Writes of the node's own ledger that failed."
    );
    describe_counter!(
        RENEWAL_FAILURES,
        "Times the node's certificate was due and could not be renewed."
    );
}

pub(crate) fn renewal_failed() {
    counter!(RENEWAL_FAILURES).increment(1);
}

pub(crate) fn pods(count: usize) {
    gauge!(PODS).set(to_f64(count));
}

pub(crate) fn pod_started(took: Duration) {
    histogram!(START_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn container_restarted() {
    counter!(RESTARTS).increment(1);
}

pub(crate) fn probed(kind: &'static str, result: &'static str) {
    counter!(PROBES, "kind" => kind, "result" => result).increment(1);
}

pub(crate) fn session_welcomed() {
    counter!(SESSIONS).increment(1);
}

pub(crate) fn reports_waiting(count: usize) {
    gauge!(REPORTS_WAITING).set(to_f64(count));
}

pub(crate) fn event_dropped() {
    counter!(EVENTS_DROPPED).increment(1);
}

pub(crate) fn tunnels(change: f64) {
    gauge!(TUNNELS).increment(change);
}

pub(crate) fn rules_changed(took: Duration) {
    histogram!(RULES_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn signal_lost() {
    counter!(LOST_SIGNALS).increment(1);
}

pub(crate) fn ledger_failed() {
    counter!(LEDGER_FAILURES).increment(1);
}

fn to_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}
