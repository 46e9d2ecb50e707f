//! The node's session with a server: assignments and services come down, statuses, events and heartbeats go up.
//!
//! It is dialled again whenever it is lost, at another server: at once when the session had stood, with a wait that doubles
//! when servers refuse. Meanwhile everything on the node goes on, and no report is lost: what was not acknowledged is sent
//! again. A session and its tunnels share one connection, so that they are at the same server.

use crate::context::Context;
use crate::ledger::{ServiceEntry, Settings};
use crate::limits::{
    HEARTBEAT_DEFAULT, RECONNECT_FIRST, RECONNECT_MAX, SESSION_STOOD, SESSION_UP_COUNT,
    WELCOME_TIMEOUT,
};
use crate::metrics;
use crate::node;
use crate::pods::Pods;
use crate::tunnel::Tunnels;
use k8s_openapi::api::core::v1::NodeCondition;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use pontoon_client::Transport;
use pontoon_wire::MAX_MESSAGE_BYTES;
use pontoon_wire::node::v1::nodes_client::NodesClient;
use pontoon_wire::node::v1::{Down, Heartbeat, Hello, ServiceUpdate, Up, Welcome, down, up};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

pub use pontoon_client::transport::Connection;

/// How servers are reached.
pub trait Dial: Send + Sync {
    /// A connection of its own, made when first used: to the server that was reached last, or else to another.
    fn connection(&self) -> Connection;

    /// The server that was reached last is of no use at present: the next connection begins with another.
    fn turn_away(&self);

    /// Where the cluster says its servers are.
    fn learn(&self, servers: &[String]);
}

impl Dial for Transport {
    fn connection(&self) -> Connection {
        self.separate()
    }

    fn turn_away(&self) {
        Self::turn_away(self);
    }

    fn learn(&self, servers: &[String]) {
        Self::learn(self, servers);
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("the server refused or dropped the session: {}", .0.message())]
    Status(#[from] tonic::Status),
    #[error("the server ended the session")]
    Ended,
    #[error("the server did not greet in time")]
    Silent,
    #[error("the server's first message was no greeting")]
    NoGreeting,
}

pub(crate) struct Session {
    pub(crate) context: Arc<Context>,
    pub(crate) pods: Arc<Pods>,
    pub(crate) tunnels: Arc<Tunnels>,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Whether a session is up and everything has been named: for readiness of the node and for tests.
    pub(crate) synced: watch::Sender<bool>,
}

impl Session {
    /// Keeps a session for as long as the agent lives.
    pub(crate) async fn run(self) {
        let mut wait = RECONNECT_FIRST;
        loop {
            let began = self.context.world.clock().monotonic();
            let error = match self.once().await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            self.synced.send_replace(false);
            self.dial.turn_away();
            let lasted = self.context.world.clock().monotonic().saturating_sub(began);
            if lasted > SESSION_STOOD {
                wait = RECONNECT_FIRST;
            }
            tracing::warn!(%error, ?wait, "no session with a server; pods and services go on");
            tokio::time::sleep(self.context.world.entropy().jitter(wait)).await;
            wait = (wait * 2).min(RECONNECT_MAX);
        }
    }

    async fn once(&self) -> Result<std::convert::Infallible, SessionError> {
        let now = self.context.world.now();
        let conditions = node::conditions(&self.context, &[], now).await;
        let (up, requests) = mpsc::channel(SESSION_UP_COUNT);
        let hello = self.hello(conditions.clone()).await;
        // The channel is empty and has room.
        let _ = up.try_send(Up {
            message: Some(up::Message::Hello(hello)),
        });
        let connection = self.dial.connection();
        let mut client = NodesClient::new(connection.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let answer = client.session(ReceiverStream::new(requests));
        let answer = tokio::time::timeout(WELCOME_TIMEOUT, answer).await;
        let mut down = answer.map_err(|_| SessionError::Silent)??.into_inner();
        let heartbeat = self.greeted(&mut down).await?;
        let reading = self.read(&mut down, &connection);
        let sending = self.send(up, heartbeat, conditions);
        tokio::select! {
            error = reading => Err(error),
            error = sending => Err(error),
        }
    }

    async fn hello(&self, conditions: Vec<NodeCondition>) -> Hello {
        let node = node::object(&self.context, &self.labels, conditions).await;
        let node = serde_json::to_vec(&node).expect("Kubernetes' types can always be written");
        Hello {
            node_name: self.context.node.as_str().to_owned(),
            node: node.into(),
            handlers: self.context.runtimes.keys().cloned().collect(),
        }
    }

    async fn greeted(&self, down: &mut Streaming<Down>) -> Result<Duration, SessionError> {
        let first = tokio::time::timeout(WELCOME_TIMEOUT, down.message()).await;
        let first = first.map_err(|_| SessionError::Silent)??;
        let Some(down::Message::Welcome(welcome)) = first.ok_or(SessionError::Ended)?.message
        else {
            return Err(SessionError::NoGreeting);
        };
        metrics::session_welcomed();
        tracing::info!(pod_cidr = welcome.pod_cidr, "a server welcomed this node");
        let heartbeat = match welcome.heartbeat_millis {
            0 => HEARTBEAT_DEFAULT,
            millis => Duration::from_millis(u64::from(millis)),
        };
        self.settle(welcome);
        self.pods.begin_session();
        self.context.services.begin_session();
        self.context.reporter.resend();
        Ok(heartbeat)
    }

    fn settle(&self, welcome: Welcome) {
        let settings = Settings {
            cluster_domain: welcome.cluster_domain,
            service_cidr: welcome.service_cidr,
            pod_cidr: welcome.pod_cidr,
            dns_address: welcome.dns_address,
        };
        let mut known = self.context.settings.write();
        if known.as_ref() != Some(&settings) {
            self.context.ledger.put_settings(&settings);
            *known = Some(settings);
        }
    }

    async fn read(&self, down: &mut Streaming<Down>, connection: &Connection) -> SessionError {
        loop {
            match down.message().await {
                Ok(Some(message)) => self.take(message, connection).await,
                Ok(None) => return SessionError::Ended,
                Err(status) => return SessionError::Status(status),
            }
        }
    }

    async fn take(&self, down: Down, connection: &Connection) {
        match down.message {
            Some(down::Message::Assign(assign)) => {
                self.pods.assign(assign).await;
            }
            Some(down::Message::Unassign(unassign)) => self.pods.unassign(&unassign.uid).await,
            Some(down::Message::Synced(_)) => {
                self.pods.synced().await;
                self.context.services.synced(&self.context.ledger);
                self.synced.send_replace(true);
            }
            Some(down::Message::Service(update)) => self.service(update),
            Some(down::Message::OpenTunnel(open)) => {
                Arc::clone(&self.tunnels).open(open, connection.clone());
            }
            Some(down::Message::StatusAck(ack)) => {
                self.context.reporter.acknowledged(ack.sequence);
            }
            Some(down::Message::Servers(servers)) => self.dial.learn(&servers.urls),
            // A second greeting says nothing new; DNS hosts are reserved.
            Some(down::Message::Welcome(_) | down::Message::DnsHost(_)) | None => {}
        }
    }

    fn service(&self, update: ServiceUpdate) {
        let (context, namespace, name) = (&self.context, &update.namespace, &update.name);
        if update.deleted {
            context.services.remove(namespace, name);
            context.ledger.remove_service(namespace, name);
            return;
        }
        let service = serde_json::from_slice(&update.service);
        let slices = update
            .slices
            .iter()
            .map(|slice| serde_json::from_slice(slice));
        let slices: Result<Vec<EndpointSlice>, _> = slices.collect();
        match (service, slices) {
            (Ok(service), Ok(slices)) => {
                context.services.upsert(service, slices);
                let raw = |json: &[u8]| serde_json::from_slice::<Box<RawValue>>(json).ok();
                if let Some(service) = raw(&update.service) {
                    let slices = update
                        .slices
                        .iter()
                        .filter_map(|slice| raw(slice))
                        .collect();
                    let entry = ServiceEntry { service, slices };
                    context.ledger.put_service(namespace, name, &entry);
                }
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(namespace, name, %error, "a service cannot be read and is passed over");
            }
        }
    }

    async fn send(
        &self,
        up: mpsc::Sender<Up>,
        heartbeat: Duration,
        mut conditions: Vec<NodeCondition>,
    ) -> SessionError {
        let reporter = &self.context.reporter;
        let mut ticks = tokio::time::interval(heartbeat);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let messages = tokio::select! {
                biased;
                () = reporter.ready() => {
                    let statuses = reporter.take_statuses().map(up::Message::Statuses);
                    let events = reporter.take_events().map(up::Message::Events);
                    [statuses, events]
                }
                _ = ticks.tick() => [Some(self.beat(&mut conditions).await), None],
            };
            for message in messages.into_iter().flatten() {
                let message = Up {
                    message: Some(message),
                };
                if up.send(message).await.is_err() {
                    return SessionError::Ended;
                }
            }
        }
    }

    async fn beat(&self, conditions: &mut Vec<NodeCondition>) -> up::Message {
        let now = self.context.world.now();
        let present = node::conditions(&self.context, conditions, now).await;
        let changed = !node::same(conditions, &present);
        *conditions = present;
        let json = if changed {
            serde_json::to_vec(conditions).expect("Kubernetes' types can always be written")
        } else {
            Vec::new()
        };
        up::Message::Heartbeat(Heartbeat {
            conditions: json.into(),
        })
    }
}
