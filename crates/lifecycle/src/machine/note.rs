//! What each input changes. Nothing is decided here that the next look at the whole state can decide.

use super::{Machine, Provision, Teardown, Why, cut, seconds};
use crate::action::{Action, EventType};
use crate::input::{Exit, Input, ProbeKind, ProbeOutcome, StartFailure};
use crate::limits::{CONFIG_RETRY, PULL_ERROR_SHOWN, STOP_RETRY};
use crate::probe::Verdict;
use crate::restart::later;
use crate::slot::{Run, Stopping};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use std::net::IpAddr;
use std::time::Duration;

impl Machine {
    pub(super) fn note(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::Updated(pod) => self.updated(*pod, now),
            Input::ReferencesChanged => self.references_changed(now),
            Input::Delete { grace } => self.begin_end(Why::Deleted, grace, now),
            Input::SandboxCreated { .. }
            | Input::SandboxFailed { .. }
            | Input::SandboxLost
            | Input::SandboxStopped
            | Input::SandboxRemoved
            | Input::SandboxTeardownFailed { .. }
            | Input::VolumesReady
            | Input::VolumesFailed { .. } => self.note_surroundings(input, now),
            Input::ImageReady {
                container,
                image_id,
            } => self.image_ready(&container, image_id),
            Input::ImageFailed {
                container,
                reason,
                message,
            } => self.image_failed(&container, &reason, message, now),
            Input::ContainerStarted {
                container,
                attempt,
                id,
                started_at,
            } => self.container_started(&container, attempt, id, started_at),
            Input::ContainerStartFailed {
                container,
                attempt,
                failure,
            } => self.start_failed(&container, attempt, failure, now),
            Input::ContainerExited {
                container,
                attempt,
                exit,
            } => self.container_exited(&container, attempt, exit),
            Input::StopFailed {
                container, attempt, ..
            } => self.stop_failed(&container, attempt, now),
            Input::PostStartDone {
                container,
                attempt,
                failure,
            } => self.post_start_done(&container, attempt, failure, now),
            Input::Probed {
                container,
                attempt,
                kind,
                outcome,
            } => self.probed(&container, attempt, kind, &outcome, now),
            Input::Tick => {}
        }
    }

    fn note_surroundings(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::SandboxCreated { attempt, ips } => self.sandbox_created(attempt, ips),
            Input::SandboxFailed { attempt, message }
                if self.sandbox == Provision::Pending && attempt == self.sandbox_attempt =>
            {
                let wait = self.sandbox_retry.failed();
                self.sandbox = Provision::Absent(later(now, wait));
                let message = format!("Failed to create pod sandbox: {message}");
                self.event(EventType::Warning, "FailedCreatePodSandBox", message, None);
            }
            Input::SandboxLost => self.sandbox_lost(now),
            Input::SandboxStopped if self.teardown == Teardown::Stopping => {
                self.teardown = Teardown::Stopped;
                self.sandbox = Provision::Absent(Timestamp::MAX);
            }
            Input::SandboxRemoved if self.teardown == Teardown::Removing => {
                self.teardown = Teardown::Removed;
                self.sandbox = Provision::Absent(Timestamp::MAX);
                self.out.push(Action::Removed);
            }
            Input::SandboxTeardownFailed { message } => {
                if matches!(self.teardown, Teardown::Stopping | Teardown::Removing) {
                    self.teardown = Teardown::Not(later(now, STOP_RETRY));
                    let message = format!("error killing pod: {message}");
                    self.event(EventType::Warning, "FailedKillPod", message, None);
                }
            }
            Input::VolumesReady if self.volumes == Provision::Pending => {
                self.volumes = Provision::Ready;
                self.volumes_retry.succeeded();
            }
            Input::VolumesFailed { volume, message } if self.volumes == Provision::Pending => {
                let wait = self.volumes_retry.failed();
                self.volumes = Provision::Absent(later(now, wait));
                let message =
                    format!("MountVolume.SetUp failed for volume \"{volume}\" : {message}");
                self.event(EventType::Warning, "FailedMount", message, None);
            }
            _ => {}
        }
    }

    fn updated(&mut self, pod: Pod, now: Timestamp) {
        if pod.metadata.uid != self.pod.metadata.uid {
            return;
        }
        self.pod = pod;
        self.note_deletion(now);
        self.stop_redefined(now);
    }

    /// Begins the shutdown when the pod object says so.
    pub(super) fn note_deletion(&mut self, now: Timestamp) {
        let meta = &self.pod.metadata;
        if meta.deletion_timestamp.is_some() {
            let grace = meta
                .deletion_grace_period_seconds
                .map_or_else(|| self.grace(), seconds);
            self.begin_end(Why::Deleted, grace, now);
        }
    }

    /// Restarts containers whose image was changed, as kubelet does when a container's hash differs.
    fn stop_redefined(&mut self, now: Timestamp) {
        let changed: Vec<String> = self
            .slots
            .iter()
            .filter(|slot| slot.running().is_some() && slot.stopping.is_none())
            .filter(|slot| {
                self.spec_of(&slot.name)
                    .and_then(|spec| spec.image.as_deref())
                    .is_some_and(|image| image != slot.image)
            })
            .map(|slot| slot.name.clone())
            .collect();
        for name in changed {
            let message = format!("Container {name} definition changed, will be restarted");
            self.event(EventType::Normal, "Killing", message, Some(&name));
            self.stop_to_restart(&name, self.grace(), now);
        }
    }

    fn stop_to_restart(&mut self, name: &str, grace: Duration, now: Timestamp) {
        if let Some(slot) = self.slot(name) {
            slot.must_restart = true;
        }
        self.stop_container(name, grace, now);
    }

    /// Asks for a running container to be stopped.
    pub(crate) fn stop_container(&mut self, name: &str, grace: Duration, now: Timestamp) {
        let Some(slot) = self.slot(name) else { return };
        let Some((attempt, _)) = slot.running() else {
            return;
        };
        slot.stopping = Some(Stopping {
            deadline: later(now, grace),
            retry_at: None,
        });
        self.out.push(Action::StopContainer {
            container: name.to_owned(),
            attempt,
            grace,
        });
    }

    fn references_changed(&mut self, now: Timestamp) {
        if let Provision::Absent(at) = &mut self.volumes {
            *at = now.min(*at);
        } else if self.volumes == Provision::Ready && self.end.is_none() {
            self.out.push(Action::PrepareVolumes);
        }
        for slot in &mut self.slots {
            if slot.waits_for("CreateContainerConfigError") {
                slot.not_before = Some(now);
            }
        }
    }

    fn sandbox_created(&mut self, attempt: u32, ips: Vec<IpAddr>) {
        if self.sandbox == Provision::Pending && attempt == self.sandbox_attempt {
            self.sandbox = Provision::Ready;
            self.sandbox_retry.succeeded();
            self.ips = ips;
        }
    }

    fn sandbox_lost(&mut self, now: Timestamp) {
        if self.sandbox != Provision::Ready {
            return;
        }
        self.sandbox = Provision::Absent(now);
        self.sandbox_attempt = self.sandbox_attempt.saturating_add(1);
        for slot in &mut self.slots {
            if let Some((_, started_at)) = slot.running() {
                slot.exited(unwitnessed(Some(started_at), now));
            }
            slot.ended_here = false;
        }
        if self.end.is_none() {
            self.initialized = false;
            self.ips.clear();
            let message = "Pod sandbox changed, it will be killed and re-created.".to_owned();
            self.event(EventType::Normal, "SandboxChanged", message, None);
        }
    }

    fn image_ready(&mut self, name: &str, image_id: String) {
        let Some(slot) = self.slot(name) else { return };
        if slot.run != Run::Fetching {
            return;
        }
        slot.run = Run::Fetched;
        slot.next_image_id = Some(image_id);
        slot.pull_backoff.succeeded();
        slot.pull_turns_at = None;
        if slot.waits_for("ErrImagePull") || slot.waits_for("ImagePullBackOff") {
            slot.waiting = None;
        }
        let Some(spec) = self.spec_of(name) else {
            return;
        };
        let image = spec.image.clone().unwrap_or_default();
        let message = if spec.image_pull_policy.as_deref() == Some("Always") {
            format!("Successfully pulled image \"{image}\"")
        } else {
            format!(
                "Container image \"{image}\" already present on machine and can be accessed by the pod"
            )
        };
        self.event(EventType::Normal, "Pulled", message, Some(name));
    }

    fn image_failed(&mut self, name: &str, reason: &str, message: String, now: Timestamp) {
        let message = cut(message);
        let Some(slot) = self.slot(name) else { return };
        if slot.run != Run::Fetching {
            return;
        }
        slot.run = Run::Idle;
        let wait = slot.pull_backoff.failed();
        slot.wait(reason, Some(message.clone()), later(now, wait));
        if reason == "ErrImagePull" {
            slot.pull_turns_at = Some(later(now, PULL_ERROR_SHOWN));
        }
        let image = self.spec_of(name).and_then(|spec| spec.image.clone());
        let image = image.unwrap_or_default();
        let first = match reason {
            "InvalidImageName" => {
                format!("Failed to apply default image tag \"{image}\": {message}")
            }
            "ErrImageNeverPull" => {
                format!("Container image \"{image}\" is not present with pull policy of Never")
            }
            _ => format!("Failed to pull image \"{image}\": {message}"),
        };
        let kind = match reason {
            "InvalidImageName" => "InspectFailed",
            "ErrImageNeverPull" => "ErrImageNeverPull",
            _ => "Failed",
        };
        self.event(EventType::Warning, kind, first, Some(name));
        let second = format!("Error: {reason}");
        self.event(EventType::Warning, "Failed", second, Some(name));
    }

    fn container_started(&mut self, name: &str, attempt: u32, id: String, at: Timestamp) {
        let Some(spec) = self.spec_of(name).cloned() else {
            return;
        };
        let Some(slot) = self.slot(name) else { return };
        if slot.run != (Run::Starting { attempt }) {
            return;
        }
        slot.started(&spec, attempt, id, at);
        let hook = slot.post_start_due;
        let created = "Container created".to_owned();
        self.event(EventType::Normal, "Created", created, Some(name));
        let started = "Container started".to_owned();
        self.event(EventType::Normal, "Started", started, Some(name));
        if hook && self.end.is_none() {
            self.out.push(Action::PostStart {
                container: name.to_owned(),
                attempt,
            });
        }
    }

    fn start_failed(&mut self, name: &str, attempt: u32, failure: StartFailure, now: Timestamp) {
        let Some(slot) = self.slot(name) else { return };
        if slot.run != (Run::Starting { attempt }) {
            return;
        }
        slot.run = Run::Idle;
        let message = match failure {
            StartFailure::Config { message } => {
                let message = cut(message);
                let until = later(now, CONFIG_RETRY);
                slot.wait("CreateContainerConfigError", Some(message.clone()), until);
                message
            }
            StartFailure::Refused { reason, message } => {
                let message = cut(message);
                let wait = slot.retry.failed();
                slot.wait(&reason, Some(message.clone()), later(now, wait));
                message
            }
            StartFailure::Ended { id, mut exit } => {
                exit.message = cut(exit.message);
                let message = exit.message.clone();
                slot.ended_unstarted(attempt, id, exit);
                slot.wait("RunContainerError", Some(message.clone()), now);
                message
            }
        };
        let message = format!("Error: {message}");
        self.event(EventType::Warning, "Failed", message, Some(name));
    }

    fn container_exited(&mut self, name: &str, attempt: u32, mut exit: Exit) {
        let Some(slot) = self.slot(name) else { return };
        if slot.runs_attempt(attempt) {
            exit.message = cut(exit.message);
            slot.exited(exit);
        }
    }

    fn stop_failed(&mut self, name: &str, attempt: u32, now: Timestamp) {
        let Some(slot) = self.slot(name) else { return };
        if !slot.runs_attempt(attempt) {
            return;
        }
        if let Some(stopping) = &mut slot.stopping {
            stopping.retry_at = Some(later(now, STOP_RETRY));
        }
    }

    fn post_start_done(
        &mut self,
        name: &str,
        attempt: u32,
        failure: Option<String>,
        now: Timestamp,
    ) {
        let Some(slot) = self.slot(name) else { return };
        if !slot.runs_attempt(attempt) || !slot.post_start_due {
            return;
        }
        let Some(message) = failure else {
            slot.post_start_due = false;
            return;
        };
        if slot.stopping.is_some() {
            return;
        }
        let message = format!("PostStartHook failed: {message}");
        self.event(
            EventType::Warning,
            "FailedPostStartHook",
            message,
            Some(name),
        );
        let killing = "FailedPostStartHook".to_owned();
        self.event(EventType::Normal, "Killing", killing, Some(name));
        self.stop_container(name, self.grace(), now);
    }

    fn probed(
        &mut self,
        name: &str,
        attempt: u32,
        kind: ProbeKind,
        outcome: &ProbeOutcome,
        now: Timestamp,
    ) {
        let Some(slot) = self.slot(name) else { return };
        if !slot.runs_attempt(attempt) {
            return;
        }
        let stopping = slot.stopping.is_some();
        let Some(prober) = slot.prober(kind) else {
            return;
        };
        let grace = prober.grace_seconds.map(seconds);
        let verdict = prober.answered(outcome);
        if let ProbeOutcome::Failure(message) = outcome
            && !stopping
        {
            let message = format!("{} probe failed: {message}", kind.title());
            self.event(EventType::Warning, "Unhealthy", message, Some(name));
        }
        let fatal = verdict == Some(Verdict::Failed) && kind != ProbeKind::Readiness;
        if !fatal || stopping || self.end.is_some() {
            return;
        }
        let what = kind.title().to_lowercase();
        let message = format!("Container {name} failed {what} probe, will be restarted");
        self.event(EventType::Normal, "Killing", message, Some(name));
        self.stop_container(name, grace.unwrap_or_else(|| self.grace()), now);
    }
}

/// The end of a container that nobody saw.
pub(crate) fn unwitnessed(started_at: Option<Timestamp>, now: Timestamp) -> Exit {
    Exit {
        exit_code: 137,
        signal: None,
        reason: "ContainerStatusUnknown".to_owned(),
        message: "The container could not be located when the pod was terminated".to_owned(),
        started_at,
        finished_at: now,
    }
}
