//! The pod's conditions, with kubelet's reasons and messages.

use crate::phase::Phase;
use crate::slot::{Role, Slot};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The conditions that are the node's to write, in kubelet's order. Others' are kept as they are.
const OWNED: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

/// What the conditions are computed from.
pub(crate) struct Facts<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) slots: &'a [Slot],
    pub(crate) phase: Phase,
    pub(crate) initialized: bool,
    pub(crate) has_sandbox: bool,
}

struct Verdict {
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn of(status: bool) -> Self {
        Self {
            status,
            reason: None,
            message: None,
        }
    }

    fn no(reason: &'static str, message: Option<String>) -> Self {
        Self {
            status: false,
            reason: Some(reason),
            message,
        }
    }
}

fn named(prefix: &str, names: &[&str]) -> Option<String> {
    (!names.is_empty()).then(|| format!("{prefix}: [{}]", names.join(" ")))
}

fn initialized(facts: &Facts<'_>) -> Verdict {
    if facts.initialized {
        return Verdict {
            status: true,
            reason: (facts.phase == Phase::Succeeded).then_some("PodCompleted"),
            message: None,
        };
    }
    let incomplete: Vec<&str> = facts
        .slots
        .iter()
        .filter(|slot| match slot.role {
            Role::Init => !slot.done(),
            Role::Sidecar => !slot.is_started(),
            Role::Main => false,
        })
        .map(|slot| slot.name.as_str())
        .collect();
    if incomplete.is_empty() {
        return Verdict::of(true);
    }
    Verdict::no(
        "ContainersNotInitialized",
        named("containers with incomplete status", &incomplete),
    )
}

fn containers_ready(facts: &Facts<'_>) -> Verdict {
    match facts.phase {
        Phase::Succeeded => return Verdict::no("PodCompleted", None),
        Phase::Failed => return Verdict::no("PodFailed", None),
        Phase::Pending | Phase::Running => {}
    }
    let unready: Vec<&str> = facts
        .slots
        .iter()
        .filter(|slot| slot.role != Role::Init && !slot.is_ready())
        .map(|slot| slot.name.as_str())
        .collect();
    if unready.is_empty() {
        return Verdict::of(true);
    }
    Verdict::no(
        "ContainersNotReady",
        named("containers with unready status", &unready),
    )
}

fn ready(facts: &Facts<'_>, containers: &Verdict) -> Verdict {
    if !containers.status {
        return Verdict {
            status: false,
            reason: containers.reason,
            message: containers.message.clone(),
        };
    }
    let conditions = facts
        .pod
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_ref());
    let gates = facts
        .pod
        .spec
        .iter()
        .flat_map(|spec| spec.readiness_gates.iter().flatten());
    let mut unmet = Vec::new();
    for gate in gates {
        let found = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == gate.condition_type);
        match found {
            None => unmet.push(format!(
                "corresponding condition of pod readiness gate \"{}\" does not exist.",
                gate.condition_type
            )),
            Some(condition) if condition.status != "True" => unmet.push(format!(
                "the status of pod readiness gate \"{}\" is not \"True\", but {}",
                gate.condition_type, condition.status
            )),
            Some(_) => {}
        }
    }
    if unmet.is_empty() {
        return Verdict::of(true);
    }
    Verdict::no("ReadinessGatesNotReady", Some(unmet.join(", ")))
}

/// Every condition of the pod. A transition time changes only with the condition's status.
pub(crate) fn of(facts: &Facts<'_>, before: &[PodCondition], now: Timestamp) -> Vec<PodCondition> {
    let containers = containers_ready(facts);
    let verdicts = [
        Verdict::of(facts.has_sandbox),
        initialized(facts),
        ready(facts, &containers),
        containers,
        Verdict::of(true),
    ];
    let generation = facts.pod.metadata.generation;
    let mut conditions: Vec<PodCondition> = OWNED
        .iter()
        .zip(verdicts)
        .map(|(type_, verdict)| {
            let status = if verdict.status { "True" } else { "False" };
            let since = before
                .iter()
                .find(|old| old.type_ == *type_ && old.status == status)
                .and_then(|old| old.last_transition_time.clone());
            PodCondition {
                type_: (*type_).to_owned(),
                status: status.to_owned(),
                reason: verdict.reason.map(str::to_owned),
                message: verdict.message,
                last_transition_time: Some(since.unwrap_or(Time(now))),
                last_probe_time: None,
                observed_generation: generation,
            }
        })
        .collect();
    let theirs = facts
        .pod
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    conditions.extend(
        theirs
            .filter(|condition| !OWNED.contains(&condition.type_.as_str()))
            .cloned(),
    );
    conditions
}
