//! Tunnels between servers: whichever is asked for a pod's logs, commands or ports reaches the server that has the node's
//! session, over the peers' port.
//!
//! Where a node is, is asked when it is needed: every other server at once. Nothing is remembered of it, so nothing is
//! ever out of date.

use super::tunnels::Place;
use super::{Inner, NodeService, Tunnel};
use crate::error::VerbError;
use crate::limits::{LOCATE_DEADLINE, TUNNEL_FRAMES, TUNNEL_OPEN};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use pontoon_wire::node::v1 as wire;
use pontoon_wire::node::v1::relay_client::RelayClient;
use pontoon_wire::node::v1::relay_server::{Relay, RelayServer};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};
use wire::open_tunnel::Request as Asked;
use wire::relay_frame::Frame;

/// What other servers may ask of this one. To be served on the peers' port alone.
struct RelayFront(Arc<Inner>);

impl NodeService {
    /// What other servers ask of this one: to be served on the peers' port, and nowhere else.
    #[must_use]
    pub fn relay(&self) -> Routes {
        Routes::new(RelayServer::new(RelayFront(self.inner.clone()))).prepare()
    }
}

#[tonic::async_trait]
impl Relay for RelayFront {
    type TunnelStream = ReceiverStream<Result<wire::TunnelFrame, Status>>;

    async fn heard(
        &self,
        request: Request<wire::HeardRequest>,
    ) -> Result<Response<wire::HeardResponse>, Status> {
        self.0.take_signs(&request.into_inner().signs)?;
        Ok(Response::new(wire::HeardResponse {}))
    }

    async fn locate(
        &self,
        request: Request<wire::LocateRequest>,
    ) -> Result<Response<wire::LocateResponse>, Status> {
        let here = self.0.has_session(&request.into_inner().node);
        Ok(Response::new(wire::LocateResponse { here }))
    }

    async fn tunnel(
        &self,
        request: Request<Streaming<wire::RelayFrame>>,
    ) -> Result<Response<Self::TunnelStream>, Status> {
        let mut frames = request.into_inner();
        let first = tokio::time::timeout(TUNNEL_OPEN, frames.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no first frame came"))??;
        let Some(Frame::Open(open)) = first.and_then(|frame| frame.frame) else {
            return Err(Status::invalid_argument("the first frame opens the tunnel"));
        };
        let asked = open.request.and_then(|open| open.request);
        let asked = asked.ok_or_else(|| Status::invalid_argument("the tunnel asks for nothing"))?;
        if !self.0.has_session(&open.node) {
            return Err(Status::not_found(format!(
                "node {} is not connected to this server",
                open.node
            )));
        }
        let place = self.0.tunnels.place(&open.node)?;
        let tunnel = self.0.open_here(&open.node, asked, place).await?;
        let (out, answer) = mpsc::channel(TUNNEL_FRAMES);
        tokio::spawn(carry(tunnel, frames, out));
        Ok(Response::new(ReceiverStream::new(answer)))
    }
}

/// Carries a tunnel for another server until either side goes.
async fn carry(
    tunnel: Tunnel,
    mut frames: Streaming<wire::RelayFrame>,
    out: mpsc::Sender<Result<wire::TunnelFrame, Status>>,
) {
    let (send, mut receive, _place) = tunnel.split();
    let up = async move {
        while let Some(frame) = frames.next().await {
            let Ok(frame) = frame else { return };
            if let Some(Frame::Data(data)) = frame.frame
                && send.send(data).await.is_err()
            {
                return;
            }
        }
        // The client has said everything; what the node still answers is waited for below.
        drop(send);
        std::future::pending::<()>().await;
    };
    let down = async {
        while let Some(frame) = receive.recv().await {
            if out.send(Ok(frame)).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
        () = out.closed() => {}
    }
}

impl Inner {
    fn has_session(&self, node: &str) -> bool {
        self.sessions.lock().contains_key(node)
    }

    /// Opens a tunnel to a node that has no session here.
    ///
    /// # Errors
    /// 503 when no server has its session; otherwise as where it has.
    pub(super) async fn open_elsewhere(
        &self,
        node: &str,
        asked: Asked,
        place: Place,
    ) -> Result<Tunnel, VerbError> {
        let nowhere = || VerbError::Unavailable(format!("node {node} is not connected"));
        let member = self.locate(node).await.ok_or_else(nowhere)?;
        let opened = tokio::time::timeout(2 * TUNNEL_OPEN, self.ask(member, node, asked)).await;
        let opened = opened.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
        let (to_member, from_member) = opened.map_err(|status| match status.code() {
            Code::NotFound => nowhere(),
            Code::ResourceExhausted => VerbError::TooManyRequests {
                message: status.message().to_owned(),
                retry_after: crate::limits::RETRY_AFTER,
            },
            Code::DeadlineExceeded => VerbError::Timeout(status.message().to_owned()),
            _ => {
                self.others.forget(member);
                VerbError::Unavailable(format!(
                    "the server of node {node} does not answer: {}",
                    status.message()
                ))
            }
        })?;
        let (send, from_client) = mpsc::channel(TUNNEL_FRAMES);
        let (to_client, receive) = mpsc::channel(TUNNEL_FRAMES);
        tokio::spawn(join(from_client, to_member, from_member, to_client));
        Ok(Tunnel::new(send, receive, place))
    }

    /// Which other server has the node's session: all are asked at once, the first that has it is it.
    async fn locate(&self, node: &str) -> Option<u64> {
        let ask = |id: u64| async move {
            let request = wire::LocateRequest {
                node: node.to_owned(),
            };
            let exchange = async {
                let channel = self.others.channel(id).await?;
                RelayClient::new(channel).locate(request).await
            };
            match tokio::time::timeout(LOCATE_DEADLINE, exchange).await {
                Ok(Ok(answer)) => answer.into_inner().here.then_some(id),
                Ok(Err(_)) | Err(_) => {
                    self.others.forget(id);
                    None
                }
            }
        };
        let mut asked: FuturesUnordered<_> = self.others.ids().into_iter().map(ask).collect();
        while let Some(answer) = asked.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    /// Opens the tunnel at the other server.
    async fn ask(
        &self,
        member: u64,
        node: &str,
        asked: Asked,
    ) -> Result<(mpsc::Sender<wire::RelayFrame>, Streaming<wire::TunnelFrame>), Status> {
        let (to_member, frames) = mpsc::channel(TUNNEL_FRAMES);
        let open = Frame::Open(wire::RelayOpen {
            node: node.to_owned(),
            request: Some(wire::OpenTunnel {
                tunnel_id: String::new(),
                request: Some(asked),
            }),
        });
        // The channel is empty and has room.
        let _ = to_member.try_send(wire::RelayFrame { frame: Some(open) });
        let channel = self.others.channel(member).await?;
        let answer = RelayClient::new(channel)
            .tunnel(ReceiverStream::new(frames))
            .await?;
        Ok((to_member, answer.into_inner()))
    }
}

/// Joins a client's ends with another server's, until either side goes.
async fn join(
    mut from_client: mpsc::Receiver<wire::TunnelFrame>,
    to_member: mpsc::Sender<wire::RelayFrame>,
    mut from_member: Streaming<wire::TunnelFrame>,
    to_client: mpsc::Sender<wire::TunnelFrame>,
) {
    let closed = to_client.clone();
    let up = async move {
        while let Some(frame) = from_client.recv().await {
            let frame = Some(Frame::Data(frame));
            if to_member.send(wire::RelayFrame { frame }).await.is_err() {
                return;
            }
        }
        // The client has said everything and may still listen.
        drop(to_member);
        closed.closed().await;
    };
    let down = async move {
        while let Some(Ok(frame)) = from_member.next().await {
            if to_client.send(frame).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
