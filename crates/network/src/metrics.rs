//! What the data plane measures.

use std::time::Duration;

/// How long it took to give a pod its namespace and address, in seconds.
pub const ATTACH_SECONDS: &str = "pontoon_network_attach_seconds";
/// How long one transaction of rules took, in seconds.
pub const RULES_SECONDS: &str = "pontoon_network_rules_seconds";
/// Attached pods.
pub const PODS_COUNT: &str = "pontoon_network_pods_count";
/// Services with rules.
pub const SERVICES_COUNT: &str = "pontoon_network_services_count";

pub(crate) fn attached(took: Duration, pods: usize) {
    metrics::histogram!(ATTACH_SECONDS).record(took.as_secs_f64());
    pods_count(pods);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a node holds fewer than 2^52 pods"
)]
pub(crate) fn pods_count(pods: usize) {
    metrics::gauge!(PODS_COUNT).set(pods as f64);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a cluster holds fewer than 2^52 services"
)]
pub(crate) fn rules(took: Duration, services: usize) {
    metrics::histogram!(RULES_SECONDS).record(took.as_secs_f64());
    metrics::gauge!(SERVICES_COUNT).set(services as f64);
}
