//! openraft's network over `raft.v1`.
//!
//! Appends are pipelined on one stream for each follower. Every call has a deadline; a failed connection is
//! forgotten, so that the next call makes another.

use crate::disk::{SnapshotData, SnapshotFiles};
use crate::durable::VoteForm;
use crate::limits::{APPEND_STALL, SNAPSHOT_DEADLINE, SNAPSHOT_FRAMES};
use crate::messages::{self, AppendResult, SnapshotHeader};
use crate::peers::{Lane, Peers};
use crate::state_machine::blocking;
use crate::types::{TypeConfig, Vote};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture};
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::impls::BasicNode;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes};
use parking_lot::Mutex;
use pontoon_storage::checkpoint::SnapshotFile;
use pontoon_storage::limits::SNAPSHOT_CHUNK_BYTES;
use pontoon_wire::raft::v1::{Envelope, FileChunk, SnapshotFrame, snapshot_frame::Frame};
use prost::Message as _;
use std::collections::VecDeque;
use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

type RpcError = RPCError<TypeConfig>;
type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>;

/// Makes a [`Link`] for each peer.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub peers: Arc<Peers>,
}

/// One peer, for one use.
#[derive(Debug)]
pub(crate) struct Link {
    peers: Arc<Peers>,
    target: u64,
    address: String,
    lane: Lane,
}

impl Network {
    fn link(&self, target: u64, node: &BasicNode, lane: Lane) -> Link {
        Link {
            peers: self.peers.clone(),
            target,
            address: node.addr.clone(),
            lane,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Link {
        self.link(target, node, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &BasicNode) -> Link {
        self.link(target, node, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &BasicNode) -> Link {
        self.link(target, node, Lane::Snapshot)
    }
}

/// Which unary call.
#[derive(Clone, Copy)]
enum Call {
    Vote,
    PreVote,
    TransferLeader,
}

impl Link {
    fn timeout(&self, action: RPCTypes, timeout: Duration) -> RpcError {
        RPCError::Timeout(Timeout {
            action,
            id: self.peers.me.id,
            target: self.target,
            timeout,
        })
    }

    fn failed(&self, status: &Status) -> RpcError {
        self.peers.forget(self.target, self.lane);
        self.note_refusal(status);
        RPCError::Unreachable(Unreachable::new(status))
    }

    fn note_refusal(&self, status: &Status) {
        if status.code() == tonic::Code::PermissionDenied {
            self.peers.refuse();
        }
    }

    async fn client(
        &self,
        lane: Lane,
    ) -> Result<pontoon_wire::raft::v1::raft_client::RaftClient<tonic::transport::Channel>, RpcError>
    {
        let client = self.peers.client(self.target, &self.address, lane).await;
        client.map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))
    }

    /// A unary call; gives the answer's body.
    async fn call(
        &self,
        call: Call,
        body: bytes::Bytes,
        limit: Duration,
    ) -> Result<bytes::Bytes, RpcError> {
        let exchange = async {
            let mut client = self.client(Lane::Control).await?;
            let envelope = self.peers.envelope(self.target, body);
            let answer = match call {
                Call::Vote => client.vote(envelope).await,
                Call::PreVote => client.pre_vote(envelope).await,
                Call::TransferLeader => client.transfer_leader(envelope).await,
            };
            match answer {
                Ok(answer) => self.open(answer.into_inner()),
                Err(status) => {
                    self.peers.forget(self.target, Lane::Control);
                    self.note_refusal(&status);
                    Err(RPCError::Unreachable(Unreachable::new(&status)))
                }
            }
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(result) => result,
            Err(_) => Err(self.timeout(RPCTypes::Vote, limit)),
        }
    }

    /// The body of an answer, which must come from the member that was asked.
    fn open(&self, envelope: Envelope) -> Result<bytes::Bytes, RpcError> {
        let me = &self.peers.me;
        if envelope.cluster_id != me.cluster || envelope.from != self.target || envelope.to != me.id
        {
            return Err(RPCError::Network(NetworkError::from_string(
                "the answer is another member's",
            )));
        }
        Ok(envelope.body)
    }
}

fn garbled(error: &crate::durable::DecodeError) -> RpcError {
    RPCError::Network(NetworkError::new(error))
}

/// When each append that waits for its answer was sent.
type InFlight = Arc<Mutex<VecDeque<Instant>>>;

fn stalled(flight: &InFlight) -> bool {
    flight
        .lock()
        .front()
        .is_some_and(|sent| sent.elapsed() > APPEND_STALL)
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let limit = option.hard_ttl();
        let one = self.stream_append(stream::iter([rpc]), option);
        let answer =
            tokio::time::timeout(limit, async { one.await?.next().await.transpose() }).await;
        match answer {
            Err(_) => Err(self.timeout(RPCTypes::AppendEntries, limit)),
            Ok(answer) => match answer? {
                None => Err(RPCError::Network(NetworkError::from_string(
                    "an append was not answered",
                ))),
                Some(Ok(matching)) => Ok(AppendEntriesResponse::PartialSuccess(matching)),
                Some(Err(StreamAppendError::Conflict(_))) => Ok(AppendEntriesResponse::Conflict),
                Some(Err(StreamAppendError::HigherVote(vote))) => {
                    Ok(AppendEntriesResponse::HigherVote(vote))
                }
            },
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<AppendResult, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        async move {
            let mut client = self.client(self.lane).await?;
            let flight = InFlight::default();
            let (sent, peers, target) = (flight.clone(), self.peers.clone(), self.target);
            let outbound = input.map(move |request| {
                sent.lock().push_back(Instant::now());
                peers.envelope(target, messages::encode_append(&request))
            });
            let answers = match tokio::time::timeout(APPEND_STALL, client.append(outbound)).await {
                Err(_) => {
                    self.peers.forget(self.target, self.lane);
                    return Err(self.timeout(RPCTypes::AppendEntries, APPEND_STALL));
                }
                Ok(Err(status)) => return Err(self.failed(&status)),
                Ok(Ok(answers)) => answers.into_inner(),
            };
            let link: &Self = self;
            let results = stream::unfold(Some(answers), move |answers| {
                let flight = flight.clone();
                async move {
                    let mut answers = answers?;
                    let result = link.next_answer(&mut answers, &flight).await?;
                    let rest = result.is_ok().then_some(answers);
                    Some((result, rest))
                }
            });
            Ok(results.boxed())
        }
        .boxed()
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let answer = self
            .call(Call::Vote, messages::encode_ballot(&rpc), option.hard_ttl())
            .await?;
        messages::decode_ballot_answer(answer).map_err(|error| garbled(&error))
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let answer = self
            .call(
                Call::PreVote,
                messages::encode_ballot(&rpc),
                option.hard_ttl(),
            )
            .await?;
        messages::decode_ballot_answer(answer).map_err(|error| garbled(&error))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = tokio::time::timeout(SNAPSHOT_DEADLINE, self.send_snapshot(vote, snapshot.snapshot)) => {
                sent.unwrap_or_else(|_| Err(self.timeout(RPCTypes::InstallSnapshot, SNAPSHOT_DEADLINE))).map_err(Into::into)
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let answer = self
            .call(
                Call::TransferLeader,
                messages::encode_transfer(&req),
                option.hard_ttl(),
            )
            .await?;
        messages::decode_transfer_answer(answer).map_err(|error| garbled(&error))
    }
}

impl Link {
    /// The next answer on an append stream; `None` at its end.
    async fn next_answer(
        &self,
        answers: &mut tonic::Streaming<Envelope>,
        flight: &InFlight,
    ) -> Option<Result<AppendResult, RpcError>> {
        loop {
            let message = tokio::time::timeout(APPEND_STALL / 2, answers.message()).await;
            let answer = match message {
                Ok(Ok(Some(answer))) => answer,
                Ok(Ok(None)) => return None,
                Ok(Err(status)) => return Some(Err(self.failed(&status))),
                Err(_) if stalled(flight) => {
                    self.peers.forget(self.target, self.lane);
                    return Some(Err(self.timeout(RPCTypes::AppendEntries, APPEND_STALL)));
                }
                Err(_) => continue,
            };
            flight.lock().pop_front();
            let decoded = self
                .open(answer)
                .and_then(|body| messages::decode_appended(body).map_err(|error| garbled(&error)));
            return Some(decoded);
        }
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: SnapshotData,
    ) -> Result<SnapshotResponse<TypeConfig>, RpcError> {
        let mut client = self.client(Lane::Snapshot).await?;
        let manifest = serde_json::to_vec(snapshot.manifest()).expect("a manifest always encodes");
        let header = SnapshotHeader {
            vote: Some(vote.into()),
            manifest: manifest.into(),
        };
        let header = self
            .peers
            .envelope(self.target, header.encode_to_vec().into());
        let (frames, outbound) = mpsc::channel(SNAPSHOT_FRAMES);
        let (sent, answer) = tokio::join!(
            send_frames(header, &*snapshot, frames),
            client.install_snapshot(ReceiverStream::new(outbound)),
        );
        if let Err(error) = sent {
            return Err(RPCError::Network(NetworkError::new(&error)));
        }
        let body = self.open(answer.map_err(|status| self.failed(&status))?.into_inner())?;
        let vote = VoteForm::decode(body).map_err(|error| garbled(&error.into()))?;
        Ok(SnapshotResponse::new(vote.into()))
    }
}

/// Reads a snapshot's files into frames, as fast as they are taken.
async fn send_frames(
    header: Envelope,
    snapshot: &dyn SnapshotFiles,
    frames: mpsc::Sender<SnapshotFrame>,
) -> std::io::Result<()> {
    // A send fails when the call has ended, which the caller sees for itself.
    let header = Frame::Header(header);
    let Ok(()) = send(&frames, header).await else {
        return Ok(());
    };
    for file in &snapshot.manifest().files {
        let mut content = blocking(|| snapshot.open_file(file))?;
        let mut offset = 0;
        loop {
            let chunk = blocking(|| read_chunk(&mut content, file, offset))?;
            offset += chunk.data.len() as u64;
            let last = chunk.last_of_file;
            let Ok(()) = send(&frames, Frame::Chunk(chunk)).await else {
                return Ok(());
            };
            if last {
                break;
            }
        }
    }
    Ok(())
}

async fn send(
    frames: &mpsc::Sender<SnapshotFrame>,
    frame: Frame,
) -> Result<(), mpsc::error::SendError<SnapshotFrame>> {
    frames.send(SnapshotFrame { frame: Some(frame) }).await
}

/// The part of a file from `offset`, which is how far it has been read.
fn read_chunk(
    content: &mut (dyn std::io::Read + Send),
    file: &SnapshotFile,
    offset: u64,
) -> std::io::Result<FileChunk> {
    let mut data = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES);
    let read = content
        .take(SNAPSHOT_CHUNK_BYTES as u64)
        .read_to_end(&mut data)?;
    let last_of_file = offset + read as u64 >= file.size;
    if read == 0 && !last_of_file {
        return Err(std::io::Error::new(
            std::io::ErrorKind::UnexpectedEof,
            "a snapshot file is too short",
        ));
    }
    Ok(FileChunk {
        file: file.name.clone(),
        offset,
        crc32c: crc32c::crc32c(&data),
        data: data.into(),
        last_of_file,
    })
}
