//! `raft.v1` as a replica serves it.
//!
//! Every message is checked: it must name this cluster and this member, and over TLS its sender must be the member
//! whose certificate the connection showed.

use crate::agreement::Agreement;
use crate::disk::{SnapshotData, StateDisk};
use crate::durable::{At, VoteForm};
use crate::membership;
use crate::messages::{
    self, Answer, Forward, Forwarded, Request as ForwardRequest, SnapshotHeader,
};
use crate::metrics;
use crate::peers::Peers;
use crate::propose;
use crate::read;
use crate::server::Caller;
use crate::space::Space;
use crate::state_machine::{Progress, blocking};
use crate::types::{Proposal, Raft, TypeConfig};
use futures::{Stream, StreamExt as _, stream::BoxStream};
use openraft::raft::AppendEntriesRequest;
use openraft::storage::{Snapshot, SnapshotMeta};
use parking_lot::Mutex;
use pontoon_api::Revision;
use pontoon_identity::Member;
use pontoon_state::Feed;
use pontoon_storage::{Manifest, StorageError};
use pontoon_wire::raft::v1::raft_server;
use pontoon_wire::raft::v1::{Envelope, FileChunk, SnapshotFrame, snapshot_frame::Frame};
use prost::Message as _;
use std::sync::{Arc, Weak};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// Serves the other replicas.
#[derive(Clone)]
pub struct Service {
    pub(crate) raft: Raft,
    pub(crate) peers: Arc<Peers>,
    pub(crate) state: Arc<dyn StateDisk>,
    pub(crate) space: Weak<Space>,
    pub(crate) agreement: Arc<Agreement>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) beside: Option<Routes>,
    pub(crate) progress: watch::Receiver<Progress>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("me", &self.peers.me)
            .finish_non_exhaustive()
    }
}

/// Who is at the other end of a connection, where that is known.
fn sender<T>(request: &Request<T>) -> Option<Member> {
    request
        .extensions()
        .get::<Caller>()
        .and_then(|caller| caller.0.clone())
}

fn garbled(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

/// Storage that fails stops the replica through Raft; the sender learns that it was not done.
fn failed(error: &StorageError) -> Status {
    match error {
        StorageError::Corrupt(_) => Status::data_loss(error.to_string()),
        _ => Status::internal(error.to_string()),
    }
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

/// Checks an envelope, and that its sender is a member still; gives its body.
fn open(
    peers: &Peers,
    sender: Option<&Member>,
    envelope: Envelope,
) -> Result<bytes::Bytes, Status> {
    let from = envelope.from;
    let body = addressed(peers, sender, envelope)?;
    welcome(peers, from)?;
    Ok(body)
}

/// Refuses who was removed.
fn welcome(peers: &Peers, from: u64) -> Result<(), Status> {
    if peers.is_banished(from) {
        return Err(Status::permission_denied(membership::removed(from)));
    }
    Ok(())
}

/// Checks whose an envelope is and for whom; gives its body.
fn addressed(
    peers: &Peers,
    sender: Option<&Member>,
    envelope: Envelope,
) -> Result<bytes::Bytes, Status> {
    let me = &peers.me;
    let detail = if envelope.cluster_id != me.cluster {
        format!(
            "a message for cluster {} reached cluster {}",
            envelope.cluster_id, me.cluster
        )
    } else if envelope.to != me.id {
        format!(
            "a message for member {} reached member {}",
            envelope.to, me.id
        )
    } else if sender
        .is_some_and(|sender| sender.id != envelope.from || sender.cluster != me.cluster)
    {
        format!(
            "a message in the name of member {} is another's",
            envelope.from
        )
    } else {
        return Ok(envelope.body);
    };
    ::metrics::counter!(metrics::MISDIRECTED).increment(1);
    tracing::warn!(detail, "a replica's message is refused");
    Err(Status::permission_denied(detail))
}

impl Service {
    fn answer(&self, to: u64, body: bytes::Bytes) -> Response<Envelope> {
        Response::new(self.peers.envelope(to, body))
    }

    async fn read_snapshot(
        &self,
        frames: &mut Streaming<SnapshotFrame>,
        manifest: Manifest,
    ) -> Result<SnapshotData, Status> {
        let mut incoming =
            blocking(|| self.state.receive(manifest)).map_err(|error| failed(&error))?;
        while let Some(frame) = frames.message().await? {
            let Some(Frame::Chunk(FileChunk {
                file,
                offset,
                data,
                crc32c,
                last_of_file,
            })) = frame.frame
            else {
                return Err(Status::invalid_argument("a snapshot has one header"));
            };
            if crc32c::crc32c(&data) != crc32c {
                return Err(Status::data_loss(format!(
                    "a chunk of {file} was damaged on its way"
                )));
            }
            blocking(|| incoming.write(&file, offset, &data, last_of_file))
                .map_err(|error| failed(&error))?;
        }
        blocking(|| incoming.finish()).map_err(|error| failed(&error))
    }

    async fn forwarded(&self, from: u64, request: ForwardRequest) -> Answer {
        match request {
            ForwardRequest::Compare(request) => {
                let revision = Revision(request.revision);
                return self.agreement.answer(&self.feed, revision).await;
            }
            ForwardRequest::Judgement(judgement) => {
                self.agreement.learn(self.peers.me.id, &judgement);
                return Answer::Noted(true);
            }
            ForwardRequest::Standing(empty) => {
                return membership::standing_of(
                    &self.raft,
                    &self.feed,
                    &self.progress,
                    from,
                    empty,
                )
                .await;
            }
            _ => {}
        }
        if let Some(trouble) = self.agreement.diverged() {
            return Answer::Refused(trouble);
        }
        self.led(request).await
    }

    /// What only a leader does.
    async fn led(&self, request: ForwardRequest) -> Answer {
        match request {
            ForwardRequest::Propose(request) => {
                let Some(form) = request.proposal else {
                    return Answer::Refused("nothing is proposed".into());
                };
                let proposal: Proposal = form.into();
                if let Some(Err(full)) = self
                    .space
                    .upgrade()
                    .map(|space| space.check(self.peers.me.id))
                {
                    return Answer::Refused(full.to_string());
                }
                match propose::lead(&self.raft, proposal, request.term).await {
                    Ok(led) => Answer::Committed(At {
                        term: led.term,
                        index: led.index,
                    }),
                    Err(propose::LeadError::NotDone(detail)) => Answer::Refused(detail),
                    Err(propose::LeadError::Unknown(detail)) => Answer::Unknown(detail),
                }
            }
            ForwardRequest::ReadIndex(_) => match read::index(&self.raft).await {
                Ok(index) => Answer::ReadIndex(index),
                Err(detail) => Answer::Refused(detail),
            },
            ForwardRequest::Progress(_) => membership::answer_progress(&self.raft),
            ForwardRequest::Transfer(to) => {
                membership::answer_transfer(&self.raft, self.peers.me.id, to).await
            }
            _ => Answer::Refused("this is asked of any member".into()),
        }
    }

    /// A replica whose state has diverged has no vote.
    fn may_vote(&self) -> Result<(), Status> {
        self.agreement
            .diverged()
            .map_or(Ok(()), |trouble| Err(stopped(trouble)))
    }
}

/// Appends from an append stream, until one is not acceptable; that one's status is left in `refusal`.
fn requests(
    peers: Arc<Peers>,
    sender: Option<Member>,
    inbound: Streaming<Envelope>,
    from: Arc<Mutex<u64>>,
    refusal: Arc<Mutex<Option<Status>>>,
) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + 'static {
    inbound
        .map(move |message| {
            let envelope = message?;
            *from.lock() = envelope.from;
            let body = open(&peers, sender.as_ref(), envelope)?;
            messages::decode_append(body).map_err(garbled)
        })
        .map(move |request: Result<_, Status>| {
            request
                .map_err(|status| *refusal.lock() = Some(status))
                .ok()
        })
        .take_while(|request| futures::future::ready(request.is_some()))
        .filter_map(futures::future::ready)
}

#[tonic::async_trait]
impl raft_server::Raft for Service {
    type AppendStream = BoxStream<'static, Result<Envelope, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let sender = sender(&request);
        let (from, refusal) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(None)));
        let inbound = requests(
            self.peers.clone(),
            sender,
            request.into_inner(),
            from.clone(),
            refusal.clone(),
        );
        let peers = self.peers.clone();
        let answers = self
            .raft
            .stream_append(inbound)
            .map(move |result| match result {
                Ok(result) => Ok(peers.envelope(*from.lock(), messages::encode_appended(result))),
                Err(fatal) => Err(stopped(fatal)),
            });
        let end = futures::stream::once(async move { refusal.lock().take().map(Err) });
        Ok(Response::new(
            answers
                .chain(end.filter_map(futures::future::ready))
                .boxed(),
        ))
    }

    async fn vote(&self, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        let (sender, envelope) = (sender(&request), request.into_inner());
        let from = envelope.from;
        let ballot = messages::decode_ballot(open(&self.peers, sender.as_ref(), envelope)?)
            .map_err(garbled)?;
        self.may_vote()?;
        let answer = self.raft.vote(ballot).await.map_err(stopped)?;
        Ok(self.answer(from, messages::encode_ballot_answer(&answer)))
    }

    async fn pre_vote(&self, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        let (sender, envelope) = (sender(&request), request.into_inner());
        let from = envelope.from;
        let ballot = messages::decode_ballot(open(&self.peers, sender.as_ref(), envelope)?)
            .map_err(garbled)?;
        self.may_vote()?;
        let answer = self.raft.pre_vote(ballot).await.map_err(stopped)?;
        Ok(self.answer(from, messages::encode_ballot_answer(&answer)))
    }

    async fn transfer_leader(
        &self,
        request: Request<Envelope>,
    ) -> Result<Response<Envelope>, Status> {
        let (sender, envelope) = (sender(&request), request.into_inner());
        let from = envelope.from;
        let transfer = messages::decode_transfer(open(&self.peers, sender.as_ref(), envelope)?)
            .map_err(garbled)?;
        self.may_vote()?;
        let answer = self
            .raft
            .handle_transfer_leader(transfer)
            .await
            .map_err(stopped)?;
        Ok(self.answer(from, messages::encode_transfer_answer(&answer)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotFrame>>,
    ) -> Result<Response<Envelope>, Status> {
        let sender = sender(&request);
        let mut frames = request.into_inner();
        let Some(SnapshotFrame {
            frame: Some(Frame::Header(envelope)),
        }) = frames.message().await?
        else {
            return Err(Status::invalid_argument("a snapshot begins with a header"));
        };
        let from = envelope.from;
        let header = SnapshotHeader::decode(open(&self.peers, sender.as_ref(), envelope)?)
            .map_err(garbled)?;
        let vote = header
            .vote
            .ok_or_else(|| Status::invalid_argument("a snapshot without a vote"))?
            .into();
        let manifest: Manifest = serde_json::from_slice(&header.manifest).map_err(garbled)?;
        let data = self.read_snapshot(&mut frames, manifest).await?;
        let (last_log_id, last_membership) =
            crate::durable::decode_applied(&data.manifest().applied).map_err(garbled)?;
        let snapshot = Snapshot {
            meta: SnapshotMeta {
                last_log_id,
                last_membership,
            },
            snapshot: data,
        };
        let answer = self
            .raft
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(stopped)?;
        Ok(self.answer(from, VoteForm::from(answer.vote).encode_to_vec().into()))
    }

    async fn forward(&self, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        let (sender, envelope) = (sender(&request), request.into_inner());
        let from = envelope.from;
        let body = addressed(&self.peers, sender.as_ref(), envelope)?;
        let request = Forward::decode(body)
            .map_err(garbled)?
            .request
            .ok_or_else(|| Status::invalid_argument("nothing is asked"))?;
        // Who was removed may ask one thing: why nobody listens.
        if !matches!(request, ForwardRequest::Standing(_)) {
            welcome(&self.peers, from)?;
        }
        let answer = Forwarded {
            answer: Some(self.forwarded(from, request).await),
        };
        Ok(self.answer(from, answer.encode_to_vec().into()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn envelope(cluster: &str, from: u64, to: u64) -> Envelope {
        Envelope {
            cluster_id: cluster.into(),
            from,
            to,
            body: "body".into(),
        }
    }

    fn member(cluster: &str, id: u64) -> Member {
        Member {
            cluster: cluster.into(),
            id,
        }
    }

    #[test]
    fn a_message_for_another_or_in_anothers_name_is_refused() {
        let peers = Peers::new(member("c", 1), None, Arc::new(crate::transport::Tcp));
        let two = member("c", 2);
        assert_eq!(
            open(&peers, Some(&two), envelope("c", 2, 1)).unwrap(),
            "body"
        );
        assert_eq!(open(&peers, None, envelope("c", 2, 1)).unwrap(), "body");
        for (sender, envelope) in [
            (&two, envelope("d", 2, 1)),
            (&two, envelope("c", 2, 3)),
            (&two, envelope("c", 3, 1)),
            (&member("d", 2), envelope("c", 2, 1)),
        ] {
            let status = open(&peers, Some(sender), envelope).unwrap_err();
            assert_eq!(status.code(), tonic::Code::PermissionDenied);
        }
    }
}
