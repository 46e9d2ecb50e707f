//! openraft's state machine over `state`'s machine and `storage`'s snapshots.
//!
//! Objects, last applied position and membership are written in one batch. What is applied is published
//! before anyone is told its outcome.

use crate::agreement::Agreement;
use crate::disk::{SnapshotData, State, StateDisk, Taken};
use crate::durable;
use crate::limits::APPLY_ENTRIES;
use crate::metrics;
use crate::types::{LogEntry, LogId, Membership, Origin, Response, StoredMembership, TypeConfig};
use crate::waiters::Waiters;
use futures::{Stream, StreamExt as _};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine, Snapshot, SnapshotMeta};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use pontoon_api::Term;
use pontoon_state::seeded::{self, Bug};
use pontoon_state::{Command, Entry, Feed, KvError, Machine};
use pontoon_storage::StorageError;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

type Meta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;

/// How far this replica has applied the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    /// The term of the last entry applied.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

/// The state machine as Raft sees it.
#[derive(Debug)]
pub struct StateMachine {
    machine: Machine<State>,
    store: Arc<dyn StateDisk>,
    feed: Arc<Feed>,
    last: Option<LogId>,
    membership: StoredMembership,
    progress: watch::Sender<Progress>,
    waiters: Arc<Waiters>,
    agreement: Arc<Agreement>,
}

/// Entries to apply at once, and who waits for each.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    answers: Vec<(Option<Origin>, Option<ApplyResponder<TypeConfig>>)>,
}

/// A log entry, understood.
struct Decoded {
    id: LogId,
    origin: Option<Origin>,
    command: Option<Command>,
    membership: Option<Membership>,
}

impl Decoded {
    fn new(entry: LogEntry) -> io::Result<Self> {
        let mut decoded = Self {
            id: entry.log_id,
            origin: None,
            command: None,
            membership: None,
        };
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => decoded.membership = Some(membership),
            EntryPayload::Normal(proposal) => {
                let command = Command::decode(proposal.command);
                decoded.command = Some(
                    command.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?,
                );
                decoded.origin = Some(proposal.origin);
            }
        }
        Ok(decoded)
    }

    /// Compaction reads the store, and so must find in it what came before, with the mark of how far that is.
    const fn stands_alone(&self) -> bool {
        matches!(self.command, Some(Command::Compact(_)))
    }
}

fn failed(error: KvError) -> io::Error {
    let kind = match error {
        KvError::Storage(_) => io::ErrorKind::Other,
        KvError::Corrupt(_) => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error)
}

/// Runs what takes long without holding up the other tasks of this thread, where the runtime has
/// other threads to move them to.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// As [`blocking`], for what takes so long that the caller's own other work must go on meanwhile.
async fn offload<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    match tokio::runtime::Handle::current().runtime_flavor() {
        tokio::runtime::RuntimeFlavor::MultiThread => tokio::task::spawn_blocking(work)
            .await
            .map_err(io::Error::other),
        _ => Ok(work()),
    }
}

impl StateMachine {
    /// Loads the present from the store.
    ///
    /// # Errors
    /// [`KvError`] when the store cannot be read.
    pub(crate) fn open(store: Arc<dyn StateDisk>, waiters: Arc<Waiters>) -> Result<Self, KvError> {
        let machine = Machine::open(Arc::new(State(store.clone())))?;
        let feed = Arc::new(Feed::new(machine.view(), Arc::new(machine.past())));
        let (last, membership) = read_applied(&machine)?;
        let progress = watch::Sender::new(progress_at(last));
        let agreement = Agreement::new(&machine.view());
        Ok(Self {
            machine,
            store,
            feed,
            last,
            membership,
            progress,
            waiters,
            agreement,
        })
    }

    pub(crate) fn feed(&self) -> Arc<Feed> {
        self.feed.clone()
    }

    pub(crate) fn agreement(&self) -> Arc<Agreement> {
        self.agreement.clone()
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    fn add(
        &mut self,
        batch: &mut Batch,
        decoded: Decoded,
        responder: Option<ApplyResponder<TypeConfig>>,
    ) {
        if let Some(membership) = decoded.membership {
            self.membership = StoredMembership::new(Some(decoded.id), membership);
        }
        batch.entries.push(Entry {
            term: Term(decoded.id.leader_id.term),
            command: decoded.command,
        });
        batch.answers.push((decoded.origin, responder));
        self.last = Some(decoded.id);
    }

    fn apply_batch(&mut self, batch: Batch) -> io::Result<()> {
        if batch.entries.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let marker = durable::encode_applied(self.last, &self.membership);
        let spans = spans(&batch.entries);
        let applied = self.machine.apply(&batch.entries, marker).map_err(failed)?;
        // Before the view: whoever sees a revision finds its digest.
        self.agreement.extend(applied.digests);
        self.feed.publish(applied.view, applied.changes);
        drop(spans);
        ::metrics::histogram!(metrics::APPLY_SECONDS).record(begun.elapsed());
        ::metrics::histogram!(metrics::APPLIED_ENTRIES)
            .record(u32::try_from(batch.entries.len()).unwrap_or(u32::MAX));
        for ((origin, responder), outcome) in batch.answers.into_iter().zip(applied.outcomes) {
            if let (Some(origin), Some(outcome)) = (origin, &outcome) {
                self.waiters.complete(origin, outcome);
            }
            if let Some(responder) = responder {
                responder.send(Response(outcome));
            }
        }
        // Behind the answers: who sees that a later leadership's entries are applied has its own answer, or none.
        self.report();
        Ok(())
    }

    fn report(&self) {
        let progress = progress_at(self.last);
        #[allow(
            clippy::cast_precision_loss,
            reason = "a gauge is a float; an index beyond 2^52 is far away"
        )]
        ::metrics::gauge!(metrics::APPLIED_INDEX).set(progress.index as f64);
        self.progress.send_replace(progress);
    }
}

/// One span for each entry whose write is traced, to be ended when the batch is applied. Most writes of a cluster that exports no
/// traces have none.
fn spans(entries: &[Entry]) -> Vec<tracing::Span> {
    let traced = |entry: &Entry| match &entry.command {
        Some(Command::Transact(transaction)) if !transaction.trace.is_empty() => {
            // Not a child of whatever this thread is in: the batch is many writers'.
            let span = tracing::info_span!(parent: None, "apply", term = entry.term.0);
            pontoon_telemetry::trace::adopt(&span, &transaction.trace);
            Some(span)
        }
        _ => None,
    };
    entries.iter().filter_map(traced).collect()
}

fn progress_at(last: Option<LogId>) -> Progress {
    last.map_or_else(Progress::default, |id| Progress {
        term: id.leader_id.term,
        index: id.index,
    })
}

fn read_applied(machine: &Machine<State>) -> Result<(Option<LogId>, StoredMembership), KvError> {
    match machine.applied()? {
        Some(bytes) => {
            durable::decode_applied(&bytes).map_err(|error| KvError::Corrupt(error.to_string()))
        }
        None => Ok((None, StoredMembership::default())),
    }
}

/// A name that sorts as snapshots follow each other.
fn snapshot_name(last: Option<LogId>) -> String {
    let progress = progress_at(last);
    format!("{:020}-{:020}", progress.index, progress.term)
}

fn snapshot_of(
    data: SnapshotData,
) -> io::Result<
    Snapshot<
        openraft::type_config::alias::CommittedLeaderIdOf<TypeConfig>,
        u64,
        openraft::impls::BasicNode,
        SnapshotData,
    >,
> {
    let (last_log_id, last_membership) = durable::decode_applied(&data.manifest().applied)?;
    Ok(Snapshot {
        meta: SnapshotMeta {
            last_log_id,
            last_membership,
        },
        snapshot: data,
    })
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batch = Batch::default();
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            let decoded = Decoded::new(entry)?;
            let alone = decoded.stands_alone();
            if alone || batch.entries.len() >= APPLY_ENTRIES {
                self.apply_batch(std::mem::take(&mut batch))?;
            }
            self.add(&mut batch, decoded, responder);
            if alone {
                self.apply_batch(std::mem::take(&mut batch))?;
            }
        }
        self.apply_batch(batch)
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        // The checkpoint is taken here, between two batches; only summing its files runs beside apply.
        let mut last = self.last;
        if seeded::makes(Bug::SnapshotBehind)
            && let Some(at) = &mut last
        {
            at.index = at.index.saturating_sub(1);
        }
        let marker = durable::encode_applied(last, &self.membership);
        let taken = blocking(|| self.store.take(&marker));
        Builder {
            taken: Some(taken),
            name: snapshot_name(last),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        snapshot: Self::SnapshotData,
    ) -> Result<(), io::Error> {
        let machine = blocking(|| {
            self.store
                .install(&*snapshot, &snapshot_name(meta.last_log_id))?;
            Machine::open(Arc::new(State(self.store.clone()))).map_err(failed)
        })?;
        let (last, membership) = read_applied(&machine).map_err(failed)?;
        if last != meta.last_log_id {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a snapshot is not of the position it claims",
            ));
        }
        self.machine = machine;
        self.last = last;
        self.membership = membership;
        let view = self.machine.view();
        self.agreement.reset(&view);
        self.feed.reset(view);
        self.waiters.obscure();
        self.report();
        ::metrics::counter!(metrics::INSTALLED).increment(1);
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>>, io::Error>
    {
        self.store.current().map(snapshot_of).transpose()
    }
}

/// An instant of the state on its way to becoming a snapshot.
#[derive(Debug)]
pub struct Builder {
    taken: Option<Result<Box<dyn Taken>, StorageError>>,
    name: String,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(
        &mut self,
    ) -> Result<openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>, io::Error> {
        let taken = self
            .taken
            .take()
            .ok_or_else(|| io::Error::other("a snapshot is built once"))??;
        let name = self.name.clone();
        snapshot_of(offload(move || taken.finish(&name)).await??)
    }
}
