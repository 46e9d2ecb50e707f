//! How long a container is held back before it runs again.

use crate::limits::{RESTART_BACKOFF_FIRST, RESTART_BACKOFF_MAX, RESTART_BACKOFF_RESET};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use std::time::Duration;

/// Adds without leaving the calendar.
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Time from `earlier` to `at`, zero when the clock was set back.
pub(crate) fn since(at: Timestamp, earlier: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

/// client-go's `flowcontrol.Backoff` for one key: the first restart is immediate, the next waits 10 s after the exit,
/// then twice as long each time up to 5 min, and from the beginning when the container ran for 10 min.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    entry: Option<(Duration, Timestamp)>,
}

impl Backoff {
    /// Until when a container that ended at `exited` is held back, if it is.
    #[must_use]
    pub fn held_until(&self, exited: Timestamp) -> Option<Timestamp> {
        let (wait, updated) = self.entry?;
        if since(exited, updated) > RESTART_BACKOFF_RESET {
            return None;
        }
        Some(later(exited, wait))
    }

    /// How long the present wait is.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.entry.map_or(Duration::ZERO, |(wait, _)| wait)
    }

    /// Notes a restart at `now` of a container that ended at `exited`.
    pub fn restarted(&mut self, exited: Timestamp, now: Timestamp) {
        let wait = match self.entry {
            Some((wait, updated)) if since(exited, updated) <= RESTART_BACKOFF_RESET => {
                (wait * 2).min(RESTART_BACKOFF_MAX)
            }
            _ => RESTART_BACKOFF_FIRST,
        };
        self.entry = Some((wait, now));
    }
}

/// A wait that doubles with each failure in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doubling {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Doubling {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            next: first,
        }
    }

    pub(crate) fn failed(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.max);
        wait
    }

    pub(crate) fn succeeded(&mut self) {
        self.next = self.first;
    }
}

/// A pod's or container's restart policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Whatever the exit code.
    Always,
    /// When it failed.
    OnFailure,
    /// Never.
    Never,
}

impl Policy {
    /// Reads Kubernetes' word; its default is `Always`.
    #[must_use]
    pub fn parse(word: Option<&str>) -> Self {
        match word {
            Some("OnFailure") => Self::OnFailure,
            Some("Never") => Self::Never,
            _ => Self::Always,
        }
    }

    /// Whether a container that ended with this code runs again.
    #[must_use]
    pub fn restarts(self, exit_code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit_code != 0,
            Self::Never => false,
        }
    }
}

/// Whether a regular container that ended with this code runs again: its own rules, then its own policy, then the
/// pod's (KEP-5307).
pub(crate) fn restarts(container: &Container, pod: Policy, exit_code: i32) -> bool {
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else {
            continue;
        };
        let listed = codes
            .values
            .as_ref()
            .is_some_and(|values| values.contains(&exit_code));
        let matches = match codes.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        };
        if matches {
            return rule.action == "Restart";
        }
    }
    match container.restart_policy.as_deref() {
        Some(own) => Policy::parse(Some(own)).restarts(exit_code),
        None => pod.restarts(exit_code),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_first_restart_is_immediate_and_the_next_wait_doubles_to_five_minutes() {
        let mut backoff = Backoff::default();
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let until = backoff.held_until(now).unwrap_or(now);
            waits.push(since(until, now).as_secs());
            backoff.restarted(now, until);
            now = until;
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn ten_minutes_of_running_begin_the_waits_again() {
        let mut backoff = Backoff::default();
        backoff.restarted(at(0), at(0));
        backoff.restarted(at(10), at(20));
        assert_eq!(backoff.held_until(at(620)), Some(at(640)));
        assert_eq!(backoff.held_until(at(621)), None);
        backoff.restarted(at(621), at(621));
        assert_eq!(backoff.wait(), RESTART_BACKOFF_FIRST);
    }
}
