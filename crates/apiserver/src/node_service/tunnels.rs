//! Tunnels: streams that an agent opens on request, to carry the bytes of logs, exec or port-forward.

use super::{Inner, down};
use crate::error::VerbError;
use crate::limits::{TUNNEL_FRAMES, TUNNEL_OPEN, TUNNELS_PER_NODE};
use futures::StreamExt as _;
use parking_lot::Mutex;
use pontoon_wire::node::v1 as wire;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use wire::down::Message;
use wire::open_tunnel::Request;

/// One end of an open tunnel.
#[derive(Debug)]
pub struct Tunnel {
    /// Frames to the agent; full when the agent is slow.
    pub send: mpsc::Sender<wire::TunnelFrame>,
    /// Frames from the agent; ends when the tunnel does.
    pub receive: mpsc::Receiver<wire::TunnelFrame>,
    place: Place,
}

impl Tunnel {
    pub(super) const fn new(
        send: mpsc::Sender<wire::TunnelFrame>,
        receive: mpsc::Receiver<wire::TunnelFrame>,
        place: Place,
    ) -> Self {
        Self {
            send,
            receive,
            place,
        }
    }

    /// The two directions, and what counts the tunnel as open while it is kept.
    pub(crate) fn split(
        self,
    ) -> (
        mpsc::Sender<wire::TunnelFrame>,
        mpsc::Receiver<wire::TunnelFrame>,
        impl Drop + Send,
    ) {
        (self.send, self.receive, self.place)
    }
}

/// Tunnels that wait for their agent, and how many each node has.
#[derive(Debug, Default)]
pub(super) struct Registry {
    waiting: Mutex<HashMap<String, Waiting>>,
    open: Arc<Mutex<HashMap<String, usize>>>,
}

#[derive(Debug)]
struct Waiting {
    node: String,
    opened: oneshot::Sender<(
        mpsc::Sender<wire::TunnelFrame>,
        mpsc::Receiver<wire::TunnelFrame>,
    )>,
}

/// One of a node's tunnels, counted until dropped.
#[derive(Debug)]
pub(super) struct Place {
    node: String,
    open: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Some(count) = open.get_mut(&self.node) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.node);
            }
        }
    }
}

impl Registry {
    pub(super) fn place(&self, node: &str) -> Result<Place, VerbError> {
        let mut open = self.open.lock();
        let count = open.entry(node.to_owned()).or_insert(0);
        if *count >= TUNNELS_PER_NODE {
            return Err(VerbError::TooManyRequests {
                message: format!(
                    "node {node} has {TUNNELS_PER_NODE} streams open, please try again later"
                ),
                retry_after: crate::limits::RETRY_AFTER,
            });
        }
        *count += 1;
        Ok(Place {
            node: node.to_owned(),
            open: self.open.clone(),
        })
    }
}

impl Inner {
    /// Opens a tunnel to a node, wherever in the cluster it has its session.
    ///
    /// # Errors
    /// 503 when the node has no session, 504 when its agent does not answer, 429 when it has too many tunnels.
    pub(super) async fn open_tunnel(
        &self,
        node: &str,
        request: Request,
    ) -> Result<Tunnel, VerbError> {
        let place = self.tunnels.place(node)?;
        if self.sessions.lock().contains_key(node) || self.others.ids().is_empty() {
            self.open_here(node, request, place).await
        } else {
            self.open_elsewhere(node, request, place).await
        }
    }

    /// Opens a tunnel to a node that has its session here.
    ///
    /// # Errors
    /// As [`Inner::open_tunnel`].
    pub(super) async fn open_here(
        &self,
        node: &str,
        request: Request,
        place: Place,
    ) -> Result<Tunnel, VerbError> {
        let session = self.sessions.lock().get(node).cloned();
        let session = session.ok_or_else(|| {
            VerbError::Unavailable(format!("node {node} is not connected to this server"))
        })?;
        let id = self.verbs.world.entropy().uuid().to_string();
        let (opened, opening) = oneshot::channel();
        self.tunnels.waiting.lock().insert(
            id.clone(),
            Waiting {
                node: node.to_owned(),
                opened,
            },
        );
        let message = down(Message::OpenTunnel(wire::OpenTunnel {
            tunnel_id: id.clone(),
            request: Some(request),
        }));
        let ends = async {
            session.down.send(Ok(message)).await.ok()?;
            opening.await.ok()
        };
        let ends = tokio::time::timeout(TUNNEL_OPEN, ends).await;
        self.tunnels.waiting.lock().remove(&id);
        match ends {
            Ok(Some((send, receive))) => Ok(Tunnel::new(send, receive, place)),
            Ok(None) => Err(VerbError::Unavailable(format!(
                "the session of node {node} ended"
            ))),
            Err(_) => Err(VerbError::Timeout(format!(
                "node {node} did not open the stream in time"
            ))),
        }
    }

    /// An agent's end of a tunnel: its first frame says which.
    pub(super) async fn accept_tunnel(
        self: Arc<Self>,
        node: String,
        mut frames: tonic::Streaming<wire::TunnelFrame>,
    ) -> Result<ReceiverStream<Result<wire::TunnelFrame, tonic::Status>>, tonic::Status> {
        let first = tokio::time::timeout(TUNNEL_OPEN, frames.message())
            .await
            .map_err(|_| {
                tonic::Status::deadline_exceeded("the tunnel's first frame did not come")
            })??;
        let Some(wire::tunnel_frame::Frame::Open(id)) = first.and_then(|frame| frame.frame) else {
            return Err(tonic::Status::invalid_argument(
                "a tunnel's first frame must name it",
            ));
        };
        let waiting = {
            let mut all = self.tunnels.waiting.lock();
            // Another node's agent cannot take a tunnel, even if it knew the id.
            if all.get(&id).is_some_and(|waiting| waiting.node == node) {
                all.remove(&id)
            } else {
                None
            }
        };
        let waiting =
            waiting.ok_or_else(|| tonic::Status::not_found("nobody waits for this tunnel"))?;
        let (to_agent, mut from_client) = mpsc::channel(TUNNEL_FRAMES);
        let (to_client, from_agent) = mpsc::channel(TUNNEL_FRAMES);
        let (out, answer) = mpsc::channel(TUNNEL_FRAMES);
        if waiting.opened.send((to_agent, from_agent)).is_err() {
            return Err(tonic::Status::cancelled("who asked for the tunnel is gone"));
        }
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            let up = async {
                while let Some(Ok(frame)) = frames.next().await {
                    if to_client.send(frame).await.is_err() {
                        return;
                    }
                }
            };
            let down = async {
                while let Some(frame) = from_client.recv().await {
                    if out.send(Ok(frame)).await.is_err() {
                        return;
                    }
                }
                // The client may be done sending while the agent still answers: wait for the client to go.
                to_client.closed().await;
            };
            tokio::select! {
                () = up => {}
                () = down => {}
                () = stopping.cancelled() => {}
            }
        });
        Ok(ReceiverStream::new(answer))
    }
}
