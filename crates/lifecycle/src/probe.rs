//! The worker behind one probe of one running container: when it is due and what its answers add up to.

use crate::input::{ProbeKind, ProbeOutcome};
use crate::restart::later;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Probe;
use std::time::Duration;

/// What a change of a probe's answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It crossed its success threshold.
    Passed,
    /// It crossed its failure threshold.
    Failed,
}

/// One probe of one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Prober {
    pub(crate) kind: ProbeKind,
    pub(crate) grace_seconds: Option<i64>,
    initial_delay: Duration,
    period: Duration,
    timeout: Duration,
    success_threshold: u32,
    failure_threshold: u32,
    /// When it is due; `None` while it is held back, or was answered for good.
    pub(crate) next: Option<Timestamp>,
    pub(crate) in_flight: bool,
    last: Option<bool>,
    run: u32,
    pub(crate) verdict: Option<Verdict>,
}

fn seconds(value: Option<i32>, default: u64, least: u64) -> Duration {
    let value = value.map_or(default, |v| u64::try_from(v).unwrap_or(0));
    Duration::from_secs(value.max(least))
}

fn count(value: Option<i32>, default: u32) -> u32 {
    value
        .and_then(|v| u32::try_from(v).ok())
        .filter(|v| *v > 0)
        .unwrap_or(default)
}

impl Prober {
    /// A probe with Kubernetes' defaults where the spec is silent; not due until [`Prober::begin`].
    pub(crate) fn new(kind: ProbeKind, spec: &Probe) -> Self {
        Self {
            kind,
            grace_seconds: spec.termination_grace_period_seconds,
            initial_delay: seconds(spec.initial_delay_seconds, 0, 0),
            period: seconds(spec.period_seconds, 10, 1),
            timeout: seconds(spec.timeout_seconds, 1, 1),
            success_threshold: count(spec.success_threshold, 1),
            failure_threshold: count(spec.failure_threshold, 3),
            next: None,
            in_flight: false,
            last: None,
            run: 0,
            verdict: None,
        }
    }

    /// Lets it run: first when the container has run for the initial delay.
    pub(crate) fn begin(&mut self, started_at: Timestamp, now: Timestamp) {
        if self.next.is_none() && !self.in_flight {
            self.next = Some(later(started_at, self.initial_delay).max(now));
        }
    }

    /// Takes it as due: returns the timeout to run it with.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<Duration> {
        if self.in_flight || self.next.is_none_or(|next| next > now) {
            return None;
        }
        self.in_flight = true;
        self.next = Some(later(now, self.period));
        Some(self.timeout)
    }

    /// When it is due, unless it is under way.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        if self.in_flight { None } else { self.next }
    }

    /// Counts an answer; a verdict is returned each time a threshold is met.
    pub(crate) fn answered(&mut self, outcome: &ProbeOutcome) -> Option<Verdict> {
        self.in_flight = false;
        let success = match outcome {
            ProbeOutcome::Success => true,
            ProbeOutcome::Failure(_) => false,
            ProbeOutcome::Unknown(_) => return None,
        };
        if self.last == Some(success) {
            self.run = self.run.saturating_add(1);
        } else {
            self.last = Some(success);
            self.run = 1;
        }
        let (threshold, verdict) = if success {
            (self.success_threshold, Verdict::Passed)
        } else {
            (self.failure_threshold, Verdict::Failed)
        };
        if self.run < threshold {
            return None;
        }
        self.verdict = Some(verdict);
        if self.kind == ProbeKind::Startup && success {
            self.next = None;
        }
        Some(verdict)
    }

    /// Treats it as passed, for a container that was ready before the agent restarted.
    pub(crate) fn assume_passed(&mut self) {
        self.verdict = Some(Verdict::Passed);
    }

    pub(crate) fn passed(&self) -> bool {
        self.verdict == Some(Verdict::Passed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn prober(kind: ProbeKind, spec: serde_json::Value) -> Prober {
        Prober::new(kind, &serde_json::from_value(spec).unwrap())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_first_probe_waits_for_the_initial_delay_and_the_next_for_the_period() {
        let mut probe = prober(
            ProbeKind::Liveness,
            serde_json::json!({"initialDelaySeconds": 5, "periodSeconds": 3, "timeoutSeconds": 2}),
        );
        probe.begin(at(0), at(1));
        assert_eq!(probe.due(), Some(at(5)));
        assert_eq!(probe.take_due(at(4)), None);
        assert_eq!(probe.take_due(at(5)), Some(Duration::from_secs(2)));
        assert_eq!(probe.due(), None);
        probe.answered(&ProbeOutcome::Success);
        assert_eq!(probe.due(), Some(at(8)));
    }

    #[test]
    fn failures_have_to_follow_each_other() {
        let mut probe = prober(
            ProbeKind::Liveness,
            serde_json::json!({"failureThreshold": 2}),
        );
        let failure = ProbeOutcome::Failure(String::new());
        assert_eq!(probe.answered(&failure), None);
        assert_eq!(
            probe.answered(&ProbeOutcome::Success),
            Some(Verdict::Passed)
        );
        assert_eq!(probe.answered(&failure), None);
        assert_eq!(probe.answered(&ProbeOutcome::Unknown(String::new())), None);
        assert_eq!(probe.answered(&failure), Some(Verdict::Failed));
    }
}
