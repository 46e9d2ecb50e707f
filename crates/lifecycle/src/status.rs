//! The pod's status, written from what the machine knows.

use crate::conditions;
use crate::machine::{Machine, whole};
use crate::qos;
use crate::slot::{Ended, Role, Run, Slot};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

fn time(at: Timestamp) -> Option<Time> {
    Some(Time(whole(at)))
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn terminated(ended: &Ended) -> ContainerState {
    let exit = &ended.exit;
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: text(&ended.id),
            exit_code: exit.exit_code,
            signal: exit.signal,
            reason: text(&exit.reason),
            message: text(&exit.message),
            started_at: exit.started_at.and_then(time),
            finished_at: time(exit.finished_at),
        }),
        ..ContainerState::default()
    }
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message,
        }),
        ..ContainerState::default()
    }
}

fn running(started_at: Timestamp) -> ContainerState {
    ContainerState {
        running: Some(ContainerStateRunning {
            started_at: time(started_at),
        }),
        ..ContainerState::default()
    }
}

/// State and last state. `before` is what a container that never ran says it waits for.
fn states<'a>(slot: &'a Slot, before: &str, over: bool) -> (ContainerState, Option<&'a Ended>) {
    if let Run::Running { started_at, .. } = slot.run {
        return (running(started_at), slot.previous.as_ref());
    }
    match (&slot.waiting, &slot.ended) {
        (Some(why), ended) if !over => (
            waiting(&why.reason, why.message.clone()),
            ended.as_ref().or(slot.previous.as_ref()),
        ),
        (_, Some(ended)) => (terminated(ended), slot.previous.as_ref()),
        (Some(why), None) => (waiting(&why.reason, why.message.clone()), None),
        (None, None) => (waiting(before, None), None),
    }
}

fn container_status(slot: &Slot, before: &str, over: bool) -> ContainerStatus {
    let (state, last) = states(slot, before, over);
    let started = slot.is_started();
    ContainerStatus {
        name: slot.name.clone(),
        container_id: slot.id.clone(),
        image: slot.image.clone(),
        image_id: slot.image_id.clone(),
        ready: slot.is_ready(),
        restart_count: i32::try_from(slot.attempt.unwrap_or(0)).unwrap_or(i32::MAX),
        started: Some(started),
        state: Some(state),
        last_state: last.map(terminated),
        ..ContainerStatus::default()
    }
}

impl Machine {
    fn container_statuses(&self, init: bool) -> Option<Vec<ContainerStatus>> {
        let any_init = self.slots.iter().any(|slot| slot.role != Role::Main);
        let over = self.ended;
        let statuses: Vec<ContainerStatus> = self
            .slots
            .iter()
            .filter(|slot| (slot.role != Role::Main) == init)
            .map(|slot| {
                let before = if any_init {
                    "PodInitializing"
                } else {
                    "ContainerCreating"
                };
                container_status(slot, before, over)
            })
            .collect();
        (!statuses.is_empty()).then_some(statuses)
    }

    /// The status as it is at `now`.
    pub(crate) fn status(&self, now: Timestamp) -> PodStatus {
        let facts = conditions::Facts {
            pod: &self.pod,
            slots: &self.slots,
            phase: self.phase,
            initialized: self.initialized,
            has_sandbox: self.has_sandbox(),
        };
        let ips: Vec<String> = self.ips.iter().map(ToString::to_string).collect();
        let host: Vec<String> = self.node.ips.iter().map(ToString::to_string).collect();
        let given = self.pod.status.as_ref();
        let reason = self.reason.as_ref().filter(|_| self.ended);
        PodStatus {
            phase: Some(self.phase.as_str().to_owned()),
            reason: reason.map(|(reason, _)| reason.clone()),
            message: reason.map(|(_, message)| message.clone()),
            conditions: Some(conditions::of(&facts, &self.conditions, whole(now))),
            container_statuses: self.container_statuses(false),
            init_container_statuses: self.container_statuses(true),
            pod_ip: ips.first().cloned(),
            pod_ips: (!ips.is_empty()).then(|| ips.into_iter().map(|ip| PodIP { ip }).collect()),
            host_ip: host.first().cloned(),
            host_ips: (!host.is_empty())
                .then(|| host.into_iter().map(|ip| HostIP { ip }).collect()),
            start_time: time(self.start_time),
            qos_class: Some(qos::class(&self.pod)),
            observed_generation: self.pod.metadata.generation,
            nominated_node_name: given.and_then(|status| status.nominated_node_name.clone()),
            ..PodStatus::default()
        }
    }
}
