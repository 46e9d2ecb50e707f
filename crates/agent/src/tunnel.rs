//! Logs, exec and port-forward: a server asks on the session, the agent opens a stream of its own and carries the bytes.

use crate::limits::{
    FORWARD_CONNECT_TIMEOUT, LOG_CHUNK_BYTES, TUNNEL_END_TIMEOUT, TUNNEL_FRAMES_COUNT,
    TUNNELS_COUNT,
};
use crate::logs;
use crate::metrics;
use crate::pods::Pods;
use crate::session::Connection;
use crate::view::PodView;
use bytes::Bytes;
use pontoon_runtime::{ExecInput, ExecOutput, ExecSession, ExecSpec, TerminalSize};
use pontoon_wire::node::v1::nodes_client::NodesClient;
use pontoon_wire::node::v1::{
    ExecTunnel, ForwardTunnel, LogsTunnel, OpenTunnel, TunnelFrame, open_tunnel,
    tunnel_frame::Frame,
};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// A new terminal's size until the other side tells its own.
const TERMINAL: TerminalSize = TerminalSize {
    columns: 80,
    rows: 24,
};

/// The tunnels of one node.
pub(crate) struct Tunnels {
    pods: Arc<Pods>,
    room: Semaphore,
}

/// The agent's end of one tunnel.
struct Tunnel {
    up: mpsc::Sender<TunnelFrame>,
    down: Streaming<TunnelFrame>,
}

/// The other side went away: nobody is there to be told.
struct Gone;

impl Tunnel {
    async fn send(&self, frame: Frame) -> Result<(), Gone> {
        let frame = TunnelFrame { frame: Some(frame) };
        self.up.send(frame).await.map_err(|_| Gone)
    }

    /// Ends this side and waits for the other's end: to drop the stream sooner would cancel it, and lose what is on its
    /// way.
    async fn finish(self) {
        let Self { up, mut down } = self;
        drop(up);
        let ended = async { while matches!(down.message().await, Ok(Some(_))) {} };
        // A side that does not end in time loses what it did not read.
        let _ = tokio::time::timeout(TUNNEL_END_TIMEOUT, ended).await;
    }
}

impl Tunnels {
    pub(crate) fn new(pods: Arc<Pods>) -> Arc<Self> {
        Arc::new(Self {
            pods,
            room: Semaphore::new(TUNNELS_COUNT),
        })
    }

    /// Serves a request on a stream of its own.
    pub(crate) fn open(self: Arc<Self>, open: OpenTunnel, server: Connection) {
        tokio::spawn(async move {
            let room = self.room.try_acquire();
            metrics::tunnels(1.0);
            let tunnel = connect(&open.tunnel_id, server).await;
            match (tunnel, room) {
                (Ok(mut tunnel), Ok(_room)) => {
                    let served = self.serve(open.request, &mut tunnel).await;
                    if let Ok(Err(message)) = served {
                        // The other side may be gone as well.
                        let _ = tunnel.send(Frame::Error(message)).await;
                    }
                    tunnel.finish().await;
                }
                (Ok(tunnel), Err(_)) => {
                    let message = format!("{TUNNELS_COUNT} streams are open on this node already");
                    let _ = tunnel.send(Frame::Error(message)).await;
                    tunnel.finish().await;
                }
                (Err(status), _) => {
                    tracing::warn!(%status, "a tunnel could not be opened");
                }
            }
            metrics::tunnels(-1.0);
        });
    }

    async fn serve(
        &self,
        request: Option<open_tunnel::Request>,
        tunnel: &mut Tunnel,
    ) -> Result<Result<(), String>, Gone> {
        let uid = match &request {
            Some(open_tunnel::Request::Logs(logs)) => &logs.pod_uid,
            Some(open_tunnel::Request::Exec(exec)) => &exec.pod_uid,
            Some(open_tunnel::Request::Forward(forward)) => &forward.pod_uid,
            None => return Ok(Err("the request is unknown to this node".to_owned())),
        };
        let Some(view) = self.pods.view(uid) else {
            return Ok(Err(format!("pod {uid} is not on this node")));
        };
        match request {
            Some(open_tunnel::Request::Logs(request)) => serve_logs(&view, request, tunnel).await,
            Some(open_tunnel::Request::Exec(request)) => serve_exec(&view, request, tunnel).await,
            Some(open_tunnel::Request::Forward(request)) => {
                serve_forward(&view, &request, tunnel).await
            }
            None => Ok(Ok(())),
        }
    }
}

async fn connect(id: &str, server: Connection) -> Result<Tunnel, tonic::Status> {
    let (up, frames) = mpsc::channel(TUNNEL_FRAMES_COUNT);
    // The channel is empty and has room.
    let _ = up.try_send(TunnelFrame {
        frame: Some(Frame::Open(id.to_owned())),
    });
    let mut client = NodesClient::new(server);
    let down = client.tunnel(ReceiverStream::new(frames)).await?;
    Ok(Tunnel {
        up,
        down: down.into_inner(),
    })
}

async fn serve_logs(
    view: &PodView,
    request: LogsTunnel,
    tunnel: &mut Tunnel,
) -> Result<Result<(), String>, Gone> {
    let options = match logs::Options::of(&request) {
        Ok(options) => options,
        Err(message) => return Ok(Err(message)),
    };
    let mut reader = match logs::Reader::open(view, &request.container, options).await {
        Ok(reader) => reader,
        Err(message) => return Ok(Err(message)),
    };
    loop {
        let chunk = tokio::select! {
            chunk = reader.next() => chunk,
            // The other side sends nothing: what arrives is its end.
            _ = tunnel.down.message() => return Err(Gone),
        };
        match chunk {
            Ok(Some(chunk)) => tunnel.send(Frame::Stdout(chunk)).await?,
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
}

async fn serve_exec(
    view: &PodView,
    request: ExecTunnel,
    tunnel: &mut Tunnel,
) -> Result<Result<(), String>, Gone> {
    let Some(attempt) = view.attempt(&request.container) else {
        return Ok(Err(format!(
            "container {:?} has not started",
            request.container
        )));
    };
    let session = if request.attach {
        view.runtime.attach(&attempt.id).await
    } else {
        let spec = ExecSpec {
            command: request.command,
            terminal: request.tty.then_some(TERMINAL),
            stdin: request.stdin,
            env: Vec::new(),
        };
        view.runtime.exec(&attempt.id, &spec).await
    };
    match session {
        Ok(session) => carry_exec(session, tunnel).await.map(Ok),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// Carries input down and output up. Dropping the session, when the other side is gone, kills the command.
async fn carry_exec(session: ExecSession, tunnel: &mut Tunnel) -> Result<(), Gone> {
    let ExecSession {
        input,
        mut output,
        exit,
    } = session;
    let mut input = Some(input);
    loop {
        tokio::select! {
            chunk = output.recv() => match chunk {
                Some(ExecOutput::Stdout(bytes)) => tunnel.send(Frame::Stdout(bytes)).await?,
                Some(ExecOutput::Stderr(bytes)) => tunnel.send(Frame::Stderr(bytes)).await?,
                None => break,
            },
            frame = tunnel.down.message() => match frame {
                Ok(Some(frame)) => pass_input(frame.frame, &mut input).await,
                // The other side closed its half: no more input, unless it broke.
                Ok(None) => return Err(Gone),
                Err(_) => return Err(Gone),
            },
        }
    }
    match exit.await {
        Ok(Ok(exit)) => tunnel.send(Frame::ExitCode(exit.exit_code)).await,
        Ok(Err(error)) => tunnel.send(Frame::Error(error.to_string())).await,
        Err(_) => {
            let message = "the command's end was not seen".to_owned();
            tunnel.send(Frame::Error(message)).await
        }
    }
}

async fn pass_input(frame: Option<Frame>, input: &mut Option<mpsc::Sender<ExecInput>>) {
    let message = match frame {
        Some(Frame::Stdin(bytes)) => ExecInput::Stdin(bytes),
        Some(Frame::StdinClosed(true)) => ExecInput::StdinClosed,
        Some(Frame::Resize(size)) => ExecInput::Resize(TerminalSize {
            columns: u16::try_from(size.width).unwrap_or(u16::MAX),
            rows: u16::try_from(size.height).unwrap_or(u16::MAX),
        }),
        _ => return,
    };
    if let Some(sender) = input
        && sender.send(message).await.is_err()
    {
        // The command takes no more input.
        *input = None;
    }
}

async fn serve_forward(
    view: &PodView,
    request: &ForwardTunnel,
    tunnel: &mut Tunnel,
) -> Result<Result<(), String>, Gone> {
    let Ok(port) = u16::try_from(request.port) else {
        return Ok(Err(format!("{} is no port", request.port)));
    };
    match tokio::time::timeout(FORWARD_CONNECT_TIMEOUT, dial_pod(view, port)).await {
        Ok(Ok(stream)) => carry_bytes(stream, tunnel).await.map(Ok),
        Ok(Err(message)) => Ok(Err(message)),
        Err(_) => Ok(Err(format!("port {port} of the pod does not answer"))),
    }
}

/// Connects to a port of the pod as seen from inside it (its loopback), where the pod has a network of its own; programs
/// that listen on the pod's address only are found there next.
async fn dial_pod(view: &PodView, port: u16) -> Result<TcpStream, String> {
    let place = view.place.read().clone();
    let inside = match place.netns {
        None => None,
        Some(netns) => {
            let dialled = tokio::task::spawn_blocking(move || dial_inside(&netns, port)).await;
            dialled.ok().and_then(Result::ok)
        }
    };
    if let Some(stream) = inside {
        return TcpStream::from_std(stream).map_err(|error| error.to_string());
    }
    let ip = place.ips.first().ok_or("the pod has no address yet")?;
    let address = SocketAddr::new(*ip, port);
    TcpStream::connect(address)
        .await
        .map_err(|error| format!("failed to connect to {address} inside the pod: {error}"))
}

/// Dials from a thread that has entered the pod's network namespace and ends right after: no other work may run in it.
fn dial_inside(netns: &std::path::Path, port: u16) -> std::io::Result<std::net::TcpStream> {
    let netns = std::fs::File::open(netns)?;
    let thread = std::thread::Builder::new().name("forward".to_owned());
    let dialled = thread.spawn(move || -> std::io::Result<std::net::TcpStream> {
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        use std::os::fd::AsFd;
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = std::net::TcpStream::connect_timeout(&address, FORWARD_CONNECT_TIMEOUT)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    })?;
    dialled
        .join()
        .unwrap_or_else(|_| Err(std::io::Error::other("the dialling thread panicked")))
}

async fn carry_bytes(stream: TcpStream, tunnel: &mut Tunnel) -> Result<(), Gone> {
    let (mut read, mut write) = stream.into_split();
    let mut buffer = vec![0; LOG_CHUNK_BYTES];
    let mut half_closed = false;
    loop {
        tokio::select! {
            count = read.read(&mut buffer) => match count {
                Ok(0) | Err(_) => return Ok(()),
                Ok(count) => {
                    let bytes = Bytes::copy_from_slice(&buffer[..count]);
                    tunnel.send(Frame::Stdout(bytes)).await?;
                }
            },
            frame = tunnel.down.message(), if !half_closed => match frame {
                Ok(Some(TunnelFrame { frame: Some(Frame::Stdin(bytes)) })) => {
                    if write.write_all(&bytes).await.is_err() {
                        return Ok(());
                    }
                }
                Ok(Some(TunnelFrame { frame: Some(Frame::StdinClosed(true)) })) => {
                    half_closed = true;
                    // The pod may have closed first.
                    let _ = write.shutdown().await;
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return Err(Gone),
            },
        }
    }
}
