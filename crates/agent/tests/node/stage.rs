//! A whole agent with a runtime and a data plane in memory, a server that the test plays, and time that stands still
//! until nothing else is left to do.
#![allow(clippy::unwrap_used, missing_docs)]

use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod, PodStatus};
use pontoon_agent::{Agent, Config, Connection, Dial, Memory, NoNames, Reserve};
use pontoon_api::name::NodeName;
use pontoon_client::transport::Trace;
use pontoon_network::cidr::Cidr;
use pontoon_network::fake::FakeDataplane;
use pontoon_runtime::fake::FakeRuntime;
use pontoon_wire::node::v1::nodes_server::{Nodes, NodesServer};
use pontoon_wire::node::v1::{
    Assign, Down, Hello, OpenTunnel, PodReport, StatusAck, Synced, TunnelFrame, Unassign, Up,
    Welcome, down, open_tunnel, tunnel_frame, up,
};
use pontoon_world::manual::SeededEntropy;
use pontoon_world::{Clock, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status, Streaming};

/// Time as tokio has it, which a test can pause.
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + self.0.elapsed()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

type Answers<T> = mpsc::Sender<Result<T, Status>>;

struct FakeNodes {
    sessions: mpsc::Sender<(Streaming<Up>, Answers<Down>)>,
    tunnels: mpsc::Sender<(Streaming<TunnelFrame>, Answers<TunnelFrame>)>,
}

#[tonic::async_trait]
impl Nodes for FakeNodes {
    type SessionStream = ReceiverStream<Result<Down, Status>>;
    type TunnelStream = ReceiverStream<Result<TunnelFrame, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<Up>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (sender, receiver) = mpsc::channel(64);
        let session = (request.into_inner(), sender);
        self.sessions
            .send(session)
            .await
            .map_err(|_| Status::unavailable("over"))?;
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn tunnel(
        &self,
        request: Request<Streaming<TunnelFrame>>,
    ) -> Result<Response<Self::TunnelStream>, Status> {
        let (sender, receiver) = mpsc::channel(64);
        let tunnel = (request.into_inner(), sender);
        self.tunnels
            .send(tunnel)
            .await
            .map_err(|_| Status::unavailable("over"))?;
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// The server's end of one session.
pub struct Session {
    up: Streaming<Up>,
    down: Answers<Down>,
    pub hello: Hello,
    pub events: Vec<Event>,
}

/// The server's end of one tunnel.
pub struct Tunnel {
    pub up: Streaming<TunnelFrame>,
    pub down: Answers<TunnelFrame>,
}

/// Connections to the one server that the test plays, each a new one.
pub struct Lines {
    connections: mpsc::Sender<std::io::Result<tokio::io::DuplexStream>>,
    away: Arc<AtomicBool>,
    /// How often the agent left the server it had.
    pub turned_away: AtomicUsize,
    /// Where it was told that servers are.
    pub learned: parking_lot::Mutex<Vec<String>>,
}

impl Dial for Lines {
    fn connection(&self) -> Connection {
        let (connections, away) = (self.connections.clone(), Arc::clone(&self.away));
        let dial = tower::service_fn(move |_| {
            let (connections, away) = (connections.clone(), Arc::clone(&away));
            async move {
                if away.load(Ordering::SeqCst) {
                    return Err(std::io::Error::other("the server is away"));
                }
                let (ours, theirs) = tokio::io::duplex(1 << 16);
                let sent = connections.send(Ok(theirs)).await;
                sent.map_err(std::io::Error::other)?;
                Ok(TokioIo::new(ours))
            }
        });
        let channel = Endpoint::from_static("http://server").connect_with_connector_lazy(dial);
        InterceptedService::new(channel, Trace)
    }

    fn turn_away(&self) {
        self.turned_away.fetch_add(1, Ordering::SeqCst);
    }

    fn learn(&self, servers: &[String]) {
        *self.learned.lock() = servers.to_vec();
    }
}

pub struct Stage {
    pub directory: tempfile::TempDir,
    pub world: World,
    pub runtime: FakeRuntime,
    pub dataplane: Arc<FakeDataplane>,
    pub server_away: Arc<AtomicBool>,
    pub lines: Arc<Lines>,
    sessions: mpsc::Receiver<(Streaming<Up>, Answers<Down>)>,
    tunnels: mpsc::Receiver<(Streaming<TunnelFrame>, Answers<TunnelFrame>)>,
}

impl Stage {
    pub fn new() -> Self {
        let (sessions_in, sessions) = mpsc::channel(4);
        let (tunnels_in, tunnels) = mpsc::channel(4);
        let nodes = FakeNodes {
            sessions: sessions_in,
            tunnels: tunnels_in,
        };
        let (connections_in, connections) = mpsc::channel(4);
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(NodesServer::new(nodes))
                .serve_with_incoming(ReceiverStream::new(connections)),
        );
        let server_away = Arc::new(AtomicBool::new(false));
        let lines = Lines {
            connections: connections_in,
            away: Arc::clone(&server_away),
            turned_away: AtomicUsize::new(0),
            learned: parking_lot::Mutex::default(),
        };
        let clock = Arc::new(TokioClock(Instant::now()));
        let world = World::new(clock, Arc::new(SeededEntropy::new(1)));
        let now = world.clone();
        let pods = Cidr::new(Ipv4Addr::new(10, 1, 0, 0), 24).unwrap();
        Self {
            directory: tempfile::tempdir().unwrap(),
            runtime: FakeRuntime::new(Arc::new(move || now.now())),
            dataplane: Arc::new(FakeDataplane::new(pods, Ipv4Addr::new(10, 96, 0, 10))),
            world,
            server_away,
            lines: Arc::new(lines),
            sessions,
            tunnels,
        }
    }

    pub async fn agent(&self) -> Agent {
        Agent::start(Config {
            node: NodeName::new("n1"),
            directory: self.directory.path().to_owned(),
            memory: Memory::Kept,
            dial: self.lines.clone(),
            runtimes: vec![Arc::new(self.runtime.clone())],
            dataplane: self.dataplane.clone(),
            names: Arc::new(NoNames),
            world: self.world.clone(),
            labels: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
            reserve: Reserve {
                cpu_millis: 0,
                memory_bytes: 0,
            },
            pods: None,
            resolv_conf: "nameserver 192.0.2.53\n".to_owned(),
        })
        .await
        .unwrap()
    }

    /// Waits for the agent to dial and greets it.
    pub async fn session(&mut self) -> Session {
        let (mut up, down) = self.sessions.recv().await.unwrap();
        let Some(up::Message::Hello(hello)) = up.message().await.unwrap().unwrap().message else {
            panic!("the first message is not Hello");
        };
        let session = Session {
            up,
            down,
            hello,
            events: Vec::new(),
        };
        session
            .send(down::Message::Welcome(Welcome {
                cluster_domain: "cluster.test".to_owned(),
                service_cidr: "10.96.0.0/16".to_owned(),
                pod_cidr: "10.1.0.0/24".to_owned(),
                dns_address: "10.96.0.10".to_owned(),
                heartbeat_millis: 5_000,
            }))
            .await;
        session
    }

    /// Asks for a tunnel and waits for the agent to open it.
    pub async fn tunnel(&mut self, session: &Session, request: open_tunnel::Request) -> Tunnel {
        session
            .send(down::Message::OpenTunnel(OpenTunnel {
                tunnel_id: "t1".to_owned(),
                request: Some(request),
            }))
            .await;
        let (mut up, down) = self.tunnels.recv().await.unwrap();
        let first = up.message().await.unwrap().unwrap().frame;
        assert_eq!(first, Some(tunnel_frame::Frame::Open("t1".to_owned())));
        Tunnel { up, down }
    }
}

impl Session {
    pub async fn send(&self, message: down::Message) {
        let message = Down {
            message: Some(message),
        };
        self.down.send(Ok(message)).await.unwrap();
    }

    /// Ends the session as a server does that is about to end, or cut off.
    pub async fn send_away(self) {
        let away = Status::unavailable("the server is stopping");
        self.down.send(Err(away)).await.unwrap();
    }

    pub async fn assign(&self, pod: &Value, references: &[Value]) {
        let references = references.iter().map(|r| r.to_string().into()).collect();
        self.send(down::Message::Assign(Assign {
            pod: pod.to_string().into(),
            references,
            trace: String::new(),
        }))
        .await;
    }

    pub async fn unassign(&self, name: &str) {
        self.send(down::Message::Unassign(Unassign {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            uid: uid(name),
        }))
        .await;
    }

    pub async fn synced(&self) {
        self.send(down::Message::Synced(Synced {})).await;
    }

    /// The next reports, not acknowledged.
    pub async fn unheard(&mut self) -> Vec<PodReport> {
        loop {
            if let Some(up::Message::Statuses(batch)) =
                self.up.message().await.unwrap().unwrap().message
            {
                return batch.reports;
            }
        }
    }

    /// The next reports, acknowledged; events on the way are kept.
    async fn reports(&mut self) -> Vec<PodReport> {
        loop {
            match self.up.message().await.unwrap().unwrap().message {
                Some(up::Message::Statuses(batch)) => {
                    for report in &batch.reports {
                        let sequence = report.sequence;
                        self.send(down::Message::StatusAck(StatusAck { sequence }))
                            .await;
                    }
                    return batch.reports;
                }
                Some(up::Message::Events(batch)) => {
                    let events = batch.events.iter();
                    self.events
                        .extend(events.map(|json| serde_json::from_slice::<Event>(json).unwrap()));
                }
                _ => {}
            }
        }
    }

    /// Waits for a report of a pod that `wanted` accepts; an hour of the test's time at most.
    pub async fn until(&mut self, name: &str, wanted: impl Fn(&PodStatus) -> bool) -> PodStatus {
        let limit = Duration::from_secs(3600);
        let mut last = None;
        let found = tokio::time::timeout(limit, async {
            loop {
                for report in self.reports().await {
                    let status: PodStatus = serde_json::from_slice(&report.status).unwrap();
                    if report.name == name && wanted(&status) {
                        return status;
                    }
                    last = Some(status);
                }
            }
        })
        .await;
        found.unwrap_or_else(|_| panic!("no such report; the last was {last:#?}"))
    }

    /// Waits for the report that a pod is removed from the node.
    pub async fn until_removed(&mut self, name: &str) -> PodStatus {
        loop {
            for report in self.reports().await {
                if report.name == name && report.removed {
                    return serde_json::from_slice(&report.status).unwrap();
                }
            }
        }
    }
}

impl Tunnel {
    /// Everything up to the end of the stream, as text, with the frame that ended it.
    pub async fn text(&mut self) -> (String, Option<tunnel_frame::Frame>) {
        let mut text = String::new();
        while let Some(frame) = self.up.message().await.unwrap() {
            match frame.frame {
                Some(tunnel_frame::Frame::Stdout(bytes) | tunnel_frame::Frame::Stderr(bytes)) => {
                    text.push_str(std::str::from_utf8(&bytes).unwrap());
                }
                other => return (text, other),
            }
        }
        (text, None)
    }
}

pub fn uid(name: &str) -> String {
    format!("uid-{name}")
}

/// A pod with one container `web`; `extra` is laid over its spec.
pub fn pod(name: &str, extra: Value) -> Value {
    let mut spec = json!({"nodeName": "n1", "restartPolicy": "Always", "containers": [{"name": "web", "image": "host"}]});
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": uid(name)}, "spec": spec})
}

pub fn deleted(mut pod: Value) -> Value {
    pod["metadata"]["deletionTimestamp"] = json!("2027-01-15T08:00:30Z");
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    pod
}

pub fn is_ready(status: &PodStatus) -> bool {
    let conditions = status.conditions.iter().flatten();
    conditions
        .into_iter()
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

pub fn waiting(status: &PodStatus) -> Option<String> {
    let container = status.container_statuses.as_ref()?.first()?;
    container.state.as_ref()?.waiting.as_ref()?.reason.clone()
}

pub fn restarts(status: &PodStatus) -> i32 {
    status.container_statuses.as_ref().unwrap()[0].restart_count
}

/// The pods that an agent's ledger holds.
pub fn ledger_of(directory: &Path) -> Vec<Pod> {
    let (_, contents) = pontoon_agent::ledger::Ledger::open(&directory.join("ledger")).unwrap();
    contents.pods.into_iter().map(|entry| entry.pod).collect()
}
