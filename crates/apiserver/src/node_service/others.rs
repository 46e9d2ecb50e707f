//! The other servers, as this one reaches them.

use tonic::Status;
use tonic::transport::Channel;

/// The other servers of the cluster over the peers' port: whoever answers there has proved which member it is.
#[tonic::async_trait]
pub trait Others: Send + Sync + 'static {
    /// This server's own member id.
    fn me(&self) -> u64;

    /// The ids of the others.
    fn ids(&self) -> Vec<u64>;

    /// A connection to one of them.
    ///
    /// # Errors
    /// Why there is none; nothing was sent.
    async fn channel(&self, id: u64) -> Result<Channel, Status>;

    /// The connection to one of them is of no use any more: the next is a fresh one.
    fn forget(&self, id: u64);
}

/// A cluster of one server.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

#[tonic::async_trait]
impl Others for Alone {
    fn me(&self) -> u64 {
        0
    }

    fn ids(&self) -> Vec<u64> {
        Vec::new()
    }

    async fn channel(&self, id: u64) -> Result<Channel, Status> {
        Err(Status::not_found(format!("there is no member {id}")))
    }

    fn forget(&self, _id: u64) {}
}
