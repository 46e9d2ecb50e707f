//! How a machine begins when the pod is not new: what its status said last, and what its runtime has.

use super::note::unwitnessed;
use super::{Machine, Provision};
use crate::input::{Exit, ProbeKind, Recovered, RecoveredContainer, RecoveredState};
use crate::slot::{Ended, Role, Run, Slot};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ContainerStatus};

fn ended(terminated: &ContainerStateTerminated, now: Timestamp) -> Ended {
    Ended {
        id: terminated.container_id.clone().unwrap_or_default(),
        exit: Exit {
            exit_code: terminated.exit_code,
            signal: terminated.signal,
            reason: terminated.reason.clone().unwrap_or_default(),
            message: terminated.message.clone().unwrap_or_default(),
            started_at: terminated.started_at.as_ref().map(|time| time.0),
            finished_at: terminated.finished_at.as_ref().map_or(now, |time| time.0),
        },
    }
}

/// Takes what the status says of a container: the runtime may have forgotten it since.
fn from_status(slot: &mut Slot, status: &ContainerStatus, now: Timestamp) {
    if status.container_id.is_none() {
        return;
    }
    slot.attempt = Some(u32::try_from(status.restart_count).unwrap_or(0));
    slot.id.clone_from(&status.container_id);
    slot.image_id.clone_from(&status.image_id);
    let state = status.state.clone().unwrap_or_default();
    let last = status.last_state.clone().unwrap_or_default();
    let last = last.terminated.as_ref().map(|t| ended(t, now));
    if let Some(terminated) = &state.terminated {
        slot.ended = Some(ended(terminated, now));
        slot.previous = last;
    } else if let Some(running) = &state.running {
        let started_at = running.started_at.as_ref().map(|time| time.0);
        slot.ended = Some(Ended {
            id: status.container_id.clone().unwrap_or_default(),
            exit: unwitnessed(started_at, now),
        });
        slot.previous = last;
    } else {
        slot.ended = last;
    }
}

/// Takes the newest attempt that the runtime has.
fn from_runtime(
    slot: &mut Slot,
    spec: &Container,
    found: &RecoveredContainer,
    usable: bool,
    now: Timestamp,
) {
    let same = slot.attempt == Some(found.attempt);
    let known = if same { slot.ended.take() } else { None };
    match &found.state {
        RecoveredState::Starting => {
            slot.attempt = found.attempt.checked_sub(1);
        }
        RecoveredState::Running { started_at } if usable => {
            let image = slot.image.clone();
            slot.started(spec, found.attempt, found.id.clone(), *started_at);
            slot.image = image;
            slot.post_start_due = false;
        }
        RecoveredState::Running { started_at } => {
            let exit = unwitnessed(Some(*started_at), now);
            slot.ended_unstarted(found.attempt, found.id.clone(), exit);
        }
        RecoveredState::Exited(exit) => {
            let exit = match known {
                Some(known) if known.exit.reason != "ContainerStatusUnknown" => known.exit,
                _ => exit.clone(),
            };
            slot.ended_unstarted(found.attempt, found.id.clone(), exit);
        }
    }
}

impl Machine {
    pub(super) fn recover(&mut self, recovered: Recovered, now: Timestamp) {
        let usable = matches!(recovered.sandbox, Some((_, true, _)));
        match recovered.sandbox {
            Some((attempt, true, ips)) => {
                self.sandbox = Provision::Ready;
                self.sandbox_attempt = attempt;
                self.ips = ips;
            }
            Some((attempt, false, _)) => self.sandbox_attempt = attempt.saturating_add(1),
            None => {}
        }
        let status = self.pod.status.clone().unwrap_or_default();
        if self.ips.is_empty() && self.phase.is_terminal() {
            let ips = status.pod_ips.iter().flatten();
            self.ips = ips.filter_map(|ip| ip.ip.parse().ok()).collect();
        }
        let init = status.init_container_statuses.iter().flatten();
        let statuses: Vec<&ContainerStatus> = init
            .chain(status.container_statuses.iter().flatten())
            .collect();
        let specs: Vec<Option<Container>> = self
            .slots
            .iter()
            .map(|slot| self.spec_of(&slot.name).cloned())
            .collect();
        for (slot, spec) in self.slots.iter_mut().zip(specs) {
            let Some(spec) = spec else { continue };
            let said = statuses.iter().find(|status| status.name == slot.name);
            if let Some(said) = said {
                from_status(slot, said, now);
            }
            let found = recovered
                .containers
                .iter()
                .filter(|found| found.name == slot.name)
                .filter(|found| slot.attempt.is_none_or(|attempt| found.attempt >= attempt))
                .max_by_key(|found| found.attempt);
            if let Some(found) = found {
                from_runtime(slot, &spec, found, usable, now);
            }
            slot.ended_here = usable && slot.ended.is_some();
            if let Some(said) = said
                && slot.running().is_some()
                && slot.id == said.container_id
            {
                resume(slot, said);
            }
        }
        self.recover_initialized(usable);
    }

    fn recover_initialized(&mut self, usable: bool) {
        let mains_ran = self
            .slots
            .iter()
            .any(|slot| slot.role == Role::Main && slot.attempt.is_some());
        let said = self
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Initialized" && condition.status == "True");
        let no_init = self.slots.iter().all(|slot| slot.role == Role::Main);
        self.initialized = no_init
            || (usable && (mains_ran || self.slots.iter().any(|s| s.run != Run::Idle) && said))
            || (self.phase.is_terminal() && said);
    }
}

/// A container that was started or ready when the agent went is so until a probe says otherwise.
fn resume(slot: &mut Slot, said: &ContainerStatus) {
    if said.started == Some(true)
        && let Some(prober) = slot.prober(ProbeKind::Startup)
    {
        prober.assume_passed();
    }
    if said.ready
        && let Some(prober) = slot.prober(ProbeKind::Readiness)
    {
        prober.assume_passed();
    }
}
