//! The sockets: UDP and TCP at one address, served by hickory.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hickory_server::Server;
use tokio::net::{TcpListener, UdpSocket};

use crate::handler::{Dns, Handler};
use crate::limits::{TCP_ANSWERS_COUNT, TCP_IDLE_TIMEOUT};

/// How many times a free port is looked for that both protocols have, when the port is left to the system.
const PORT_TRIES_COUNT: usize = 16;

/// A running name server. Dropping it closes its sockets.
pub struct DnsServer {
    server: Server<Handler>,
    address: SocketAddr,
}

impl std::fmt::Debug for DnsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnsServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve DNS at {address}")]
pub struct ServeError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

impl DnsServer {
    /// Serves `dns` at `address` over UDP and TCP. Port 0 takes a free one.
    ///
    /// # Errors
    /// [`ServeError`] when the address cannot be bound.
    pub async fn start(dns: Arc<Dns>, address: SocketAddr) -> Result<Self, ServeError> {
        let (socket, listener) = bind(address)
            .await
            .map_err(|source| ServeError { address, source })?;
        let address = socket
            .local_addr()
            .map_err(|source| ServeError { address, source })?;
        let mut server = Server::new(Handler(dns));
        server.register_socket(socket);
        server.register_listener(listener, TCP_IDLE_TIMEOUT, TCP_ANSWERS_COUNT);
        Ok(Self { server, address })
    }

    /// Where it serves.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops taking queries and waits until the sockets are closed.
    pub async fn shutdown(mut self) {
        if let Err(error) = self.server.shutdown_gracefully().await {
            tracing::warn!(%error, "the name server did not end in order");
        }
    }
}

async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    for _ in 1..PORT_TRIES_COUNT {
        let socket = UdpSocket::bind(address).await?;
        match TcpListener::bind(socket.local_addr()?).await {
            Ok(listener) => return Ok((socket, listener)),
            Err(error) if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}
