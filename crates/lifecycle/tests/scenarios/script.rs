//! Reads one command, feeds the machine, writes its actions as text.
#![allow(clippy::unwrap_used, missing_docs, dead_code)]

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodStatus};
use pontoon_lifecycle::{
    Action, Exit, Input, Machine, NodeFacts, ProbeKind, ProbeOutcome, Recovered,
    RecoveredContainer, RecoveredState, StartFailure,
};
use std::fmt::Write;
use std::time::Duration;

pub struct Stage {
    start: Timestamp,
    now: Timestamp,
    machine: Option<Machine>,
    recovered: Recovered,
    status: Option<PodStatus>,
    out: String,
}

pub fn exit(code: i32, reason: Option<&str>, started: Option<Timestamp>, at: Timestamp) -> Exit {
    let reason = reason.unwrap_or(if code == 0 { "Completed" } else { "Error" });
    Exit {
        exit_code: code,
        signal: None,
        reason: reason.to_owned(),
        message: String::new(),
        started_at: started,
        finished_at: at,
    }
}

fn kind(word: &str) -> ProbeKind {
    match word {
        "startup" => ProbeKind::Startup,
        "liveness" => ProbeKind::Liveness,
        "readiness" => ProbeKind::Readiness,
        _ => panic!("no probe {word:?}"),
    }
}

impl Stage {
    pub fn new() -> Self {
        let start = "2026-01-01T00:00:00Z".parse().unwrap();
        Self {
            start,
            now: start,
            machine: None,
            recovered: Recovered::default(),
            status: None,
            out: String::new(),
        }
    }

    pub fn run(&mut self, input: &str) -> String {
        let (first, body) = input.split_once('\n').unwrap_or((input, ""));
        let words: Vec<&str> = first.split_whitespace().collect();
        match words[0] {
            "found-sandbox" | "found" => self.find(&words),
            "restart-agent" => {
                let mut pod = self.machine.as_ref().unwrap().pod().clone();
                pod.status = self.status.clone();
                self.begin(pod);
            }
            "pod" => {
                let pod = serde_json::from_str(body).unwrap();
                self.begin(pod);
            }
            "update" => {
                let pod = serde_json::from_str(body).unwrap();
                self.feed(Input::Updated(Box::new(pod)));
            }
            "advance" => self.advance(words[1].parse().unwrap()),
            "status" => {
                let status = serde_json::to_string_pretty(&self.status).unwrap();
                self.out.push_str(&status);
            }
            _ => {
                let input = self.input(&words);
                self.feed(input);
            }
        }
        std::mem::take(&mut self.out)
    }

    fn begin(&mut self, pod: Pod) {
        let node = NodeFacts {
            ips: vec!["192.0.2.1".parse().unwrap()],
        };
        let recovered = std::mem::take(&mut self.recovered);
        self.machine = Some(Machine::new(pod, node, recovered, self.now));
        self.feed(Input::Tick);
    }

    fn find(&mut self, words: &[&str]) {
        if words[0] == "found-sandbox" {
            self.recovered.sandbox = Some((
                words[1].parse().unwrap(),
                words[2] == "ready",
                vec!["10.1.0.5".parse().unwrap()],
            ));
            return;
        }
        let attempt = words[2].parse().unwrap();
        let state = match words[3] {
            "running" => RecoveredState::Running {
                started_at: self.start,
            },
            "starting" => RecoveredState::Starting,
            code => RecoveredState::Exited(exit(code.parse().unwrap(), None, None, self.now)),
        };
        self.recovered.containers.push(RecoveredContainer {
            name: words[1].to_owned(),
            attempt,
            id: format!("fake://{}-{attempt}", words[1]),
            state,
        });
    }

    fn input(&self, words: &[&str]) -> Input {
        let text = |index: usize| words.get(index..).unwrap_or_default().join(" ");
        let container = words.get(1).map(|w| (*w).to_owned()).unwrap_or_default();
        let attempt = || words[2].parse().unwrap();
        match words[0] {
            "tick" => Input::Tick,
            "references" => Input::ReferencesChanged,
            "delete" => Input::Delete {
                grace: Duration::from_secs(words[1].parse().unwrap()),
            },
            "sandbox" if words[2] == "ok" => Input::SandboxCreated {
                attempt: words[1].parse().unwrap(),
                ips: vec!["10.1.0.5".parse().unwrap()],
            },
            "sandbox" => Input::SandboxFailed {
                attempt: words[1].parse().unwrap(),
                message: text(2),
            },
            "sandbox-lost" => Input::SandboxLost,
            "sandbox-stopped" => Input::SandboxStopped,
            "sandbox-removed" => Input::SandboxRemoved,
            "teardown-failed" => Input::SandboxTeardownFailed { message: text(1) },
            "volumes" if words[1] == "ok" => Input::VolumesReady,
            "volumes" => Input::VolumesFailed {
                volume: container,
                message: text(2),
            },
            "image" if words[2] == "ok" => Input::ImageReady {
                container,
                image_id: "sha256:1".to_owned(),
            },
            "image" => Input::ImageFailed {
                container,
                reason: words[2].to_owned(),
                message: text(3),
            },
            "started" => Input::ContainerStarted {
                id: format!("fake://{container}-{}", words[2]),
                container,
                attempt: attempt(),
                started_at: self.now,
            },
            "start-failed" => Input::ContainerStartFailed {
                attempt: attempt(),
                failure: self.failure(&container, words),
                container,
            },
            "exited" => Input::ContainerExited {
                container,
                attempt: attempt(),
                exit: exit(
                    words[3].parse().unwrap(),
                    words.get(4).copied(),
                    Some(self.start),
                    self.now,
                ),
            },
            "stop-failed" => Input::StopFailed {
                container,
                attempt: attempt(),
                message: text(3),
            },
            "post-start" => Input::PostStartDone {
                container,
                attempt: attempt(),
                failure: (words[3] != "ok").then(|| text(3)),
            },
            "probed" => Input::Probed {
                container,
                attempt: attempt(),
                kind: kind(words[3]),
                outcome: match words[4] {
                    "ok" => ProbeOutcome::Success,
                    "unknown" => ProbeOutcome::Unknown(text(5)),
                    _ => ProbeOutcome::Failure(text(4)),
                },
            },
            other => panic!("no command {other:?}"),
        }
    }

    fn failure(&self, container: &str, words: &[&str]) -> StartFailure {
        let message = words[4..].join(" ");
        match words[3] {
            "config" => StartFailure::Config { message },
            "ended" => StartFailure::Ended {
                id: format!("fake://{container}-{}", words[2]),
                exit: Exit {
                    message,
                    ..exit(128, Some("StartError"), None, self.now)
                },
            },
            reason => StartFailure::Refused {
                reason: reason.to_owned(),
                message,
            },
        }
    }

    fn feed(&mut self, input: Input) {
        let now = self.now;
        let actions = self.machine.as_mut().unwrap().handle(now, input);
        for action in actions {
            self.write(&action);
        }
    }

    /// Lets time pass, stopping at every timer on the way. A timer that stays due would loop: that is a bug, and found.
    fn advance(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        let mut stuck = 0;
        while let Some((at, _)) = self.machine.as_ref().unwrap().poll_timeout() {
            if at > end {
                break;
            }
            stuck = if at <= self.now { stuck + 1 } else { 0 };
            assert!(stuck < 5, "a timer does not move");
            self.now = self.now.max(at);
            self.feed(Input::Tick);
        }
        self.now = end;
        self.feed(Input::Tick);
    }

    fn write(&mut self, action: &Action) {
        let passed = self.now.duration_since(self.start).as_millis();
        write!(self.out, "+{}.{:03}s ", passed / 1000, passed % 1000).unwrap();
        let line = match action {
            Action::Report(status) => {
                self.status = Some((**status).clone());
                format!("Report {}", report(status))
            }
            Action::Event(event) => format!(
                "Event {} {} {:?}{}",
                event.kind.as_str(),
                event.reason,
                event.message,
                event
                    .field_path
                    .as_ref()
                    .map(|path| format!(" at {path}"))
                    .unwrap_or_default()
            ),
            other => format!("{other:?}"),
        };
        self.out.push_str(&line);
        self.out.push('\n');
    }
}

fn report(status: &PodStatus) -> String {
    let mut line = status.phase.clone().unwrap();
    if let Some(reason) = &status.reason {
        write!(line, "({reason})").unwrap();
    }
    if let Some(ip) = &status.pod_ip {
        write!(line, " ip={ip}").unwrap();
    }
    let short = |name: &str| {
        name.chars()
            .filter(char::is_ascii_uppercase)
            .collect::<String>()
    };
    for condition in status.conditions.iter().flatten() {
        let reason = condition.reason.as_ref().map(|r| format!("({r})"));
        write!(
            line,
            " {}={}{}",
            short(&condition.type_),
            condition.status.chars().next().unwrap(),
            reason.unwrap_or_default()
        )
        .unwrap();
    }
    let init = status.init_container_statuses.iter().flatten();
    for container in init.chain(status.container_statuses.iter().flatten()) {
        write!(line, " | {}", container_line(container)).unwrap();
    }
    line
}

fn state(state: &ContainerState) -> String {
    if let Some(waiting) = &state.waiting {
        format!("waiting({})", waiting.reason.as_deref().unwrap_or_default())
    } else if state.running.is_some() {
        "running".to_owned()
    } else if let Some(ended) = &state.terminated {
        format!(
            "terminated({} {})",
            ended.exit_code,
            ended.reason.as_deref().unwrap_or_default()
        )
    } else {
        "?".to_owned()
    }
}

fn container_line(container: &ContainerStatus) -> String {
    let mut line = format!(
        "{}: {}",
        container.name,
        state(container.state.as_ref().unwrap())
    );
    if let Some(last) = &container.last_state {
        write!(line, " last={}", state(last)).unwrap();
    }
    if container.restart_count > 0 {
        write!(line, " restarts={}", container.restart_count).unwrap();
    }
    if container.started == Some(true) {
        line.push_str(" started");
    }
    if container.ready {
        line.push_str(" ready");
    }
    line
}
