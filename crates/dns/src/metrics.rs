//! What the name server measures.

use std::time::Duration;

/// Answers, by where they came from (`zone`, `upstream`, `search`, `refused`).
pub const ANSWERS_TOTAL: &str = "pontoon_dns_answers_total";
/// How long upstream servers took, in seconds.
pub const UPSTREAM_SECONDS: &str = "pontoon_dns_upstream_seconds";
/// Upstream questions that failed, by cause (`none`, `busy`, `timeout`, `network`).
pub const UPSTREAM_FAILURES_TOTAL: &str = "pontoon_dns_upstream_failures_total";

pub(crate) fn answered(from: &'static str) {
    metrics::counter!(ANSWERS_TOTAL, "from" => from).increment(1);
}

pub(crate) fn upstream(took: Duration) {
    metrics::histogram!(UPSTREAM_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn upstream_failed(cause: &'static str) {
    metrics::counter!(UPSTREAM_FAILURES_TOTAL, "cause" => cause).increment(1);
}
