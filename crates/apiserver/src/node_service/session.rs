//! One agent's session, from Hello to its end.

use super::feed::NodeFeed;
use super::{Handle, Inner, NodeService, down};
use crate::limits::{HEARTBEAT, SESSION_MESSAGES, TUNNEL_OPEN};
use crate::metrics::Open;
use bytes::Bytes;
use pontoon_identity::Identity;
use pontoon_wire::node::v1 as wire;
use pontoon_wire::node::v1::nodes_server::Nodes;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use wire::down::Message as Down;
use wire::up::Message as Up;

type Sender = mpsc::Sender<Result<wire::Down, Status>>;

/// The node whose agent sends a request.
fn node_of<T>(request: &Request<T>) -> Result<String, Status> {
    let identity = request
        .extensions()
        .get::<Identity>()
        .ok_or_else(|| Status::unauthenticated("Unauthorized"))?;
    let node = identity.node().ok_or_else(|| {
        Status::permission_denied(format!(
            "user {:?} is not a node; only agents open sessions",
            identity.user
        ))
    })?;
    Ok(node.as_str().to_owned())
}

#[tonic::async_trait]
impl Nodes for NodeService {
    type SessionStream = ReceiverStream<Result<wire::Down, Status>>;
    type TunnelStream = ReceiverStream<Result<wire::TunnelFrame, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<wire::Up>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let node = node_of(&request)?;
        let mut up = request.into_inner();
        let hello = tokio::time::timeout(TUNNEL_OPEN, up.message())
            .await
            .map_err(|_| Status::deadline_exceeded("Hello did not come"))??;
        let Some(Up::Hello(hello)) = hello.and_then(|up| up.message) else {
            return Err(Status::invalid_argument("a session begins with Hello"));
        };
        if hello.node_name != node {
            return Err(Status::permission_denied(format!(
                "the certificate is that of node {node:?}, not of {:?}",
                hello.node_name
            )));
        }
        let sent: Value = serde_json::from_slice(&hello.node).map_err(|error| {
            Status::invalid_argument(format!("Hello's Node cannot be read: {error}"))
        })?;
        if *self.inner.cut_off.borrow() {
            return Err(Status::unavailable(
                "this server does not reach the cluster's leader",
            ));
        }
        let pod_cidr = self.inner.register(&node, &sent).await?;
        let (sender, receiver) = mpsc::channel(SESSION_MESSAGES);
        let welcome = self.inner.welcome(pod_cidr);
        sender
            .send(Ok(down(Down::Welcome(welcome))))
            .await
            .map_err(|_| Status::cancelled("the agent went"))?;
        let conditions = sent["status"]["conditions"].to_string();
        let agent = self.inner.clone().run(node, up, sender, conditions.into());
        tokio::spawn(agent);
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn tunnel(
        &self,
        request: Request<Streaming<wire::TunnelFrame>>,
    ) -> Result<Response<Self::TunnelStream>, Status> {
        let node = node_of(&request)?;
        let stream = self
            .inner
            .clone()
            .accept_tunnel(node, request.into_inner())
            .await?;
        Ok(Response::new(stream))
    }
}

impl Inner {
    fn welcome(&self, pod_cidr: String) -> wire::Welcome {
        wire::Welcome {
            cluster_domain: self.cluster_domain.clone(),
            service_cidr: self.verbs.addresses.cidr(),
            pod_cidr,
            dns_address: self.verbs.addresses.dns_address().to_string(),
            heartbeat_millis: u32::try_from(HEARTBEAT.as_millis()).unwrap_or(u32::MAX),
        }
    }

    /// Lives as long as the session: until the agent goes, a newer session comes, or the server stops.
    async fn run(
        self: Arc<Self>,
        node: String,
        up: Streaming<wire::Up>,
        sender: Sender,
        conditions: Bytes,
    ) {
        let ended = CancellationToken::new();
        let handle = Handle {
            down: sender.clone(),
            ended: ended.clone(),
        };
        if let Some(older) = self.sessions.lock().insert(node.clone(), handle) {
            older.ended.cancel();
        }
        let _open = Open::session();
        self.heard(&node);
        tracing::info!(node, "the node's agent is connected");
        let why = tokio::select! {
            why = self.receive(&node, up, &sender, conditions) => why,
            why = self.follow(&node, &sender) => why,
            () = ended.cancelled() => Status::aborted("a newer session of this node began"),
            () = self.stopping.cancelled() => Status::unavailable("the server is stopping"),
            () = self.is_cut_off() => Status::unavailable("this server does not reach the cluster's leader"),
        };
        tracing::info!(
            node,
            why = why.message(),
            "the node's agent is disconnected"
        );
        if !ended.is_cancelled() {
            self.sessions.lock().remove(&node);
        }
        // A full queue means that nobody reads: then the end of the stream says enough.
        let _ = sender.try_send(Err(why));
    }

    fn heard(&self, node: &str) {
        self.liveness
            .beat(node, self.verbs.world.clock().monotonic());
    }

    /// Takes what the agent sends.
    async fn receive(
        &self,
        node: &str,
        mut up: Streaming<wire::Up>,
        sender: &Sender,
        mut conditions: Bytes,
    ) -> Status {
        loop {
            let message = match up.message().await {
                Ok(Some(message)) => message.message,
                Ok(None) => return Status::ok("the agent ended the session"),
                Err(status) => return status,
            };
            self.heard(node);
            if let Err(status) = self.take(node, message, sender, &mut conditions).await {
                return status;
            }
        }
    }

    async fn take(
        &self,
        node: &str,
        message: Option<Up>,
        sender: &Sender,
        conditions: &mut Bytes,
    ) -> Result<(), Status> {
        match message {
            Some(Up::Heartbeat(heartbeat))
                if heartbeat.conditions.is_empty() && !self.is_doubted(node) => {}
            Some(Up::Heartbeat(heartbeat)) => {
                // Without any nothing changed for the agent; but who took the node for silent is told that it is not.
                if !heartbeat.conditions.is_empty() {
                    *conditions = heartbeat.conditions;
                }
                self.conditions(node, conditions).await?;
            }
            Some(Up::Statuses(batch)) => {
                self.write_reports(node, &batch.reports).await?;
                for report in &batch.reports {
                    let ack = Down::StatusAck(wire::StatusAck {
                        sequence: report.sequence,
                    });
                    sender
                        .send(Ok(down(ack)))
                        .await
                        .map_err(|_| Status::cancelled("the agent went"))?;
                }
            }
            Some(Up::Events(batch)) => self.write_events(node, &batch.events).await,
            Some(Up::Hello(_)) => return Err(Status::invalid_argument("Hello comes once")),
            None => {}
        }
        Ok(())
    }

    /// Sends what concerns the node: the present, then changes as they are applied here.
    async fn follow(&self, node: &str, sender: &Sender) -> Status {
        let view = match self.verbs.replica.read().await {
            Ok(view) => view,
            Err(error) => return Status::unavailable(error.to_string()),
        };
        let mut watch = match self.verbs.replica.watch(view.revision()) {
            Ok(watch) => watch,
            Err(error) => return Status::unavailable(error.to_string()),
        };
        let mut feed = NodeFeed::new(node);
        let mut messages = feed.present(&view);
        drop(view);
        loop {
            for message in messages.drain(..) {
                if sender.send(Ok(message)).await.is_err() {
                    return Status::cancelled("the agent went");
                }
            }
            // An agent too slow for the feed gets everything anew in its next session.
            let sets = match watch.next().await {
                Ok(sets) => sets,
                Err(error) => return Status::out_of_range(error.to_string()),
            };
            let view = self.verbs.replica.view();
            for set in sets {
                messages.extend(feed.changes(&view, &set));
            }
        }
    }
}
