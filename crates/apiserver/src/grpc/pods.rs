//! `pontoon.v1.Pods`: logs, exec and port-forward, through the session of the pod's node.

use super::convert::caller;
use crate::error::VerbError;
use crate::gates::WatchPermit;
use crate::limits::{TUNNEL_FRAMES, TUNNEL_OPEN};
use crate::node_service::{ExecOptions, LogOptions, Tunnel};
use crate::request::{Caller, Freshness, Target, Verb};
use crate::server::ApiServer;
use futures::{Stream, StreamExt as _};
use pontoon_api::kinds;
use pontoon_state::Object;
use pontoon_wire::node::v1 as node;
use pontoon_wire::node::v1::tunnel_frame::Frame;
use pontoon_wire::pontoon::v1 as wire;
use pontoon_wire::pontoon::v1::pods_server::Pods;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::exec_input::Input;
use wire::exec_output::Output;
use wire::forward_data::Data;

pub(super) struct PodsFront {
    server: Arc<ApiServer>,
}

impl PodsFront {
    pub(super) const fn new(server: Arc<ApiServer>) -> Self {
        Self { server }
    }

    /// The pod, for a caller who may do `subresource` to it.
    async fn pod(
        &self,
        caller: &Caller,
        (namespace, name): (&str, &str),
        verb: Verb,
        subresource: &str,
    ) -> Result<Arc<Object>, VerbError> {
        let kind = kinds::by_plural("", "v1", "pods").ok_or(VerbError::NoSuchResource)?;
        let namespace = if namespace.is_empty() {
            "default"
        } else {
            namespace
        };
        let mut target = Target::new(kind, namespace, name);
        target.subresource = subresource.to_owned();
        self.server.verbs.authorize(caller, verb, &target)?;
        self.server
            .verbs
            .get(caller, &target, Freshness::Newest)
            .await
    }
}

async fn first<T: Send + 'static>(stream: &mut Streaming<T>) -> Result<T, Status> {
    let first = tokio::time::timeout(TUNNEL_OPEN, stream.message()).await;
    let first =
        first.map_err(|_| Status::deadline_exceeded("the first message did not come"))??;
    first.ok_or_else(|| Status::invalid_argument("the stream ended before its first message"))
}

fn frame(frame: Frame) -> node::TunnelFrame {
    node::TunnelFrame { frame: Some(frame) }
}

fn stdin_of(input: Option<Input>) -> Option<Frame> {
    match input? {
        Input::Stdin(bytes) => Some(Frame::Stdin(bytes)),
        Input::StdinClosed(_) => Some(Frame::StdinClosed(true)),
        Input::Resize(size) => Some(Frame::Resize(node::Resize {
            width: size.width,
            height: size.height,
        })),
        Input::Start(_) => None,
    }
}

#[tonic::async_trait]
impl Pods for PodsFront {
    type LogsStream = Pin<Box<dyn Stream<Item = Result<wire::LogChunk, Status>> + Send>>;
    type ExecStream = ReceiverStream<Result<wire::ExecOutput, Status>>;
    type PortForwardStream = ReceiverStream<Result<wire::ForwardData, Status>>;

    async fn logs(
        &self,
        request: Request<wire::LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let caller = caller(&request)?;
        let sent = request.into_inner();
        let permit = self.server.gates.watch()?;
        let pod = self
            .pod(&caller, (&sent.namespace, &sent.pod), Verb::Get, "log")
            .await?;
        let options = LogOptions {
            container: sent.container,
            follow: sent.follow,
            previous: sent.previous,
            tail_lines: sent.tail_lines,
            limit_bytes: sent.limit_bytes,
            since_seconds: sent.since_seconds,
            since_time: Some(sent.since_time).filter(|time| !time.is_empty()),
            timestamps: sent.timestamps,
        };
        let mut chunks = self.server.nodes.logs(&pod, options).await?;
        let stopping = self.server.stopping.clone();
        Ok(Response::new(Box::pin(async_stream::stream! {
            let _permit = permit;
            loop {
                let next = tokio::select! {
                    () = stopping.cancelled() => return,
                    next = chunks.next() => next,
                };
                match next {
                    None => return,
                    Some(Ok(data)) => yield Ok(wire::LogChunk { data }),
                    Some(Err(error)) => {
                        yield Err(error.into());
                        return;
                    }
                }
            }
        })))
    }

    async fn exec(
        &self,
        request: Request<Streaming<wire::ExecInput>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        let caller = caller(&request)?;
        let permit = self.server.gates.watch()?;
        let mut input = request.into_inner();
        let Some(Input::Start(start)) = first(&mut input).await?.input else {
            return Err(Status::invalid_argument(
                "the first message of exec must be its start",
            ));
        };
        let pod = self
            .pod(
                &caller,
                (&start.namespace, &start.pod),
                Verb::Create,
                "exec",
            )
            .await?;
        let options = ExecOptions {
            container: start.container,
            command: start.command,
            stdin: start.stdin,
            tty: start.tty,
        };
        let tunnel = self.server.nodes.exec(&pod, options).await?;
        let (sender, receiver) = mpsc::channel(TUNNEL_FRAMES);
        tokio::spawn(exec(tunnel, input, sender, permit));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn port_forward(
        &self,
        request: Request<Streaming<wire::ForwardData>>,
    ) -> Result<Response<Self::PortForwardStream>, Status> {
        let caller = caller(&request)?;
        let permit = self.server.gates.watch()?;
        let mut input = request.into_inner();
        let Some(Data::Start(start)) = first(&mut input).await?.data else {
            return Err(Status::invalid_argument(
                "the first message of a port-forward must be its start",
            ));
        };
        let pod = self
            .pod(
                &caller,
                (&start.namespace, &start.pod),
                Verb::Create,
                "portforward",
            )
            .await?;
        let tunnel = self.server.nodes.forward(&pod, start.port).await?;
        let (sender, receiver) = mpsc::channel(TUNNEL_FRAMES);
        tokio::spawn(forward(tunnel, input, sender, permit));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Carries one exec until its command ends, or either side goes.
async fn exec(
    tunnel: Tunnel,
    mut input: Streaming<wire::ExecInput>,
    output: mpsc::Sender<Result<wire::ExecOutput, Status>>,
    _permit: WatchPermit,
) {
    let (send, mut receive, _place) = tunnel.split();
    let up = async {
        while let Some(Ok(message)) = input.next().await {
            let Some(next) = stdin_of(message.input) else {
                continue;
            };
            if send.send(frame(next)).await.is_err() {
                return;
            }
        }
        // The client is done sending; what the command still says is waited for below.
        std::future::pending::<()>().await;
    };
    let down = async {
        while let Some(next) = receive.recv().await {
            let (message, last) = match next.frame {
                Some(Frame::Stdout(bytes)) => (Ok(Output::Stdout(bytes)), false),
                Some(Frame::Stderr(bytes)) => (Ok(Output::Stderr(bytes)), false),
                Some(Frame::ExitCode(code)) => (Ok(Output::ExitCode(code)), true),
                Some(Frame::Error(error)) => {
                    (Err(Status::from(VerbError::BadRequest(error))), true)
                }
                _ => continue,
            };
            let message = message.map(|output| wire::ExecOutput {
                output: Some(output),
            });
            if output.send(message).await.is_err() || last {
                return;
            }
        }
        let lost = VerbError::Unavailable("the node's end of the stream broke off".into());
        let _ = output.send(Err(lost.into())).await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
        () = output.closed() => {}
    }
}

/// Carries one forwarded connection until either side ends it.
async fn forward(
    tunnel: Tunnel,
    mut input: Streaming<wire::ForwardData>,
    output: mpsc::Sender<Result<wire::ForwardData, Status>>,
    _permit: WatchPermit,
) {
    let (send, mut receive, _place) = tunnel.split();
    let up = async {
        while let Some(Ok(message)) = input.next().await {
            let next = match message.data {
                Some(Data::Bytes(bytes)) => Frame::Stdin(bytes),
                Some(Data::Closed(_)) => Frame::StdinClosed(true),
                _ => continue,
            };
            if send.send(frame(next)).await.is_err() {
                return;
            }
        }
        let _ = send.send(frame(Frame::StdinClosed(true))).await;
        std::future::pending::<()>().await;
    };
    let down = async {
        while let Some(next) = receive.recv().await {
            let message = match next.frame {
                Some(Frame::Stdout(bytes)) => Ok(Data::Bytes(bytes)),
                Some(Frame::Error(error)) => Err(Status::from(VerbError::BadRequest(error))),
                Some(Frame::ExitCode(_)) => break,
                _ => continue,
            };
            let failed = message.is_err();
            let message = message.map(|data| wire::ForwardData { data: Some(data) });
            if output.send(message).await.is_err() || failed {
                return;
            }
        }
        let _ = output
            .send(Ok(wire::ForwardData {
                data: Some(Data::Closed(true)),
            }))
            .await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
        () = output.closed() => {}
    }
}
