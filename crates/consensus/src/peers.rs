//! Connections to the other replicas.

use crate::limits::{CONNECT_TIMEOUT, KEEPALIVE};
use crate::tls::TlsParts;
use crate::transport::{Dialer, Stream};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use pontoon_identity::Member;
use pontoon_wire::MAX_MESSAGE_BYTES;
use pontoon_wire::raft::v1::Envelope;
use pontoon_wire::raft::v1::raft_client::RaftClient;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::Notify;
use tonic::transport::{Channel, Endpoint, Uri};

/// One connection for each peer and use, made when needed.
pub(crate) struct Peers {
    /// This member.
    pub me: Member,
    tls: Option<TlsParts>,
    dialer: Arc<dyn Dialer>,
    channels: Mutex<HashMap<(u64, Lane), (String, Channel)>>,
    /// Those whose messages are refused.
    banished: Mutex<BTreeSet<u64>>,
    refused: Notify,
}

/// What a connection is for: bulk must not hold up heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Log entries, forwarded proposals and reads.
    Log,
    /// Heartbeats and votes.
    Control,
    /// Snapshots.
    Snapshot,
    /// What other services than Raft say.
    Services,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers")
            .field("me", &self.me)
            .finish_non_exhaustive()
    }
}

/// No connection could be made: nothing was sent.
#[derive(Debug, Clone, thiserror::Error)]
#[error("member {peer} at {address} cannot be reached: {detail}")]
pub(crate) struct Unreachable {
    peer: u64,
    address: String,
    detail: String,
}

impl Peers {
    pub(crate) fn new(me: Member, tls: Option<TlsParts>, dialer: Arc<dyn Dialer>) -> Self {
        Self {
            me,
            tls,
            dialer,
            channels: Mutex::new(HashMap::new()),
            banished: Mutex::new(BTreeSet::new()),
            refused: Notify::new(),
        }
    }

    /// Refuses messages of these members from here on, and of no others.
    pub(crate) fn banish(&self, members: BTreeSet<u64>) {
        *self.banished.lock() = members;
    }

    /// Whether a member's messages are refused.
    pub(crate) fn is_banished(&self, member: u64) -> bool {
        self.banished.lock().contains(&member)
    }

    /// Another member refused to hear this one: it may have been removed.
    pub(crate) fn refuse(&self) {
        self.refused.notify_one();
    }

    /// Waits until another member refuses to hear this one.
    pub(crate) async fn was_refused(&self) {
        self.refused.notified().await;
    }

    /// A message to `peer`.
    pub(crate) fn envelope(&self, peer: u64, body: bytes::Bytes) -> Envelope {
        Envelope {
            cluster_id: self.me.cluster.clone(),
            from: self.me.id,
            to: peer,
            body,
        }
    }

    /// A client on an open connection.
    pub(crate) async fn client(
        &self,
        peer: u64,
        address: &str,
        lane: Lane,
    ) -> Result<RaftClient<Channel>, Unreachable> {
        let channel = self.channel(peer, address, lane).await?;
        Ok(RaftClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// An open connection.
    pub(crate) async fn channel(
        &self,
        peer: u64,
        address: &str,
        lane: Lane,
    ) -> Result<Channel, Unreachable> {
        let known = self
            .channels
            .lock()
            .get(&(peer, lane))
            .filter(|(at, _)| at == address)
            .map(|(_, open)| open.clone());
        if let Some(channel) = known {
            return Ok(channel);
        }
        let channel = self.connect(peer, address).await?;
        self.channels
            .lock()
            .insert((peer, lane), (address.to_owned(), channel.clone()));
        Ok(channel)
    }

    /// Forgets a connection that failed, so that the next use makes a new one.
    pub(crate) fn forget(&self, peer: u64, lane: Lane) {
        self.channels.lock().remove(&(peer, lane));
    }

    async fn connect(&self, peer: u64, address: &str) -> Result<Channel, Unreachable> {
        let unreachable = |detail: String| Unreachable {
            peer,
            address: address.to_owned(),
            detail,
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| unreachable(error.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(8 << 20);
        let (tls, dialer, address) = (self.tls.clone(), self.dialer.clone(), address.to_owned());
        let member = Member {
            cluster: self.me.cluster.clone(),
            id: peer,
        };
        let connector = tower::service_fn(move |_: Uri| {
            let (tls, dialer) = (tls.clone(), dialer.clone());
            let (address, member) = (address.clone(), member.clone());
            async move {
                let stream = dialer.dial(&address).await?;
                let stream: Stream = match tls {
                    Some(tls) => Box::pin(tls.connect(stream, &member).await?),
                    None => stream,
                };
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        endpoint
            .connect_with_connector(connector)
            .await
            .map_err(|error| unreachable(described(&error)))
    }
}

/// An error with its sources: tonic's own text says only "transport error".
pub(crate) fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
