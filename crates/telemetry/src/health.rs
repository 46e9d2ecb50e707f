//! Named health checks, and the texts of `/livez` and `/readyz`.
//!
//! The texts, the meaning of `verbose` and `exclude`, and that a reason is withheld from a
//! caller who may be anyone, are Kubernetes' (`k8s.io/apiserver/pkg/server/healthz`). Reasons
//! are logged instead.

use parking_lot::RwLock;
use std::{fmt::Write as _, sync::Arc};

/// Which question a check answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `/livez`: should this process be restarted?
    Live,
    /// `/readyz`: should it be sent requests?
    Ready,
}

impl Probe {
    /// The name in the path and in the text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "livez",
            Self::Ready => "readyz",
        }
    }
}

type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

#[derive(Clone)]
struct Named {
    name: &'static str,
    live: bool,
    check: Check,
}

/// The checks of this process. A clone shares them.
///
/// A check of liveness is one of readiness too: what should be restarted should not be sent
/// requests.
#[derive(Clone)]
pub struct Health {
    checks: Arc<RwLock<Vec<Named>>>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.checks.read().iter().map(|named| named.name))
            .finish()
    }
}

/// The answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Serve 200 when true, else 500.
    pub healthy: bool,
    /// The body.
    pub text: String,
}

impl Health {
    /// With the one check that Kubernetes has first, `ping`, which always passes.
    #[must_use]
    pub fn with_ping() -> Self {
        let health = Self {
            checks: Arc::default(),
        };
        health.add(Probe::Live, "ping", || Ok(()));
        health
    }

    /// Adds a check. It is called on each request and must not block; an error says why it
    /// failed, for the log. A check added again under its name replaces the earlier one.
    pub fn add(
        &self,
        probe: Probe,
        name: &'static str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        let named = Named {
            name,
            live: probe == Probe::Live,
            check: Arc::new(check),
        };
        let mut checks = self.checks.write();
        match checks.iter_mut().find(|found| found.name == name) {
            Some(found) => *found = named,
            None => checks.push(named),
        }
    }

    /// Adds a check that fails with `why` until the returned [`Switch`] says otherwise.
    pub fn add_switch(&self, probe: Probe, name: &'static str, why: &str) -> Switch {
        let state = Arc::new(RwLock::new(Err(why.to_owned())));
        let read = Arc::clone(&state);
        self.add(probe, name, move || read.read().clone());
        Switch { state }
    }

    /// Answers `/livez` or `/readyz`. Those in `excluded` are listed and do not count.
    #[must_use]
    pub fn report(&self, probe: Probe, excluded: &[&str], verbose: bool) -> Report {
        // Checks run outside the lock: one may add another.
        let checks = self.checks.read().clone();
        let mut lines = String::new();
        let mut healthy = true;
        for Named { name, check, .. } in checks.iter().filter(|named| named.answers(probe)) {
            // Writing to a String cannot fail.
            let _ = if excluded.contains(name) {
                writeln!(lines, "[+]{name} excluded: ok")
            } else if let Err(why) = check() {
                tracing::info!(
                    probe = probe.as_str(),
                    check = name,
                    why,
                    "health check failed"
                );
                healthy = false;
                writeln!(lines, "[-]{name} failed: reason withheld")
            } else {
                writeln!(lines, "[+]{name} ok")
            };
        }
        for unknown in excluded
            .iter()
            .filter(|name| !checks.iter().any(|found| found.name == **name))
        {
            let _ = writeln!(
                lines,
                "warn: some health checks cannot be excluded: no matches for \"{unknown}\""
            );
        }
        let text = match (healthy, verbose) {
            (true, false) => "ok".to_owned(),
            (true, true) => format!("{lines}{} check passed\n", probe.as_str()),
            (false, _) => format!("{lines}{} check failed\n", probe.as_str()),
        };
        Report { healthy, text }
    }

    /// Answers `/livez/NAME` or `/readyz/NAME`; `None` when there is no such check.
    #[must_use]
    pub fn report_one(&self, probe: Probe, name: &str) -> Option<Report> {
        let found = self
            .checks
            .read()
            .iter()
            .find(|named| named.name == name && named.answers(probe))
            .cloned()?;
        Some(match (found.check)() {
            Ok(()) => Report {
                healthy: true,
                text: "ok".to_owned(),
            },
            Err(why) => {
                tracing::info!(
                    probe = probe.as_str(),
                    check = name,
                    why,
                    "health check failed"
                );
                Report {
                    healthy: false,
                    text: "internal server error: reason withheld\n".to_owned(),
                }
            }
        })
    }
}

impl Named {
    const fn answers(&self, probe: Probe) -> bool {
        self.live || matches!(probe, Probe::Ready)
    }
}

/// Turns one check on and off, from the component that knows.
#[derive(Debug, Clone)]
pub struct Switch {
    state: Arc<RwLock<Result<(), String>>>,
}

impl Switch {
    /// The check passes from here on.
    pub fn pass(&self) {
        *self.state.write() = Ok(());
    }

    /// The check fails from here on.
    pub fn fail(&self, why: &str) {
        *self.state.write() = Err(why.to_owned());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_healthy_process_answers_ok_and_verbosely_lists_its_checks() {
        let health = Health::with_ping();
        health
            .add_switch(Probe::Ready, "leader", "no leader yet")
            .pass();
        assert_eq!(health.report(Probe::Ready, &[], false).text, "ok");
        let verbose = health.report(Probe::Ready, &[], true);
        assert!(verbose.healthy);
        assert_eq!(
            verbose.text,
            "[+]ping ok\n[+]leader ok\nreadyz check passed\n"
        );
    }

    #[test]
    fn a_failed_check_is_named_and_its_reason_withheld() {
        let health = Health::with_ping();
        let leader = health.add_switch(Probe::Ready, "leader", "no leader yet");
        let report = health.report(Probe::Ready, &[], false);
        assert!(!report.healthy);
        assert_eq!(
            report.text,
            "[+]ping ok\n[-]leader failed: reason withheld\nreadyz check failed\n"
        );
        assert!(
            health.report(Probe::Live, &[], false).healthy,
            "readiness is not liveness"
        );
        leader.pass();
        assert!(health.report(Probe::Ready, &[], false).healthy);
        leader.fail("deposed");
        assert!(!health.report(Probe::Ready, &[], false).healthy);
    }

    #[test]
    fn a_process_that_should_be_restarted_is_not_ready_either() {
        let health = Health::with_ping();
        health.add(Probe::Live, "disk", || Err("fsync failed".to_owned()));
        assert!(!health.report(Probe::Live, &[], false).healthy);
        assert!(!health.report(Probe::Ready, &[], false).healthy);
    }

    #[test]
    fn an_excluded_check_does_not_count_and_an_unknown_one_is_warned_about() {
        let health = Health::with_ping();
        health.add(Probe::Ready, "leader", || Err("none".to_owned()));
        let report = health.report(Probe::Ready, &["leader", "moon"], true);
        assert!(report.healthy);
        assert_eq!(
            report.text,
            "[+]ping ok\n[+]leader excluded: ok\nwarn: some health checks cannot be excluded: no matches for \"moon\"\n\
             readyz check passed\n"
        );
    }

    #[test]
    fn one_check_can_be_asked_for_by_name() {
        let health = Health::with_ping();
        health.add(Probe::Ready, "leader", || Err("none".to_owned()));
        assert_eq!(health.report_one(Probe::Live, "ping").unwrap().text, "ok");
        assert!(!health.report_one(Probe::Ready, "leader").unwrap().healthy);
        assert_eq!(health.report_one(Probe::Live, "leader"), None);
    }
}
