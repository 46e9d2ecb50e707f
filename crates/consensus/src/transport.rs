//! How replicas reach each other: connections that carry bytes. TCP, or what a simulation puts in its place.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// An open connection.
pub type Stream = Pin<Box<dyn Duplex>>;

/// Opens connections.
#[async_trait::async_trait]
pub trait Dialer: Debug + Send + Sync + 'static {
    /// Connects to a member's address.
    ///
    /// # Errors
    /// Nobody answers there.
    async fn dial(&self, address: &str) -> io::Result<Stream>;
}

/// Takes in connections.
#[async_trait::async_trait]
pub trait Acceptor: Send + 'static {
    /// Waits for the next one.
    ///
    /// # Errors
    /// That one could not be taken in; the next may.
    async fn accept(&mut self) -> io::Result<Stream>;
}

/// Connections over TCP.
#[derive(Debug, Clone, Copy)]
pub struct Tcp;

#[async_trait::async_trait]
impl Dialer for Tcp {
    async fn dial(&self, address: &str) -> io::Result<Stream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::pin(stream))
    }
}

#[async_trait::async_trait]
impl Acceptor for TcpListener {
    async fn accept(&mut self) -> io::Result<Stream> {
        let (stream, _) = Self::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(Box::pin(stream))
    }
}
