//! Random lives: whatever arrives in whatever order, the machine's invariants hold (it asserts them itself), and a model
//! runtime never sees two live attempts of one container.
#![allow(clippy::unwrap_used, missing_docs)]

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use pontoon_lifecycle::{
    Action, Exit, Input, Machine, NodeFacts, Phase, ProbeOutcome, Recovered, StartFailure,
};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug)]
struct Step {
    pick: usize,
    answer: u8,
    wait_millis: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step =
        (any::<usize>(), any::<u8>(), 0..20_000_u64).prop_map(|(pick, answer, wait_millis)| Step {
            pick,
            answer,
            wait_millis,
        });
    prop::collection::vec(step, 1..150)
}

fn pod(policy: &str, init: u8, probes: bool, deadline: bool) -> Pod {
    let probe = json!({"tcpSocket": {"port": 1}, "periodSeconds": 2, "failureThreshold": 2});
    let mut web = json!({"name": "web", "image": "host"});
    if probes {
        web["livenessProbe"] = probe.clone();
        web["readinessProbe"] = probe.clone();
        web["startupProbe"] = probe;
        web["lifecycle"] = json!({"postStart": {"exec": {"command": ["x"]}}});
    }
    let mut inits = Vec::new();
    if init & 1 != 0 {
        inits.push(json!({"name": "first", "image": "host"}));
    }
    if init & 2 != 0 {
        inits.push(json!({"name": "side", "image": "host", "restartPolicy": "Always"}));
    }
    let mut spec = json!({
        "restartPolicy": policy,
        "initContainers": inits,
        "containers": [web, {"name": "job", "image": "host"}],
    });
    if deadline {
        spec["activeDeadlineSeconds"] = json!(60);
    }
    let meta = json!({"name": "web", "namespace": "default", "uid": "u1"});
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

struct World {
    now: Timestamp,
    machine: Machine,
    open: Vec<Action>,
    live: BTreeMap<String, u32>,
    used: BTreeMap<String, u32>,
    phase: Phase,
    removed: bool,
}

impl World {
    fn new(pod: Pod) -> Self {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let node = NodeFacts { ips: Vec::new() };
        Self {
            now,
            machine: Machine::new(pod, node, Recovered::default(), now),
            open: Vec::new(),
            live: BTreeMap::new(),
            used: BTreeMap::new(),
            phase: Phase::Pending,
            removed: false,
        }
    }

    fn feed(&mut self, input: Input) {
        for action in self.machine.handle(self.now, input) {
            assert!(!self.removed, "{action:?} after the end");
            match action {
                Action::Report(_) | Action::Event(_) => {}
                Action::Removed => {
                    assert!(self.live.is_empty(), "removed with {:?} alive", self.live);
                    self.removed = true;
                }
                Action::StartContainer { container, attempt } => {
                    assert!(!self.live.contains_key(&container), "two of {container}");
                    assert!(
                        self.used.get(&container).is_none_or(|used| *used < attempt),
                        "attempt {attempt} of {container} is used up"
                    );
                    self.live.insert(container.clone(), attempt);
                    self.open
                        .push(Action::StartContainer { container, attempt });
                }
                other => self.open.push(other),
            }
        }
        let phase = self.machine.phase();
        assert!(phase >= self.phase);
        self.phase = phase;
    }

    fn exit(&self, code: i32) -> Exit {
        Exit {
            exit_code: code,
            signal: None,
            reason: "Error".to_owned(),
            message: String::new(),
            started_at: None,
            finished_at: self.now,
        }
    }

    fn exited(&mut self, container: String, attempt: u32, code: i32) {
        if self.live.get(&container) == Some(&attempt) {
            self.live.remove(&container);
            self.used.insert(container.clone(), attempt);
        }
        let exit = self.exit(code);
        self.feed(Input::ContainerExited {
            container,
            attempt,
            exit,
        });
    }

    fn start_answer(&mut self, container: String, attempt: u32, answer: u8) -> Input {
        let failure = match answer % 8 {
            0 => StartFailure::Config {
                message: "none".to_owned(),
            },
            1 => StartFailure::Refused {
                reason: "RunContainerError".to_owned(),
                message: "away".to_owned(),
            },
            2 => {
                self.used.insert(container.clone(), attempt);
                StartFailure::Ended {
                    id: "fake://x".to_owned(),
                    exit: self.exit(128),
                }
            }
            _ => {
                return Input::ContainerStarted {
                    container,
                    attempt,
                    id: "fake://x".to_owned(),
                    started_at: self.now,
                };
            }
        };
        self.live.remove(&container);
        Input::ContainerStartFailed {
            container,
            attempt,
            failure,
        }
    }

    fn answer(&mut self, action: Action, answer: u8) {
        let fails = answer.is_multiple_of(4);
        let message = "no".to_owned();
        let input = match action {
            Action::CreateSandbox { attempt } if fails => Input::SandboxFailed { attempt, message },
            Action::CreateSandbox { attempt } => Input::SandboxCreated {
                attempt,
                ips: Vec::new(),
            },
            Action::PrepareVolumes if fails => Input::VolumesFailed {
                volume: "data".to_owned(),
                message,
            },
            Action::PrepareVolumes => Input::VolumesReady,
            Action::EnsureImage { container } if fails => Input::ImageFailed {
                container,
                reason: "ErrImagePull".to_owned(),
                message,
            },
            Action::EnsureImage { container } => Input::ImageReady {
                container,
                image_id: "i".to_owned(),
            },
            Action::StartContainer { container, attempt } => {
                self.start_answer(container, attempt, answer)
            }
            Action::PostStart { container, attempt } => Input::PostStartDone {
                container,
                attempt,
                failure: fails.then_some(message),
            },
            Action::StopContainer {
                container, attempt, ..
            } => {
                if !fails {
                    return self.exited(container, attempt, 143);
                }
                Input::StopFailed {
                    container,
                    attempt,
                    message,
                }
            }
            Action::Probe {
                container,
                attempt,
                kind,
                ..
            } => Input::Probed {
                container,
                attempt,
                kind,
                outcome: match answer % 3 {
                    0 => ProbeOutcome::Failure(message),
                    _ => ProbeOutcome::Success,
                },
            },
            Action::StopSandbox | Action::RemoveSandbox if fails => {
                Input::SandboxTeardownFailed { message }
            }
            Action::StopSandbox => Input::SandboxStopped,
            Action::RemoveSandbox => Input::SandboxRemoved,
            Action::Report(_) | Action::Event(_) | Action::Removed => Input::Tick,
        };
        self.feed(input);
    }

    fn step(&mut self, step: &Step) {
        self.now += Duration::from_millis(step.wait_millis);
        match step.answer {
            0..=4 => self.feed(Input::Delete {
                grace: Duration::from_secs(u64::from(step.answer)),
            }),
            5..=8 => {
                // Everything alive in the sandbox dies with it; starts that are under way are answered as they come.
                if !self
                    .open
                    .iter()
                    .any(|a| matches!(a, Action::StartContainer { .. }))
                {
                    for (container, attempt) in std::mem::take(&mut self.live) {
                        self.used.insert(container, attempt);
                    }
                    self.feed(Input::SandboxLost);
                    for (container, attempt) in self.used.clone() {
                        self.exited(container, attempt, 137);
                    }
                }
            }
            9..=12 => self.feed(Input::ReferencesChanged),
            13..=60 => {
                let running: Vec<(String, u32)> = self
                    .live
                    .iter()
                    .filter(|(name, _)| self.machine.attempt(name).is_some_and(|(_, up)| up))
                    .map(|(name, attempt)| (name.clone(), *attempt))
                    .collect();
                if !running.is_empty() {
                    let (name, attempt) = running[step.pick % running.len()].clone();
                    self.exited(name, attempt, i32::from(step.answer % 2));
                }
            }
            61..=70 => self.exited("web".to_owned(), 999, 1),
            _ if !self.open.is_empty() => {
                let action = self.open.remove(step.pick % self.open.len());
                self.answer(action, step.answer);
            }
            _ => self.feed(Input::Tick),
        }
    }

    /// Deletes the pod and answers everything well: it has to go.
    fn finish(&mut self) {
        let grace = Duration::from_secs(1);
        self.feed(Input::Delete { grace });
        for _ in 0..200 {
            if self.removed {
                return;
            }
            self.now += Duration::from_secs(3);
            self.feed(Input::Tick);
            if !self.open.is_empty() {
                let action = self.open.remove(0);
                self.answer(action, 7);
            }
        }
        panic!("a deleted pod stays: {:?}", self.machine);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_life_keeps_the_invariants_and_ends_when_it_is_told_to(
        policy in prop::sample::select(vec!["Always", "OnFailure", "Never"]),
        init in 0..4_u8,
        probes in any::<bool>(),
        deadline in any::<bool>(),
        steps in steps(),
    ) {
        let mut world = World::new(pod(policy, init, probes, deadline));
        world.feed(Input::Tick);
        for step in &steps {
            world.step(step);
        }
        if !world.removed {
            world.finish();
        }
    }
}
