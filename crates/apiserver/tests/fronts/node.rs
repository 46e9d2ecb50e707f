//! Agents' sessions: what goes down, what comes up, and tunnels.

use crate::suite::front::{Front as _, Place};
use crate::suite::grpc::{Grpc, channel};
use crate::suite::rest::Rest;
use crate::suite::{admin, server_on};
use pontoon_apiserver::ApiServer;
use pontoon_apiserver::authenticate::agent;
use pontoon_state::Solo;
use pontoon_wire::node::v1 as wire;
use pontoon_wire::node::v1::nodes_client::NodesClient;
use pontoon_wire::pontoon::v1 as client;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use wire::down::Message as Down;
use wire::tunnel_frame::Frame;
use wire::up::Message as Up;

pub struct Agent {
    nodes: NodesClient<Channel>,
    up: mpsc::Sender<wire::Up>,
    pub down: Streaming<wire::Down>,
    welcome: wire::Welcome,
}

fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {
            "capacity": {"cpu": "2", "memory": "1Gi", "pods": "110"}, "allocatable": {"cpu": "2", "memory": "1Gi", "pods": "110"},
            "addresses": [{"type": "InternalIP", "address": "192.0.2.10"}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "AgentReady", "message": "", "lastHeartbeatTime": null, "lastTransitionTime": null}],
        },
    })
}

fn hello(name: &str) -> wire::Up {
    let hello = wire::Hello {
        node_name: name.into(),
        node: node(name).to_string().into(),
        handlers: vec!["process".into()],
    };
    wire::Up {
        message: Some(Up::Hello(hello)),
    }
}

impl Agent {
    pub async fn start(server: &Arc<ApiServer>, name: &str) -> Self {
        Self::try_start(server, name).await.unwrap()
    }

    pub async fn try_start(server: &Arc<ApiServer>, name: &str) -> Result<Self, tonic::Status> {
        let mut nodes = NodesClient::new(channel(server.clone(), Some(agent(name))));
        let (up, receiver) = mpsc::channel(16);
        up.send(hello(name)).await.unwrap();
        let answer = nodes.session(ReceiverStream::new(receiver)).await?;
        let mut down = answer.into_inner();
        let Some(Down::Welcome(welcome)) = down.message().await?.unwrap().message else {
            panic!("no Welcome")
        };
        Ok(Self {
            nodes,
            up,
            down,
            welcome,
        })
    }

    async fn next(&mut self) -> Down {
        let next = tokio::time::timeout(Duration::from_secs(10), self.down.message()).await;
        next.expect("a message comes")
            .unwrap()
            .expect("the session goes on")
            .message
            .unwrap()
    }

    /// Reads until everything present was sent; gives the assigned pods and the services.
    pub async fn synced(&mut self) -> (Vec<Value>, Vec<String>) {
        let (mut pods, mut services) = (Vec::new(), Vec::new());
        loop {
            match self.next().await {
                Down::Synced(_) => return (pods, services),
                Down::Assign(assign) => pods.push(serde_json::from_slice(&assign.pod).unwrap()),
                Down::Service(service) => {
                    services.push(format!("{}/{}", service.namespace, service.name))
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn send(&self, message: Up) {
        self.up
            .send(wire::Up {
                message: Some(message),
            })
            .await
            .unwrap();
    }

    async fn report(&mut self, pod: &Value, status: Value, removed: bool) {
        let text = |member: &str| pod["metadata"][member].as_str().unwrap().to_owned();
        let report = wire::PodReport {
            namespace: text("namespace"),
            name: text("name"),
            uid: text("uid"),
            status: status.to_string().into(),
            removed,
            sequence: 7,
        };
        self.send(Up::Statuses(wire::StatusBatch {
            reports: vec![report],
        }))
        .await;
    }

    async fn acked(&mut self) {
        loop {
            if let Down::StatusAck(ack) = self.next().await {
                assert_eq!(ack.sequence, 7);
                return;
            }
        }
    }
}

fn pods() -> Place {
    Place::core("pods", "default")
}

fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "c", "image": "host", "command": ["true"], "envFrom": [{"configMapRef": {"name": "settings"}}]}],
        },
    })
}

async fn cluster() -> (Arc<ApiServer>, Grpc) {
    let server = server_on(Solo::new()).await;
    let front = Grpc::new(server.clone(), admin());
    (server, front)
}

#[tokio::test]
async fn a_session_brings_the_nodes_pods_and_every_service() {
    let (server, front) = cluster().await;
    front
        .create(&pods(), "", "", &pod("mine", "n1"), false)
        .await
        .unwrap();
    front
        .create(&pods(), "", "", &pod("other", "n2"), false)
        .await
        .unwrap();
    let mut agent = Agent::start(&server, "n1").await;
    assert_eq!(agent.welcome.dns_address, "10.96.0.10");
    assert_eq!(agent.welcome.pod_cidr, "10.244.0.0/24");
    let (assigned, services) = agent.synced().await;
    assert_eq!(assigned.len(), 1);
    assert_eq!(assigned[0]["metadata"]["name"], "mine");
    assert_eq!(services, ["default/kubernetes"]);
    let stored = front
        .get(&Place::core("nodes", ""), "n1", "")
        .await
        .unwrap();
    assert_eq!(stored["spec"]["podCIDR"], "10.244.0.0/24");
    assert_eq!(stored["status"]["capacity"]["cpu"], "2");
    assert_eq!(stored["status"]["conditions"][0]["type"], "Ready");
    assert!(server.liveness().last("n1").is_some());
    let mut second = Agent::start(&server, "n2").await;
    assert_eq!(second.welcome.pod_cidr, "10.244.1.0/24");
    assert_eq!(second.synced().await.0.len(), 1);

    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}});
    front
        .create(&Place::core("configmaps", "default"), "", "", &map, false)
        .await
        .unwrap();
    let Down::Assign(again) = agent.next().await else {
        panic!("no Assign after a reference came")
    };
    let reference: Value = serde_json::from_slice(&again.references[0]).unwrap();
    assert_eq!(reference["data"]["a"], "b");
    front
        .delete(&pods(), "mine", &json!({"gracePeriodSeconds": 0}))
        .await
        .unwrap();
    let Down::Unassign(gone) = agent.next().await else {
        panic!("no Unassign")
    };
    assert_eq!(gone.name, "mine");
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": [], "ports": [],
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
    });
    let slices = Place {
        group: "discovery.k8s.io",
        version: "v1",
        resource: "endpointslices",
        namespace: "default".into(),
    };
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}});
    front
        .create(&Place::core("services", "default"), "", "", &service, false)
        .await
        .unwrap();
    front.create(&slices, "", "", &slice, false).await.unwrap();
    front
        .delete(&Place::core("services", "default"), "web", &json!({}))
        .await
        .unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let Down::Service(update) = agent.next().await else {
            panic!("no ServiceUpdate")
        };
        seen.push(update.deleted);
    }
    assert!(seen[2], "{seen:?}");
}

#[tokio::test]
async fn statuses_are_written_and_a_removed_pod_goes() {
    let (server, front) = cluster().await;
    let created = front
        .create(&pods(), "", "", &pod("p", "n1"), false)
        .await
        .unwrap();
    let mut agent = Agent::start(&server, "n1").await;
    agent.synced().await;
    agent
        .report(
            &created,
            json!({"phase": "Running", "podIP": "10.244.0.2"}),
            false,
        )
        .await;
    agent.acked().await;
    let running = front.get(&pods(), "p", "").await.unwrap();
    assert_eq!(
        (&running["status"]["phase"], &running["status"]["podIP"]),
        (&json!("Running"), &json!("10.244.0.2"))
    );
    assert_eq!(
        running["status"]["qosClass"], created["status"]["qosClass"],
        "what the server set stays"
    );
    let mut impostor = created.clone();
    impostor["metadata"]["uid"] = json!("another");
    agent
        .report(&impostor, json!({"phase": "Failed"}), false)
        .await;
    agent.acked().await;
    assert_eq!(
        front.get(&pods(), "p", "").await.unwrap()["status"]["phase"],
        "Running"
    );
    front.delete(&pods(), "p", &json!({})).await.unwrap();
    agent
        .report(&created, json!({"phase": "Succeeded"}), true)
        .await;
    agent.acked().await;
    assert_eq!(front.get(&pods(), "p", "").await.unwrap_err().code(), 404);
}

#[tokio::test]
async fn a_node_reports_only_on_its_own_pods_and_speaks_only_for_itself() {
    let (server, front) = cluster().await;
    let created = front
        .create(&pods(), "", "", &pod("p", "n2"), false)
        .await
        .unwrap();
    let mut intruder = Agent::start(&server, "n1").await;
    intruder.synced().await;
    intruder
        .report(&created, json!({"phase": "Failed"}), true)
        .await;
    intruder.acked().await;
    assert_eq!(
        front.get(&pods(), "p", "").await.unwrap()["status"]["phase"],
        "Pending"
    );
    let mut nodes = NodesClient::new(channel(server.clone(), Some(agent("n1"))));
    let refused = nodes
        .session(tokio_stream::iter([hello("n2")]))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut nodes = NodesClient::new(channel(server, Some(admin())));
    assert_eq!(
        nodes
            .session(tokio_stream::iter([hello("n1")]))
            .await
            .unwrap_err()
            .code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn conditions_change_by_heartbeat_and_events_count_up() {
    let (server, front) = cluster().await;
    let created = front
        .create(&pods(), "", "", &pod("p", "n1"), false)
        .await
        .unwrap();
    let mut agent = Agent::start(&server, "n1").await;
    agent.synced().await;
    let pressure = json!([{"type": "DiskPressure", "status": "True", "reason": "Full", "message": "", "lastHeartbeatTime": null, "lastTransitionTime": null}]);
    agent
        .send(Up::Heartbeat(wire::Heartbeat {
            conditions: pressure.to_string().into(),
        }))
        .await;
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "type": "Normal", "reason": "Started", "message": "Started container c",
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p", "uid": created["metadata"]["uid"]},
        "source": {"component": "agent"},
    });
    let events = vec![bytes::Bytes::from(event.to_string()); 3];
    agent.send(Up::Events(wire::EventBatch { events })).await;
    // Messages are taken in order: the ack of a later one says that these are done.
    agent
        .report(&created, json!({"phase": "Running"}), false)
        .await;
    agent.acked().await;
    let stored = front
        .get(&Place::core("nodes", ""), "n1", "")
        .await
        .unwrap();
    let kinds: Vec<&str> = stored["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["Ready", "DiskPressure"]);
    let events = front
        .list(&Place::core("events", "default"), &Default::default())
        .await
        .unwrap()
        .items;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["count"], 3);
}

#[tokio::test]
async fn a_newer_session_ends_the_older() {
    let (server, _) = cluster().await;
    let mut older = Agent::start(&server, "n1").await;
    older.synced().await;
    let mut newer = Agent::start(&server, "n1").await;
    newer.synced().await;
    let ended = loop {
        match older.down.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Aborted);
}

/// Answers every tunnel: a log with lines, a command with its input and exit code 3.
async fn answer_tunnels(mut agent: Agent) {
    while let Ok(Some(message)) = agent.down.message().await {
        let Some(Down::OpenTunnel(open)) = message.message else {
            continue;
        };
        let (send, frames) = mpsc::channel(16);
        let frame = |frame| wire::TunnelFrame { frame: Some(frame) };
        send.send(frame(Frame::Open(open.tunnel_id))).await.unwrap();
        let mut input = agent
            .nodes
            .tunnel(ReceiverStream::new(frames))
            .await
            .unwrap()
            .into_inner();
        match open.request.unwrap() {
            wire::open_tunnel::Request::Logs(logs) if logs.previous => {
                send.send(frame(Frame::Error(
                    "previous terminated container \"c\" not found".into(),
                )))
                .await
                .unwrap();
            }
            wire::open_tunnel::Request::Logs(logs) => {
                let text = format!("{} {}\n", logs.container, logs.tail_lines.unwrap_or(-1));
                send.send(frame(Frame::Stdout(text.into()))).await.unwrap();
                send.send(frame(Frame::ExitCode(0))).await.unwrap();
            }
            wire::open_tunnel::Request::Exec(exec) => {
                send.send(frame(Frame::Stdout(exec.command.join(" ").into())))
                    .await
                    .unwrap();
                while let Some(next) = input.message().await.unwrap() {
                    match next.frame.unwrap() {
                        Frame::Stdin(bytes) => {
                            send.send(frame(Frame::Stderr(bytes))).await.unwrap()
                        }
                        Frame::StdinClosed(_) => break,
                        other => panic!("{other:?}"),
                    }
                }
                send.send(frame(Frame::ExitCode(3))).await.unwrap();
            }
            wire::open_tunnel::Request::Forward(_) => {
                while let Some(next) = input.message().await.unwrap() {
                    match next.frame.unwrap() {
                        Frame::Stdin(bytes) => {
                            send.send(frame(Frame::Stdout(bytes))).await.unwrap()
                        }
                        _ => break,
                    }
                }
            }
        }
        // Dropping the answer before the server has read everything would reset the stream.
        drop(send);
        while let Ok(Some(_)) = input.message().await {}
    }
}

#[tokio::test]
async fn logs_exec_and_port_forward_go_through_the_nodes_session() {
    let (server, front) = cluster().await;
    pods_are_reached(&server, &server, &front).await;
}

/// Asks one server for pods whose node has its session with another, or with the same.
pub async fn pods_are_reached(asked: &Arc<ApiServer>, holder: &Arc<ApiServer>, front: &Grpc) {
    front
        .create(&pods(), "", "", &pod("p", "n1"), false)
        .await
        .unwrap();
    front
        .create(&pods(), "", "", &pod("lost", "n9"), false)
        .await
        .unwrap();
    let mut agent = Agent::start(holder, "n1").await;
    agent.synced().await;
    let agent = tokio::spawn(answer_tunnels(agent));
    let rest = Rest::new(asked.clone(), admin());
    let path = "/api/v1/namespaces/default/pods";
    let logs = rest.get(&format!("{path}/p/log?tailLines=5")).await;
    assert_eq!((logs.code, logs.text.as_str()), (200, "c 5\n"));
    let previous = rest.get(&format!("{path}/p/log?previous=true")).await;
    assert_eq!(previous.code, 400, "{}", previous.text);
    assert_eq!(
        rest.get(&format!("{path}/p/log?container=nope")).await.code,
        400
    );
    assert_eq!(rest.get(&format!("{path}/lost/log")).await.code, 503);
    let exec = rest.get(&format!("{path}/p/exec?command=ls")).await;
    assert_eq!(exec.code, 501, "{}", exec.text);

    let mut pods = client::pods_client::PodsClient::new(channel(asked.clone(), Some(admin())));
    let start = client::ExecStart {
        pod: "p".into(),
        command: vec!["echo".into(), "hi".into()],
        stdin: true,
        ..Default::default()
    };
    let inputs = [
        client::exec_input::Input::Start(start),
        client::exec_input::Input::Stdin("typed".into()),
        client::exec_input::Input::StdinClosed(true),
    ];
    let inputs = inputs.map(|input| client::ExecInput { input: Some(input) });
    let mut output = pods
        .exec(tokio_stream::iter(inputs))
        .await
        .unwrap()
        .into_inner();
    let mut seen = Vec::new();
    while let Some(next) = output.message().await.unwrap() {
        seen.push(next.output.unwrap());
    }
    use client::exec_output::Output;
    assert_eq!(
        seen,
        [
            Output::Stdout("echo hi".into()),
            Output::Stderr("typed".into()),
            Output::ExitCode(3)
        ]
    );

    let start = client::ForwardStart {
        namespace: "default".into(),
        pod: "p".into(),
        port: 80,
    };
    let inputs = [
        client::forward_data::Data::Start(start),
        client::forward_data::Data::Bytes("ping".into()),
        client::forward_data::Data::Closed(true),
    ];
    let inputs = inputs.map(|data| client::ForwardData { data: Some(data) });
    let mut output = pods
        .port_forward(tokio_stream::iter(inputs))
        .await
        .unwrap()
        .into_inner();
    let first = output.message().await.unwrap().unwrap();
    assert_eq!(
        first.data,
        Some(client::forward_data::Data::Bytes("ping".into()))
    );
    agent.abort();
}

#[tokio::test]
async fn a_node_that_was_taken_for_silent_is_ready_again_with_its_next_heartbeat() {
    let (server, front) = cluster().await;
    let mut agent = Agent::start(&server, "n1").await;
    agent.synced().await;
    let nodes = Place::core("nodes", "");
    let mut stored = front.get(&nodes, "n1", "").await.unwrap();
    stored["status"]["conditions"][0]["status"] = json!("Unknown");
    front.update(&nodes, "n1", "status", &stored).await.unwrap();
    agent.send(Up::Heartbeat(wire::Heartbeat::default())).await;
    // Messages are taken in order: the answer to a later one says that these are done.
    let created = front
        .create(&pods(), "", "", &pod("p", "n1"), false)
        .await
        .unwrap();
    agent
        .report(&created, json!({"phase": "Running"}), false)
        .await;
    agent.acked().await;
    let stored = front.get(&nodes, "n1", "").await.unwrap();
    assert_eq!(stored["status"]["conditions"][0]["status"], "True");
}
