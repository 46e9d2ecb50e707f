//! The peer port: accepts connections of other replicas and serves `raft.v1` on them.

use crate::limits::{ACCEPTING, HANDSHAKE_TIMEOUT, KEEPALIVE};
use crate::service::Service;
use crate::tls::TlsParts;
use crate::transport::{Acceptor, Stream};
use pontoon_identity::Member;
use pontoon_wire::MAX_MESSAGE_BYTES;
use pontoon_wire::raft::v1::raft_server::RaftServer;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;

/// Serves `service`, and what is beside it, to the other replicas until `stop` ends. Without `tls` nobody is known by more than their word:
/// for tests alone.
///
/// # Errors
/// The listener's, or the server's.
pub async fn serve(
    listener: impl Acceptor,
    service: Service,
    tls: Option<TlsParts>,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (accepted, connections) = mpsc::channel(ACCEPTING);
    // Both end when this future does, however it ends: the port is free, and no connection outlives its server.
    let (_serving, served) = watch::channel(());
    let mut accepting = JoinSet::new();
    accepting.spawn(accept(
        listener,
        tls,
        service.peers.me.cluster.clone(),
        accepted,
        served,
    ));
    let beside = service.beside.clone().unwrap_or_default();
    let server = RaftServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
        .add_routes(beside)
        .add_service(server)
        .serve_with_incoming(ReceiverStream::new(connections));
    // Append streams are made to last: there is nothing to wait for.
    tokio::select! {
        result = serving => result,
        () = stop => Ok(()),
    }
}

async fn accept(
    mut listener: impl Acceptor,
    tls: Option<TlsParts>,
    cluster: String,
    accepted: mpsc::Sender<io::Result<Connection>>,
    served: watch::Receiver<()>,
) {
    // A peer that opens connections and says nothing holds up no other.
    let handshakes = Arc::new(Semaphore::new(ACCEPTING));
    loop {
        let Ok(turn) = handshakes.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a replica's connection was not accepted");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let (tls, cluster, accepted, served) = (
            tls.clone(),
            cluster.clone(),
            accepted.clone(),
            served.clone(),
        );
        tokio::spawn(async move {
            let opened =
                tokio::time::timeout(HANDSHAKE_TIMEOUT, open(stream, tls, &cluster, served)).await;
            drop(turn);
            match opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                // The server may have stopped.
                Ok(connection) => drop(accepted.send(Ok(connection)).await),
                Err(error) => tracing::warn!(%error, "a replica's connection is refused"),
            }
        });
    }
}

async fn open(
    stream: Stream,
    tls: Option<TlsParts>,
    cluster: &str,
    mut served: watch::Receiver<()>,
) -> io::Result<Connection> {
    let ended = Box::pin(async move { while served.changed().await.is_ok() {} });
    let Some(tls) = tls else {
        return Ok(Connection {
            stream,
            member: None,
            ended,
        });
    };
    let (stream, member) = tls.accept(stream, cluster).await?;
    Ok(Connection {
        stream: Box::pin(stream),
        member: Some(member),
        ended,
    })
}

/// An open connection, and whose it is.
struct Connection {
    stream: Stream,
    member: Option<Member>,
    /// Ends with the server.
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Who is at the other end, as requests carry it.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub Option<Member>);

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        Caller(self.member.clone())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        self.stream.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
