//! The machine: its state, what each input changes, and when it wants to be woken.
//!
//! Inputs only note facts; what follows from them is decided in one place per direction: `bring_up` while the pod is to
//! run, `shutdown` once it is to end. Both look at the whole state and ask for whatever is missing and not under way, so
//! an input that arrives twice or late changes nothing.

use crate::action::{Action, Event, EventType};
use crate::input::{Input, NodeFacts, ProbeKind, Recovered};
use crate::invariant;
use crate::limits::{
    GRACE_DEFAULT_SECONDS, GRACE_MAX_SECONDS, GRACE_MIN, MESSAGE_BYTES, UNAVAILABLE_RETRY_FIRST,
    UNAVAILABLE_RETRY_MAX, VOLUMES_RETRY_FIRST, VOLUMES_RETRY_MAX,
};
use crate::phase::{self, Phase};
use crate::restart::{Doubling, Policy, later};
use crate::slot::{Role, Run, Slot};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodStatus};
use std::net::IpAddr;
use std::time::Duration;

mod note;
mod recover;

/// Why a machine wants to be woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimerReason {
    /// The pod's `activeDeadlineSeconds` end.
    Deadline,
    /// The sandbox is to be tried again.
    Sandbox,
    /// The volumes are to be tried again.
    Volumes,
    /// A container's wait ends.
    Container(String),
    /// A probe is due.
    Probe(String, ProbeKind),
    /// A stop is to be tried again.
    Stop(String),
}

/// A thing the pod needs once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provision {
    /// It is not there; nothing is tried before this time.
    Absent(Timestamp),
    /// It was asked for.
    Pending,
    /// It is there.
    Ready,
}

/// Why a pod is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Every container is done.
    Finished,
    /// It was active for longer than it may.
    Deadline,
    /// It was deleted.
    Deleted,
}

/// An end that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) why: Why,
    pub(crate) deadline: Timestamp,
}

/// How far the pod's removal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Teardown {
    Not(Timestamp),
    Stopping,
    Stopped,
    Removing,
    Removed,
}

/// One pod on one node.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(crate) pod: Pod,
    pub(crate) node: NodeFacts,
    pub(crate) policy: Policy,
    /// Init containers in order, then regular ones.
    pub(crate) slots: Vec<Slot>,
    pub(crate) initialized: bool,
    pub(crate) sandbox: Provision,
    pub(crate) sandbox_attempt: u32,
    pub(crate) sandbox_retry: Doubling,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) volumes: Provision,
    pub(crate) volumes_retry: Doubling,
    pub(crate) phase: Phase,
    pub(crate) reason: Option<(String, String)>,
    pub(crate) start_time: Timestamp,
    pub(crate) end: Option<End>,
    /// Nothing of it runs or will run.
    pub(crate) ended: bool,
    pub(crate) teardown: Teardown,
    pub(crate) conditions: Vec<PodCondition>,
    pub(crate) reported: Option<PodStatus>,
    pub(crate) out: Vec<Action>,
}

/// Kubernetes' times have whole seconds.
pub(crate) fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

pub(crate) fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES {
        let mut end = MESSAGE_BYTES;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
    }
    message
}

impl Machine {
    /// A machine for a pod that is bound to this node. `recovered` is what its runtime already has of it, and the pod's
    /// own status what was last said of it; call [`Machine::handle`] with [`Input::Tick`] to begin.
    #[must_use]
    pub fn new(pod: Pod, node: NodeFacts, recovered: Recovered, now: Timestamp) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let init = spec.init_containers.iter().flatten();
        let slots = init
            .map(|container| Slot::new(container, true))
            .chain(spec.containers.iter().map(|c| Slot::new(c, false)))
            .collect();
        let status = pod.status.clone().unwrap_or_default();
        let mut machine = Self {
            policy: Policy::parse(spec.restart_policy.as_deref()),
            slots,
            initialized: false,
            sandbox: Provision::Absent(now),
            sandbox_attempt: 0,
            sandbox_retry: Doubling::new(UNAVAILABLE_RETRY_FIRST, UNAVAILABLE_RETRY_MAX),
            ips: Vec::new(),
            volumes: Provision::Absent(now),
            volumes_retry: Doubling::new(VOLUMES_RETRY_FIRST, VOLUMES_RETRY_MAX),
            phase: Phase::parse(status.phase.as_deref()),
            reason: status.reason.zip(Some(status.message.unwrap_or_default())),
            start_time: status.start_time.map_or(now, |time| time.0),
            end: None,
            ended: false,
            teardown: Teardown::Not(now),
            conditions: status.conditions.unwrap_or_default(),
            reported: None,
            out: Vec::new(),
            pod,
            node,
        };
        machine.recover(recovered, now);
        if machine.phase.is_terminal() {
            machine.begin_end(Why::Finished, GRACE_MIN, now);
        }
        machine.note_deletion(now);
        machine
    }

    /// Takes an input and returns what is to be done, in order.
    pub fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Action> {
        let before = invariant::Snapshot::of(self);
        self.note(input, now);
        self.advance(now);
        invariant::check(&before, self);
        std::mem::take(&mut self.out)
    }

    /// The pod as last given.
    #[must_use]
    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    /// The phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the pod is on its way out, or over.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.end.is_some()
    }

    /// Whether the pod's `Ready` condition was true in the last report.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    }

    /// The status as last reported.
    #[must_use]
    pub fn reported(&self) -> Option<&PodStatus> {
        self.reported.as_ref()
    }

    /// The newest used attempt of a container, and whether it runs.
    #[must_use]
    pub fn attempt(&self, container: &str) -> Option<(u32, bool)> {
        let slot = self.slots.iter().find(|slot| slot.name == container)?;
        slot.attempt.map(|n| (n, slot.running().is_some()))
    }

    /// When to come back with [`Input::Tick`], and why. `None` when only inputs move it.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Timestamp, TimerReason)> {
        self.timers().min_by_key(|(at, _)| *at)
    }

    fn advance(&mut self, now: Timestamp) {
        if matches!(self.teardown, Teardown::Removing | Teardown::Removed) {
            return;
        }
        self.check_deadline(now);
        if self.end.is_none() {
            self.bring_up(now);
        }
        if self.end.is_some() {
            self.wind_down(now);
        }
        self.report(now);
        self.tear_down(now);
    }

    fn report(&mut self, now: Timestamp) {
        let phase = phase::of(&self.slots, self.initialized, self.ended);
        let failed = self.ended && self.reason.is_some();
        let phase = if failed { Phase::Failed } else { phase };
        if !self.phase.is_terminal() {
            self.phase = self.phase.max(phase);
        }
        let status = self.status(now);
        if self.reported.as_ref() == Some(&status) {
            return;
        }
        self.conditions = status.conditions.clone().unwrap_or_default();
        self.reported = Some(status.clone());
        self.out.push(Action::Report(Box::new(status)));
    }

    pub(crate) fn has_sandbox(&self) -> bool {
        self.sandbox == Provision::Ready
    }

    pub(crate) fn spec_of(&self, name: &str) -> Option<&Container> {
        let spec = self.pod.spec.as_ref()?;
        let init = spec.init_containers.iter().flatten();
        init.chain(&spec.containers).find(|c| c.name == name)
    }

    pub(crate) fn slot(&mut self, name: &str) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.name == name)
    }

    /// How kubelet names a pod in messages: `NAME_NAMESPACE(UID)`.
    pub(crate) fn full_name(&self) -> String {
        let meta = &self.pod.metadata;
        format!(
            "{}_{}({})",
            meta.name.as_deref().unwrap_or_default(),
            meta.namespace.as_deref().unwrap_or_default(),
            meta.uid.as_deref().unwrap_or_default()
        )
    }

    pub(crate) fn event(
        &mut self,
        kind: EventType,
        reason: &'static str,
        message: String,
        container: Option<&str>,
    ) {
        let field_path = container.map(|name| {
            let init = self
                .slots
                .iter()
                .any(|slot| slot.name == name && slot.role != Role::Main);
            let list = if init { "initContainers" } else { "containers" };
            format!("spec.{list}{{{name}}}")
        });
        self.out.push(Action::Event(Event {
            kind,
            reason,
            message: cut(message),
            field_path,
        }));
    }

    /// The pod's own grace.
    pub(crate) fn grace(&self) -> Duration {
        let own = self
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.termination_grace_period_seconds);
        seconds(own.unwrap_or(GRACE_DEFAULT_SECONDS))
    }

    fn timers(&self) -> impl Iterator<Item = (Timestamp, TimerReason)> + '_ {
        let up = self.end.is_none();
        let absent = |what: Provision| match what {
            Provision::Absent(at) if up => Some(at),
            _ => None,
        };
        let deadline = self.deadline().filter(|_| up);
        let teardown = match self.teardown {
            Teardown::Not(at) if self.ended => Some(at),
            _ => None,
        };
        let whole_pod = [
            deadline.map(|at| (at, TimerReason::Deadline)),
            absent(self.sandbox).map(|at| (at, TimerReason::Sandbox)),
            absent(self.volumes).map(|at| (at, TimerReason::Volumes)),
            teardown.map(|at| (at, TimerReason::Sandbox)),
        ];
        whole_pod.into_iter().flatten().chain(
            self.slots
                .iter()
                .flat_map(move |slot| slot_timers(slot, up)),
        )
    }

    /// When the pod has been active for as long as it may.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        let seconds = u64::try_from(seconds).unwrap_or(0);
        Some(later(self.start_time, Duration::from_secs(seconds)))
    }
}

pub(crate) fn seconds(value: i64) -> Duration {
    Duration::from_secs(value.clamp(0, GRACE_MAX_SECONDS).unsigned_abs())
}

fn slot_timers(slot: &Slot, up: bool) -> Vec<(Timestamp, TimerReason)> {
    let mut timers = Vec::new();
    let name = || slot.name.clone();
    if let Some(at) = slot.stopping.and_then(|stopping| stopping.retry_at) {
        timers.push((at, TimerReason::Stop(name())));
    }
    if up && slot.run == Run::Idle {
        let waits = [slot.not_before, slot.pull_turns_at];
        timers.extend(
            waits
                .into_iter()
                .flatten()
                .map(|at| (at, TimerReason::Container(name()))),
        );
    }
    if up && slot.stopping.is_none() {
        for prober in &slot.probers {
            if let Some(at) = prober.due() {
                timers.push((at, TimerReason::Probe(name(), prober.kind)));
            }
        }
    }
    timers
}
