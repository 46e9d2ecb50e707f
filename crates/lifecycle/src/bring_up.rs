//! What a pod that is to run needs next.

use crate::action::{Action, EventType};
use crate::input::ProbeKind;
use crate::limits::GRACE_MIN;
use crate::machine::{Machine, Provision, Why};
use crate::slot::{Role, Run};
use jiff::Timestamp;

impl Machine {
    /// Asks for everything that is missing and not under way. What does not depend on each other is asked for at once:
    /// sandbox, volumes and images come up side by side.
    pub(crate) fn bring_up(&mut self, now: Timestamp) {
        if self.is_finished() {
            self.begin_end(Why::Finished, self.grace().max(GRACE_MIN), now);
            return;
        }
        self.provide(now);
        self.retry_stops(now);
        self.run_containers(now);
        self.probe(now);
    }

    fn provide(&mut self, now: Timestamp) {
        if matches!(self.sandbox, Provision::Absent(at) if at <= now) {
            self.sandbox = Provision::Pending;
            self.out.push(Action::CreateSandbox {
                attempt: self.sandbox_attempt,
            });
        }
        if matches!(self.volumes, Provision::Absent(at) if at <= now) {
            self.volumes = Provision::Pending;
            self.out.push(Action::PrepareVolumes);
        }
    }

    /// Whether nothing is left to run: an init container failed for good, or every regular container is done.
    fn is_finished(&self) -> bool {
        let over = |slot: &crate::slot::Slot| {
            let spec = self.spec_of(&slot.name);
            match (slot.exit_code(), spec) {
                (Some(code), Some(spec)) => !slot.restarts(spec, self.policy, code),
                (None, _) | (_, None) => false,
            }
        };
        let idle = |slot: &&crate::slot::Slot| slot.run == Run::Idle;
        if !self.initialized {
            let init = self.slots.iter().filter(|slot| slot.role == Role::Init);
            let failed = init
                .filter(idle)
                .any(|slot| slot.ended_here && !slot.succeeded() && over(slot));
            if failed {
                return true;
            }
        }
        let mut mains = self.slots.iter().filter(|slot| slot.role == Role::Main);
        mains.all(|slot| slot.run == Run::Idle && over(slot))
    }

    /// Walks the init containers in order up to the first that is not done, then the regular ones.
    fn run_containers(&mut self, now: Timestamp) {
        let mut through = true;
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            match slot.role {
                Role::Init if self.initialized || slot.done() => continue,
                Role::Init => through = false,
                Role::Sidecar => through = self.initialized || slot.is_started(),
                Role::Main => self.initialized = true,
            }
            self.run_container(index, now);
            if !through {
                return;
            }
        }
    }

    fn run_container(&mut self, index: usize, now: Timestamp) {
        match self.slots[index].run {
            Run::Idle => self.fetch(index, now),
            Run::Fetched if self.has_sandbox() && self.volumes == Provision::Ready => {
                self.start(index, now);
            }
            Run::Fetching | Run::Fetched | Run::Starting { .. } | Run::Running { .. } => {}
        }
    }

    fn fetch(&mut self, index: usize, now: Timestamp) {
        if self.is_held_back(index, now) {
            return;
        }
        let slot = &mut self.slots[index];
        slot.run = Run::Fetching;
        slot.not_before = None;
        slot.pull_turns_at = None;
        self.out.push(Action::EnsureImage {
            container: slot.name.clone(),
        });
    }

    /// Whether a container that ended stays so for now or for good, or one that failed to start waits.
    fn is_held_back(&mut self, index: usize, now: Timestamp) -> bool {
        let name = self.slots[index].name.clone();
        if let Some(code) = self.slots[index].exit_code() {
            let slot = &self.slots[index];
            let again = slot.role == Role::Init && !slot.ended_here;
            let restarts = self
                .spec_of(&name)
                .is_some_and(|spec| slot.restarts(spec, self.policy, code));
            if !again && !restarts {
                return true;
            }
            if slot.ended_here && !slot.must_restart && self.backs_off(index, now) {
                return true;
            }
        }
        self.turn_pull_error(index, now);
        self.slots[index].not_before.is_some_and(|at| at > now)
    }

    fn backs_off(&mut self, index: usize, now: Timestamp) -> bool {
        let slot = &self.slots[index];
        let finished = slot.ended.as_ref().map(|ended| ended.exit.finished_at);
        let held = finished.and_then(|at| slot.backoff.held_until(at));
        let Some(until) = held.filter(|until| *until > now && !slot.backoff_noted) else {
            return false;
        };
        if slot.waits_for("CrashLoopBackOff") {
            return true;
        }
        let (name, wait) = (slot.name.clone(), slot.backoff.wait());
        let pod = self.full_name();
        let message = format!(
            "back-off {} restarting failed container={name} pod={pod}",
            go_duration(wait.as_secs())
        );
        self.slots[index].wait("CrashLoopBackOff", Some(message), until);
        let message = format!("Back-off restarting failed container {name} in pod {pod}");
        self.event(EventType::Warning, "BackOff", message, Some(&name));
        true
    }

    fn turn_pull_error(&mut self, index: usize, now: Timestamp) {
        let slot = &mut self.slots[index];
        if slot.pull_turns_at.is_none_or(|at| at > now) {
            return;
        }
        slot.pull_turns_at = None;
        let name = slot.name.clone();
        let image = self.spec_of(&name).and_then(|spec| spec.image.clone());
        let backing_off = format!("Back-off pulling image \"{}\"", image.unwrap_or_default());
        if let Some(waiting) = &mut self.slots[index].waiting {
            let cause = waiting.message.take().unwrap_or_default();
            waiting.message = Some(format!("{backing_off}: {}: {cause}", waiting.reason));
            waiting.reason = "ImagePullBackOff".to_owned();
        }
        self.event(EventType::Normal, "BackOff", backing_off, Some(&name));
        let error = "Error: ImagePullBackOff".to_owned();
        self.event(EventType::Warning, "Failed", error, Some(&name));
    }

    fn start(&mut self, index: usize, now: Timestamp) {
        let slot = &mut self.slots[index];
        let attempt = slot.next_attempt();
        slot.run = Run::Starting { attempt };
        if let Some(ended) = &slot.ended
            && !slot.backoff_noted
            && !slot.must_restart
        {
            slot.backoff.restarted(ended.exit.finished_at, now);
            slot.backoff_noted = true;
        }
        self.out.push(Action::StartContainer {
            container: slot.name.clone(),
            attempt,
        });
    }

    fn probe(&mut self, now: Timestamp) {
        for slot in &mut self.slots {
            let Some((attempt, started_at)) = slot.running() else {
                continue;
            };
            if slot.stopping.is_some() || slot.post_start_due {
                continue;
            }
            let started = slot.is_started();
            for prober in &mut slot.probers {
                let gates = prober.kind == ProbeKind::Startup;
                if gates != started {
                    prober.begin(started_at, now);
                }
                if let Some(timeout) = prober.take_due(now) {
                    self.out.push(Action::Probe {
                        container: slot.name.clone(),
                        attempt,
                        kind: prober.kind,
                        timeout,
                    });
                }
            }
        }
    }

    /// Decides on the end that `activeDeadlineSeconds` sets.
    pub(crate) fn check_deadline(&mut self, now: Timestamp) {
        if self.end.is_some() || self.deadline().is_none_or(|at| at > now) {
            return;
        }
        let message = "Pod was active on the node longer than the specified deadline";
        self.reason = Some(("DeadlineExceeded".to_owned(), message.to_owned()));
        let message = message.to_owned();
        self.event(EventType::Normal, "DeadlineExceeded", message, None);
        self.begin_end(Why::Deadline, self.grace(), now);
    }
}

/// Go's way to write a duration of whole seconds: `10s`, `1m20s`, `5m0s`.
fn go_duration(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}
