//! What `kubectl get pods` shows (`printPod` in Kubernetes' `pkg/printers/internalversion`).

use crate::kinds::duration;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodSpec, PodStatus};
use serde_json::Value;

/// The cells of one pod.
pub(super) fn cells(pod: &Pod, now: Timestamp) -> Vec<Value> {
    let empty_spec = PodSpec::default();
    let empty_status = PodStatus::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty_spec);
    let status = pod.status.as_ref().unwrap_or(&empty_status);
    let mut summary = Summary::new(spec, status);
    summary.init_containers(spec, status);
    if !summary.initializing || condition(status, "Initialized") {
        summary.containers(status);
    }
    if let Some(reason) = deletion_reason(pod, status) {
        summary.reason = reason.to_owned();
    }
    let restarts = match summary.restarts.last {
        Some(last) if summary.restarts.count > 0 => {
            format!(
                "{} ({} ago)",
                summary.restarts.count,
                duration::since(Some(last), now)
            )
        }
        _ => summary.restarts.count.to_string(),
    };
    let gates = spec.readiness_gates.as_deref().unwrap_or_default();
    let met = gates
        .iter()
        .filter(|gate| condition(status, &gate.condition_type))
        .count();
    let gates = if gates.is_empty() {
        "<none>".to_owned()
    } else {
        format!("{met}/{}", gates.len())
    };
    vec![
        pod.metadata.name.clone().into(),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        restarts.into(),
        duration::age(&pod.metadata, now),
        or_none(
            status
                .pod_ips
                .iter()
                .flatten()
                .next()
                .map(|ip| &ip.ip)
                .or(status.pod_ip.as_ref()),
        ),
        or_none(spec.node_name.as_ref()),
        or_none(status.nominated_node_name.as_ref()),
        gates.into(),
    ]
}

fn or_none(text: Option<&String>) -> Value {
    text.filter(|text| !text.is_empty())
        .map_or_else(|| "<none>".into(), |text| text.as_str().into())
}

fn condition(status: &PodStatus, kind: &str) -> bool {
    status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == kind && condition.status == "True")
}

fn deletion_reason(pod: &Pod, status: &PodStatus) -> Option<&'static str> {
    pod.metadata.deletion_timestamp.as_ref()?;
    let terminal = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    if status.reason.as_deref() == Some("NodeLost") {
        Some("Unknown")
    } else {
        (!terminal).then_some("Terminating")
    }
}

/// How often containers restarted, and when one last ended.
#[derive(Default, Clone, Copy)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, container: &ContainerStatus) {
        self.count += i64::from(container.restart_count);
        let ended = container
            .last_state
            .as_ref()
            .and_then(|state| state.terminated.as_ref());
        let at = ended
            .and_then(|ended| ended.finished_at.as_ref())
            .map(|time| time.0);
        self.last = self.last.max(at);
    }
}

struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: Restarts,
    /// Of sidecars alone: what counts once the pod is initialized.
    sidecar_restarts: Restarts,
    initializing: bool,
}

impl Summary {
    fn new(spec: &PodSpec, status: &PodStatus) -> Self {
        let gated = status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "PodScheduled"
                && condition.reason.as_deref() == Some("SchedulingGated")
        });
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let reason = text(&status.reason)
            .or_else(|| text(&status.phase))
            .unwrap_or_default();
        let sidecars = spec
            .init_containers
            .iter()
            .flatten()
            .filter(|container| is_sidecar(spec, &container.name));
        Self {
            ready: 0,
            total: spec.containers.len() + sidecars.count(),
            reason: if gated {
                "SchedulingGated".to_owned()
            } else {
                reason
            },
            restarts: Restarts::default(),
            sidecar_restarts: Restarts::default(),
            initializing: false,
        }
    }

    fn init_containers(&mut self, spec: &PodSpec, status: &PodStatus) {
        let total = spec.init_containers.as_ref().map_or(0, Vec::len);
        for (index, container) in status.init_container_statuses.iter().flatten().enumerate() {
            self.restarts.add(container);
            let sidecar = is_sidecar(spec, &container.name);
            if sidecar {
                self.sidecar_restarts.add(container);
            }
            let state = container.state.as_ref();
            let ended = state.and_then(|state| state.terminated.as_ref());
            if ended.is_some_and(|ended| ended.exit_code == 0) {
                continue;
            }
            if sidecar && container.started == Some(true) {
                self.ready += usize::from(container.ready);
                continue;
            }
            let waiting = state
                .and_then(|state| state.waiting.as_ref())
                .and_then(|waiting| waiting.reason.as_deref());
            self.reason = match (ended, waiting) {
                (Some(_), _) => format!("Init:{}", ending(container)),
                (None, Some(reason)) if !reason.is_empty() && reason != "PodInitializing" => {
                    format!("Init:{reason}")
                }
                _ => format!("Init:{index}/{total}"),
            };
            self.initializing = true;
            break;
        }
    }

    fn containers(&mut self, status: &PodStatus) {
        self.restarts = self.sidecar_restarts;
        let mut running = false;
        for container in status.container_statuses.iter().flatten().rev() {
            self.restarts.add(container);
            let Some(state) = &container.state else {
                continue;
            };
            let waiting = state
                .waiting
                .as_ref()
                .and_then(|waiting| waiting.reason.as_deref())
                .unwrap_or("");
            if !waiting.is_empty() {
                self.reason = waiting.to_owned();
            } else if state.terminated.is_some() {
                self.reason = ending(container);
            } else if container.ready && state.running.is_some() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            self.reason = if condition(status, "Ready") {
                "Running"
            } else {
                "NotReady"
            }
            .to_owned();
        }
    }
}

/// Why a container ended: its reason, or else its signal or exit code.
fn ending(container: &ContainerStatus) -> String {
    let Some(ended) = container
        .state
        .as_ref()
        .and_then(|state| state.terminated.as_ref())
    else {
        return String::new();
    };
    match (
        ended.reason.as_deref().unwrap_or(""),
        ended.signal.unwrap_or(0),
    ) {
        ("", 0) => format!("ExitCode:{}", ended.exit_code),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn is_sidecar(spec: &PodSpec, name: &str) -> bool {
    let found = spec
        .init_containers
        .iter()
        .flatten()
        .find(|container| container.name == name);
    found.is_some_and(|container| container.restart_policy.as_deref() == Some("Always"))
}

#[cfg(test)]
mod tests;
