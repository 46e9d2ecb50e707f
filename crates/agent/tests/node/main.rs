//! The agent as a server and a runtime see it, under paused time.
#![allow(clippy::unwrap_used, missing_docs)]

mod stage;

use pontoon_network::dataplane::Dataplane;
use pontoon_runtime::conformance::program::Program;
use pontoon_runtime::fake::FakeCall;
use pontoon_runtime::{Runtime, RuntimeError};
use pontoon_wire::node::v1::{
    ExecTunnel, LogsTunnel, Servers, ServiceUpdate, TunnelFrame, down, open_tunnel, tunnel_frame,
};
use serde_json::json;
use stage::{Stage, deleted, is_ready, ledger_of, pod, restarts, uid, waiting};
use std::sync::atomic::Ordering;
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn an_assigned_pod_runs_and_is_reported_ready() {
    let mut stage = Stage::new();
    let agent = stage.agent().await;
    let mut session = stage.session().await;
    assert_eq!(session.hello.node_name, "n1");
    assert_eq!(session.hello.handlers, ["fake"]);
    let node: serde_json::Value = serde_json::from_slice(&session.hello.node).unwrap();
    assert_eq!(node["metadata"]["labels"]["disk"], "ssd");
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "n1");
    assert_eq!(node["status"]["conditions"][3]["type"], "Ready");
    session.synced().await;
    session.assign(&pod("web", json!({})), &[]).await;
    let status = session.until("web", is_ready).await;
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(
        status.pod_ip,
        Some(stage.dataplane.attached()[0].ip.to_string())
    );
    let id = status.container_statuses.unwrap()[0]
        .container_id
        .clone()
        .unwrap();
    assert!(id.starts_with("fake://"), "{id}");
    let sandbox = stage.runtime.sandbox_spec(&uid("web")).unwrap();
    assert!(
        sandbox
            .resolv_conf
            .unwrap()
            .contains("default.svc.cluster.test")
    );
    assert!(sandbox.hosts.unwrap().contains("\tweb\n"));
    agent.shutdown(true, GRACE).await;
    assert_eq!(ledger_of(stage.directory.path()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_crashed_container_is_restarted_with_back_off() {
    let mut stage = Stage::new();
    let _agent = stage.agent().await;
    let mut session = stage.session().await;
    session.assign(&pod("web", json!({})), &[]).await;
    session.until("web", is_ready).await;
    assert!(stage.runtime.exit(&uid("web"), "web", 1));
    session
        .until("web", |s| is_ready(s) && restarts(s) == 1)
        .await;
    let before = stage.world.now();
    assert!(stage.runtime.exit(&uid("web"), "web", 1));
    session
        .until("web", |s| waiting(s).as_deref() == Some("CrashLoopBackOff"))
        .await;
    session
        .until("web", |s| is_ready(s) && restarts(s) == 2)
        .await;
    let waited = stage.world.now().duration_since(before);
    assert!((10..12).contains(&waited.as_secs()), "{waited:?}");
    let backed_off = session
        .events
        .iter()
        .any(|e| e.reason.as_deref() == Some("BackOff"));
    assert!(backed_off, "{:?}", session.events);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_ends_before_its_start_is_answered_is_not_lost() {
    let mut stage = Stage::new();
    let _agent = stage.agent().await;
    let mut session = stage.session().await;
    let command = Program::Exit { code: 0 }.scripted();
    let spec = json!({"restartPolicy": "Never",
        "containers": [{"name": "web", "image": "host", "command": command}]});
    session.assign(&pod("job", spec), &[]).await;
    let status = session
        .until("job", |s| s.phase.as_deref() == Some("Succeeded"))
        .await;
    assert_eq!(restarts(&status), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_is_stopped_removed_and_reported_so() {
    let mut stage = Stage::new();
    let agent = stage.agent().await;
    let mut session = stage.session().await;
    let web = pod("web", json!({"volumes": [{"name": "v", "emptyDir": {}}]}));
    session.assign(&web, &[]).await;
    session.until("web", is_ready).await;
    session.assign(&deleted(web.clone()), &[]).await;
    let last = session.until_removed("web").await;
    assert_eq!(last.phase.as_deref(), Some("Failed"));
    assert!(stage.runtime.list().await.unwrap().sandboxes.is_empty());
    assert!(stage.dataplane.attached().is_empty());
    // What the server still sends of it is an echo: the removal is reported again, and nothing starts.
    session.assign(&deleted(web), &[]).await;
    session.until_removed("web").await;
    assert_eq!(stage.runtime.count(FakeCall::StartContainer), 1);
    session.unassign("web").await;
    agent.shutdown(true, GRACE).await;
    assert!(ledger_of(stage.directory.path()).is_empty());
    assert!(
        !stage
            .directory
            .path()
            .join("pods")
            .join(uid("web"))
            .exists()
    );
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_adopts_what_runs_and_restarts_nothing() {
    let mut stage = Stage::new();
    let agent = stage.agent().await;
    let mut session = stage.session().await;
    session.assign(&pod("web", json!({})), &[]).await;
    let before = session.until("web", is_ready).await;
    agent.shutdown(true, GRACE).await;
    drop(session);
    let _agent = stage.agent().await;
    let mut session = stage.session().await;
    session.assign(&pod("web", json!({})), &[]).await;
    session.synced().await;
    let after = session.until("web", is_ready).await;
    assert_eq!(after.container_statuses, before.container_statuses);
    assert_eq!(after.start_time, before.start_time);
    assert_eq!(stage.runtime.count(FakeCall::StartContainer), 1);
    assert!(stage.runtime.exit(&uid("web"), "web", 1));
    session
        .until("web", |s| is_ready(s) && restarts(s) == 1)
        .await;
}

#[tokio::test(start_paused = true)]
async fn pods_go_on_with_every_server_down_and_after_a_restart_of_the_agent() {
    let mut stage = Stage::new();
    let agent = stage.agent().await;
    let mut session = stage.session().await;
    session.assign(&pod("web", json!({})), &[]).await;
    session.until("web", is_ready).await;
    stage.server_away.store(true, Ordering::SeqCst);
    drop(session);
    agent.shutdown(true, GRACE).await;
    stage.runtime.exit(&uid("web"), "web", 1);
    let _agent = stage.agent().await;
    while stage.runtime.count(FakeCall::StartContainer) < 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stage.server_away.store(false, Ordering::SeqCst);
    let mut session = stage.session().await;
    session
        .until("web", |s| is_ready(s) && restarts(s) == 1)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_is_dialled_again_and_what_was_not_acknowledged_is_sent_again() {
    let mut stage = Stage::new();
    let _agent = stage.agent().await;
    let session = stage.session().await;
    session.assign(&pod("web", json!({})), &[]).await;
    while stage.runtime.count(FakeCall::StartContainer) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(session);
    let mut session = stage.session().await;
    session.until("web", is_ready).await;
    assert_eq!(stage.runtime.count(FakeCall::StartContainer), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_synced_session_does_not_name_is_removed() {
    let mut stage = Stage::new();
    let agent = stage.agent().await;
    let mut session = stage.session().await;
    session.assign(&pod("web", json!({})), &[]).await;
    session.assign(&pod("stray", json!({})), &[]).await;
    session.until("web", is_ready).await;
    agent.shutdown(true, GRACE).await;
    drop(session);
    // The ledger forgets one of them: only the runtime has it still.
    let file = format!("ledger/pods/{}.json", uid("stray"));
    std::fs::remove_file(stage.directory.path().join(file)).unwrap();
    let agent = stage.agent().await;
    let session = stage.session().await;
    let mut synced = agent.synced();
    session.synced().await;
    synced.wait_for(|synced| *synced).await.unwrap();
    while !stage.dataplane.attached().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left = stage.runtime.list().await.unwrap();
    assert!(left.sandboxes.is_empty(), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_holds_the_container_until_it_arrives() {
    let mut stage = Stage::new();
    let _agent = stage.agent().await;
    let mut session = stage.session().await;
    let env = json!([{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}}]);
    let web = pod(
        "web",
        json!({"containers": [{"name": "web", "image": "host", "env": env}]}),
    );
    session.assign(&web, &[]).await;
    let held = |s: &_| waiting(s).as_deref() == Some("CreateContainerConfigError");
    let status = session.until("web", held).await;
    let state = status.container_statuses.unwrap()[0].state.clone().unwrap();
    assert_eq!(
        state.waiting.unwrap().message.as_deref(),
        Some("secret \"keys\" not found")
    );
    let keys = json!({"kind": "Secret", "metadata": {"name": "keys"}, "data": {"k": "djE="}});
    let before = stage.world.now();
    session.assign(&web, &[keys]).await;
    session.until("web", is_ready).await;
    assert!(stage.world.now().duration_since(before).as_secs() < 1);
    let spec = stage.runtime.container_spec(&uid("web"), "web", 0).unwrap();
    assert!(spec.env.contains(&("KEY".to_owned(), "v1".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_runtime_class_without_a_handler_here_is_said_and_nothing_runs() {
    let mut stage = Stage::new();
    let _agent = stage.agent().await;
    let mut session = stage.session().await;
    let class = json!({"kind": "RuntimeClass", "metadata": {"name": "gpu"}, "handler": "gpu"});
    session
        .assign(&pod("web", json!({"runtimeClassName": "gpu"})), &[class])
        .await;
    session.until("web", |_| true).await;
    while session.events.is_empty() {
        let _ = tokio::time::timeout(Duration::from_secs(60), session.until("web", |_| true)).await;
    }
    let messages: Vec<_> = session
        .events
        .iter()
        .filter_map(|e| e.message.clone())
        .collect();
    assert!(
        messages
            .iter()
            .any(|m| m.contains("no runtime for \"gpu\" is configured")),
        "{messages:?}"
    );
    assert_eq!(stage.runtime.count(FakeCall::CreateSandbox), 0);
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_fails_once_is_asked_again() {
    let mut stage = Stage::new();
    let away = RuntimeError::Unavailable {
        message: "daemon is away".to_owned(),
    };
    for call in [
        FakeCall::List,
        FakeCall::CreateSandbox,
        FakeCall::StartContainer,
    ] {
        stage.runtime.fail_next(call, away.clone());
    }
    let _agent = stage.agent().await;
    let mut session = stage.session().await;
    session.assign(&pod("web", json!({})), &[]).await;
    session
        .until("web", |s| is_ready(s) && restarts(s) == 0)
        .await;
}

fn service() -> down::Message {
    let service = json!({"metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80}]}});
    let slice = json!({"metadata": {"name": "web-1"}, "addressType": "IPv4", "ports": [{"port": 8080}],
        "endpoints": [{"addresses": ["10.1.0.5"], "nodeName": "n1", "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "uid": uid("web")}}]});
    down::Message::Service(ServiceUpdate {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
        deleted: false,
        service: service.to_string().into(),
        slices: vec![slice.to_string().into()],
    })
}

async fn endpoints(stage: &Stage, wanted: usize) {
    let count = || {
        let rules = stage.dataplane.services();
        rules.first().map(|rule| rule.ports[0].endpoints.len())
    };
    while count() != Some(wanted) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_turns_unready_leaves_its_services_within_100_ms() {
    let mut stage = Stage::new();
    let _agent = stage.agent().await;
    let mut session = stage.session().await;
    let probe = json!({"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1});
    let spec = json!({"containers": [{"name": "web", "image": "host", "readinessProbe": probe}]});
    let web = pod("web", spec);
    session.assign(&web, &[]).await;
    session.send(service()).await;
    session.synced().await;
    session.until("web", is_ready).await;
    endpoints(&stage, 1).await;
    stage.runtime.set_exec_result("web", 1, "not well");
    session.until("web", |s| !is_ready(s)).await;
    let told = stage.world.now();
    endpoints(&stage, 0).await;
    assert!(stage.world.now().duration_since(told).as_millis() < 100);
    stage.runtime.set_exec_result("web", 0, "");
    session.until("web", is_ready).await;
    endpoints(&stage, 1).await;
    // A pod that begins to end leaves at once, though it runs through its grace.
    session.assign(&deleted(web), &[]).await;
    endpoints(&stage, 0).await;
}

#[tokio::test(start_paused = true)]
async fn logs_are_carried_through_a_tunnel() {
    let mut stage = Stage::new();
    let _agent = stage.agent().await;
    let mut session = stage.session().await;
    let program = Program::Print {
        stdout: "one\ntwo\nthree\n".to_owned(),
        stderr: String::new(),
        code: 0,
    };
    let spec = json!({"restartPolicy": "Never",
        "containers": [{"name": "web", "image": "host", "command": program.scripted()}]});
    session.assign(&pod("job", spec), &[]).await;
    session
        .until("job", |s| s.phase.as_deref() == Some("Succeeded"))
        .await;
    let logs = |follow| {
        open_tunnel::Request::Logs(LogsTunnel {
            pod_uid: uid("job"),
            container: "web".to_owned(),
            follow,
            previous: false,
            tail_lines: Some(2),
            limit_bytes: None,
            since_time: String::new(),
            timestamps: false,
        })
    };
    for follow in [false, true] {
        let mut tunnel = stage.tunnel(&session, logs(follow)).await;
        assert_eq!(tunnel.text().await, ("two\nthree\n".to_owned(), None));
    }
    let mut unknown = logs(false);
    if let open_tunnel::Request::Logs(logs) = &mut unknown {
        logs.pod_uid = "none".to_owned();
    }
    let mut tunnel = stage.tunnel(&session, unknown).await;
    let (_, last) = tunnel.text().await;
    assert!(
        matches!(last, Some(tunnel_frame::Frame::Error(_))),
        "{last:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn exec_carries_input_output_and_the_exit_code() {
    let mut stage = Stage::new();
    let _agent = stage.agent().await;
    let mut session = stage.session().await;
    session.assign(&pod("web", json!({})), &[]).await;
    session.until("web", is_ready).await;
    let exec = open_tunnel::Request::Exec(ExecTunnel {
        pod_uid: uid("web"),
        container: "web".to_owned(),
        command: Program::Echo.scripted(),
        stdin: true,
        tty: false,
        attach: false,
    });
    let mut tunnel = stage.tunnel(&session, exec).await;
    for frame in [
        tunnel_frame::Frame::Stdin("hello".into()),
        tunnel_frame::Frame::StdinClosed(true),
    ] {
        tunnel
            .down
            .send(Ok(TunnelFrame { frame: Some(frame) }))
            .await
            .unwrap();
    }
    let (text, last) = tunnel.text().await;
    assert_eq!(text, "hello");
    assert_eq!(last, Some(tunnel_frame::Frame::ExitCode(0)));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_ends_with_its_pods_leaves_nothing() {
    let mut stage = Stage::new();
    let agent = stage.agent().await;
    let mut session = stage.session().await;
    session.assign(&pod("web", json!({})), &[]).await;
    session.assign(&pod("db", json!({})), &[]).await;
    session.until("web", is_ready).await;
    agent.shutdown(false, GRACE).await;
    let left = stage.runtime.list().await.unwrap();
    assert!(
        left.sandboxes.is_empty() && left.containers.is_empty(),
        "{left:?}"
    );
    assert!(stage.dataplane.attached().is_empty());
    assert!(ledger_of(stage.directory.path()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_is_left_at_once_and_no_status_is_lost() {
    let mut stage = Stage::new();
    let _agent = stage.agent().await;
    let mut session = stage.session().await;
    let urls = vec!["https://a:6443".to_owned(), "https://b:6443".to_owned()];
    session
        .send(down::Message::Servers(Servers { urls: urls.clone() }))
        .await;
    session.synced().await;
    let web = pod("web", json!({}));
    session.assign(&web, &[]).await;
    // The server takes the report and goes before it has said so.
    session.unheard().await;
    let left = tokio::time::Instant::now();
    session.send_away().await;
    let mut other = stage.session().await;
    assert!(
        left.elapsed() < Duration::from_secs(1),
        "{:?}",
        left.elapsed()
    );
    assert_eq!(stage.lines.turned_away.load(Ordering::SeqCst), 1);
    assert_eq!(*stage.lines.learned.lock(), urls);
    other.assign(&web, &[]).await;
    other.synced().await;
    let status = other.until("web", is_ready).await;
    assert_eq!(restarts(&status), 0);
    assert_eq!(stage.runtime.count(FakeCall::StartContainer), 1);
}

#[tokio::test(start_paused = true)]
async fn servers_that_refuse_are_asked_ever_less_often() {
    let mut stage = Stage::new();
    let _agent = stage.agent().await;
    let began = tokio::time::Instant::now();
    for _ in 0..8 {
        stage.session().await.send_away().await;
    }
    let all = began.elapsed();
    assert!(all > Duration::from_secs(5), "{all:?}");
    assert_eq!(stage.lines.turned_away.load(Ordering::SeqCst), 7);
}
