//! What the hollow runtime promises beyond the contract.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use futures::StreamExt as _;
use pontoon_hollow::HollowRuntime;
use pontoon_runtime::{
    ContainerSpec, ContainerState, ExecInput, ExecOutput, ExecSpec, PodIdentity, ResourceLimits,
    Runtime, RuntimeEvent, SandboxSpec,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn sandbox(uid: &str, logs: &Path) -> SandboxSpec {
    SandboxSpec {
        pod: PodIdentity {
            namespace: "default".to_owned(),
            name: uid.to_owned(),
            uid: uid.to_owned(),
        },
        attempt: 0,
        labels: BTreeMap::new(),
        hostname: uid.to_owned(),
        netns: None,
        resolv_conf: None,
        hosts: None,
        limits: ResourceLimits::UNLIMITED,
        log_dir: logs.to_owned(),
    }
}

fn container(command: &[&str], logs: &Path) -> ContainerSpec {
    ContainerSpec {
        name: "main".to_owned(),
        attempt: 0,
        image: "nginx:1".to_owned(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        args: Vec::new(),
        env: Vec::new(),
        working_dir: None,
        mounts: Vec::new(),
        limits: ResourceLimits::UNLIMITED,
        oom_score_adj: 0,
        tty: false,
        stdin: false,
        log_path: logs.join("main-0.log"),
        run_as: None,
    }
}

fn runtime() -> HollowRuntime {
    HollowRuntime::new(Arc::new(jiff::Timestamp::now))
}

#[tokio::test(start_paused = true)]
async fn a_scripted_container_ends_when_its_time_is_over_and_is_told() {
    let (runtime, logs) = (runtime(), PathBuf::from("/nonexistent"));
    let mut events = runtime.events();
    let made = runtime.create_sandbox(&sandbox("a", &logs)).await.unwrap();
    let spec = container(&["exit", "3", "3600"], &logs);
    let started = runtime.start_container(&made, &spec).await.unwrap();
    assert!(matches!(started.state, ContainerState::Running { .. }));
    let Some(RuntimeEvent::ContainerExited(ended)) = events.next().await else {
        panic!("the end is not told");
    };
    let ContainerState::Exited(exit) = &ended.state else {
        panic!("{ended:?}");
    };
    assert_eq!(exit.exit_code, 3);
}

#[tokio::test]
async fn an_exec_says_what_it_was_asked_and_echoes() {
    let (runtime, logs) = (runtime(), PathBuf::from("/nonexistent"));
    let made = runtime.create_sandbox(&sandbox("a", &logs)).await.unwrap();
    let spec = container(&[], &logs);
    let started = runtime.start_container(&made, &spec).await.unwrap();
    let exec = ExecSpec {
        command: vec!["cat".to_owned(), "-".to_owned()],
        terminal: None,
        stdin: true,
        env: Vec::new(),
    };
    let mut session = runtime.exec(&started.id, &exec).await.unwrap();
    let word = ExecInput::Stdin(Bytes::from_static(b"word"));
    session.input.send(word).await.unwrap();
    session.input.send(ExecInput::StdinClosed).await.unwrap();
    let mut said = Vec::new();
    while let Some(ExecOutput::Stdout(bytes)) = session.output.recv().await {
        said.extend_from_slice(&bytes);
    }
    assert_eq!(said, b"main: cat -\nword");
    assert_eq!(session.exit.await.unwrap().unwrap().exit_code, 0);
}

/// What thousands of pods cost is what one of them keeps: kept in check by the size of what the process holds.
#[tokio::test]
async fn a_pod_costs_little_and_touches_no_file() {
    const PODS: usize = 20_000;
    const BYTES_PER_POD: usize = 4_096;
    let directory = tempfile::tempdir().unwrap();
    let logs = directory.path().join("logs");
    let before = resident_bytes();
    let runtime = runtime();
    for number in 0..PODS {
        let uid = format!("00000000-0000-4000-8000-{number:012x}");
        let made = runtime.create_sandbox(&sandbox(&uid, &logs)).await.unwrap();
        let mut spec = container(&[], &logs);
        spec.env = (0..50)
            .map(|n| (format!("VARIABLE_{n}"), "x".repeat(100)))
            .collect();
        runtime.start_container(&made, &spec).await.unwrap();
    }
    let each = resident_bytes().saturating_sub(before) / PODS;
    assert!(each < BYTES_PER_POD, "{each} bytes a pod");
    assert!(!logs.exists());
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4_096
}
