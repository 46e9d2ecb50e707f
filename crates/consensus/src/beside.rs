//! The peers' port for others than Raft: services of this server reach theirs on another over connections whose both ends have
//! proved which member they are.

use crate::consensus::Consensus;
use crate::peers::{Lane, Unreachable};
use crate::service::Service;
use openraft::async_runtime::watch::WatchReceiver as _;
use tonic::service::Routes;
use tonic::transport::Channel;

/// Another member cannot be reached: nothing was sent to it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    /// The membership has no such member.
    #[error("no member has the id {0}")]
    Unknown(u64),
    /// No connection could be made.
    #[error(transparent)]
    Unreachable(#[from] UnreachablePeer),
}

/// No connection to a member could be made.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct UnreachablePeer(Unreachable);

impl Consensus {
    /// A connection to another member, on which any service that is served beside Raft answers. It is made when there is none, and
    /// shared.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn peer(&self, id: u64) -> Result<Channel, PeerError> {
        let address = {
            let metrics = self.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            let membership = metrics.membership_config.membership();
            membership.get_node(&id).map(|node| node.addr.clone())
        };
        let address = address.ok_or(PeerError::Unknown(id))?;
        let channel = self.peers.channel(id, &address, Lane::Services).await;
        Ok(channel.map_err(UnreachablePeer)?)
    }

    /// Forgets the connection to a member that failed, so that the next use makes a new one.
    pub fn forget_peer(&self, id: u64) {
        self.peers.forget(id, Lane::Services);
    }
}

impl Service {
    /// The same, with other services beside Raft's. Who calls them is a member of this cluster.
    #[must_use]
    pub fn beside(mut self, routes: Routes) -> Self {
        self.beside = Some(routes);
        self
    }
}
