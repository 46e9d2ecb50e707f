//! The Raft log on disk: entries, vote, purge point, and how far all of it is durable.
//!
//! A chain of checksummed records in segment files. Votes, truncations and purges are records like entries, so that
//! their order is the order in which they were asked for, and one sync makes all of them durable. Appending
//! only puts records into memory; one thread takes all that wait, writes them, syncs once, and reports all of them.
//!
//! A crash leaves a tail that was never synced, perhaps torn, and that is dropped. Anything else that is missing or other than it
//! was written is damage: `recover` says how the two are told apart, `mark` how far the log was reported durable.
//!
//! Invariants:
//! - what is reported durable is found after any crash, in order, or the log does not open and says what is lost;
//! - a segment is begun when the one before it is durable, and dropped when the purge point behind it is;
//! - a failed write or sync is final.

mod format;
mod mark;
mod recover;
mod segments;
mod sync;
mod tail;

use crate::data_dir::DataDir;
use crate::disk::{Disk, RealDisk};
use crate::error::{OpenError, StorageError};
use crate::limits::{LOG_QUEUE_BYTES, LOG_SEGMENT_BYTES};
use crate::metrics;
use bytes::Bytes;
use format::{Draft, Facts, HEADER_BYTES, Header, Kind, VOTE_BYTES};
use mark::{Mark, MarkFile};
use parking_lot::{Condvar, Mutex, MutexGuard};
use segments::Segments;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;
use sync::{Chunk, Writer};
use tail::{Place, Tail};

/// Where an entry is in the log, and who led when it was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The term.
    pub term: u64,
    /// The index.
    pub index: u64,
}

/// One entry. What it says is opaque here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it is.
    pub position: Position,
    /// What it says.
    pub payload: Bytes,
}

/// Called once an append is durable, or cannot become so. On the syncing thread: it must not block.
pub type Flushed = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// Who makes appends durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncing {
    /// A thread, for all that wait at once.
    Thread,
    /// Each append itself, before it returns: for simulations, in which nothing may happen on its own.
    Inline,
}

/// How a log is kept.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Who syncs.
    pub syncing: Syncing,
}

impl Settings {
    /// For servers.
    #[must_use]
    pub const fn standard() -> Self {
        Self {
            segment_bytes: LOG_SEGMENT_BYTES,
            syncing: Syncing::Thread,
        }
    }
}

/// The log as memory has it, and what is yet to be written.
struct Core {
    facts: Facts,
    tail: Tail,
    /// The CRC of the last record.
    chain: u32,
    /// Where the next record goes.
    segment: u32,
    offset: u32,
    /// Before this everything is durable.
    durable: (u32, u32),
    queue: Vec<Chunk>,
    queued_bytes: usize,
    /// Since when records wait that nobody waits for.
    queued_since: Option<Instant>,
    waiting: Vec<Flushed>,
    /// Whether a vote is among what waits.
    voted: bool,
    /// Segments before this may go once what waits is durable.
    drop_before: Option<u32>,
    /// Room for the next records.
    buffer: Vec<u8>,
    failed: Option<StorageError>,
    /// The writer waits, and will not look at the clock.
    resting: bool,
    closed: bool,
}

/// What readers, appenders and the writer share.
struct Shared {
    core: Mutex<Core>,
    /// There is something to write.
    work: Condvar,
    /// Something was written.
    room: Condvar,
    segments: Segments,
    segment_bytes: u64,
}

enum Mode {
    Thread(Option<JoinHandle<()>>),
    Inline(Mutex<Writer>),
}

/// The log of one replica. There is one appender; readers are many.
pub struct Log {
    shared: Arc<Shared>,
    mode: Mode,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("last", &self.last())
            .field("purged", &self.purged())
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log and checks all of it.
    ///
    /// # Errors
    /// [`OpenError::Damaged`] when it is not what this replica reported durable: it must not vote.
    pub fn open(data: &DataDir) -> Result<Arc<Self>, OpenError> {
        Self::open_on(Arc::new(RealDisk), &data.path(""), Settings::standard())
    }

    /// As [`Log::open`], on any disk: `root` is the data directory, which must exist.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        root: &Path,
        settings: Settings,
    ) -> Result<Arc<Self>, OpenError> {
        let (dir, mark_path) = (root.join("log"), root.join("synced"));
        let mark = MarkFile::open(disk.as_ref(), &mark_path)?;
        if mark.is_none() {
            begin(disk.as_ref(), root, &dir)?;
        }
        let (segments, numbers) = match Segments::open(disk.clone(), &dir, settings.segment_bytes) {
            Err(_) if mark.is_some() && !exists(disk.as_ref(), &dir)? => {
                return Err(gone(&dir));
            }
            opened => opened?,
        };
        let (mut mark, found) = match mark {
            Some(Err(())) => {
                let detail = "the mark of how far it is synced is unreadable";
                return Err(recover::damaged(&dir, detail, None));
            }
            Some(Ok(_)) if numbers.is_empty() => return Err(gone(&dir)),
            Some(Ok(mark)) => {
                let found = recover::recover(&segments, &numbers, &mark.mark(), &dir)?;
                (mark, found)
            }
            None => found_new(disk.as_ref(), &segments, &numbers, &dir, &mark_path)?,
        };
        recover::sweep(&segments, &found)?;
        segments.trim_spares()?;
        segments.settle()?;
        let file = segments.file(found.segment)?;
        let core = Core::new(found);
        mark.raise(core.mark())?;
        mark.sync()?;
        let first = core.first_segment();
        segments.drop_before(first)?;
        let shared = Arc::new(Shared {
            core: Mutex::new(core),
            work: Condvar::new(),
            room: Condvar::new(),
            segments,
            segment_bytes: settings.segment_bytes,
        });
        let writer = Writer::new(shared.clone(), mark, file);
        let mode = match settings.syncing {
            Syncing::Thread => Mode::Thread(Some(sync::start(writer)?)),
            Syncing::Inline => Mode::Inline(Mutex::new(writer)),
        };
        Ok(Arc::new(Self { shared, mode }))
    }

    /// The purge point: the last entry that is gone.
    #[must_use]
    pub fn purged(&self) -> Option<Position> {
        self.shared.core.lock().facts.purged
    }

    /// The last entry, or the purge point when there is none.
    #[must_use]
    pub fn last(&self) -> Option<Position> {
        self.shared.core.lock().facts.last
    }

    /// Appends entries that follow the last one. They can be read on return; `flushed` is called once they are durable.
    ///
    /// # Errors
    /// [`StorageError`]: the replica must stop. `flushed` is not called.
    pub fn append(&self, records: Vec<Record>, flushed: Flushed) -> Result<(), StorageError> {
        let mut core = self.usable()?;
        let before = core.queued_bytes;
        for record in records {
            if let Some(last) = core.facts.last
                && last.index + 1 != record.position.index
            {
                return Err(StorageError::Corrupt(format!(
                    "entry {} was to follow entry {}",
                    record.position.index, last.index
                )));
            }
            let draft = Draft {
                kind: Kind::Entry,
                position: record.position,
                payload: &record.payload,
            };
            let place = core.write(&draft, self.shared.segment_bytes);
            core.facts.last = Some(record.position);
            core.tail.push(record, place);
        }
        let bytes = core.queued_bytes - before;
        ::metrics::counter!(metrics::APPENDED_BYTES).increment(bytes as u64);
        self.submit(core, flushed);
        Ok(())
    }

    /// Removes the entries behind `last` (all of them for `None`).
    ///
    /// # Errors
    /// [`StorageError`]: the replica must stop.
    pub fn truncate_after(&self, last: Option<u64>) -> Result<(), StorageError> {
        let mut core = self.usable()?;
        let there = core.tail.range();
        let from = last.map_or(0, |last| last + 1).max(there.start);
        if from >= there.end {
            return Ok(());
        }
        let kept = if from == there.start {
            core.facts.purged
        } else {
            Some(self.position(&core, from - 1)?)
        };
        let draft = Draft {
            kind: Kind::Truncate,
            position: Position {
                term: 0,
                index: from,
            },
            payload: &format::pack(kept),
        };
        core.write(&draft, self.shared.segment_bytes);
        core.tail.truncate(from);
        core.facts.last = kept;
        self.leave(core);
        Ok(())
    }

    /// Removes the entries up to and with `upto`. The caller has made durable what they led to. The space is
    /// free once the purge point is durable.
    ///
    /// # Errors
    /// [`StorageError`]: the replica must stop.
    pub fn purge(&self, upto: Position) -> Result<(), StorageError> {
        let mut core = self.usable()?;
        if core.facts.purged.is_some_and(|purged| purged >= upto) {
            return Ok(());
        }
        let draft = Draft {
            kind: Kind::Purge,
            position: upto,
            payload: &[],
        };
        core.write(&draft, self.shared.segment_bytes);
        core.tail.purge(upto.index);
        core.facts.purged = Some(upto);
        // Purging beyond the end: a snapshot took the log's place.
        if core.facts.last.is_none_or(|last| last.index <= upto.index) {
            core.facts.last = Some(upto);
        }
        core.drop_before = Some(core.first_segment());
        self.leave(core);
        Ok(())
    }

    /// The entries of a range, as far as they are there.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when one is not what was written.
    pub fn read(&self, range: Range<u64>) -> Result<Vec<Record>, StorageError> {
        self.read_limited(range, usize::MAX)
    }

    /// As [`Log::read`], ending behind the entry with which `limit` bytes are reached.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_limited(
        &self,
        range: Range<u64>,
        limit: usize,
    ) -> Result<Vec<Record>, StorageError> {
        let core = self.shared.core.lock();
        let there = core.tail.range();
        let range = range.start.max(there.start)..range.end.min(there.end);
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let (places, cached) = core.tail.find(&range, limit);
        if places.is_empty() {
            return Ok(cached);
        }
        let files = self.shared.segments.files_of(&places)?;
        drop(core);
        ::metrics::counter!(metrics::CACHE_MISSES).increment(1);
        let mut records = self.shared.segments.read(&places, range.start, &files)?;
        records.extend(cached);
        Ok(records)
    }

    /// Saves the vote. It is durable on return, and so is everything appended before.
    ///
    /// # Errors
    /// [`StorageError`]: the replica must stop.
    pub fn save_vote(&self, vote: &[u8]) -> Result<(), StorageError> {
        if vote.len() > VOTE_BYTES {
            return Err(StorageError::Io(format!(
                "a vote of {} bytes has no room in {VOTE_BYTES}",
                vote.len()
            )));
        }
        let mut core = self.usable()?;
        let number = core.facts.vote_number + 1;
        let draft = Draft {
            kind: Kind::Vote,
            position: Position {
                term: 0,
                index: number,
            },
            payload: vote,
        };
        core.write(&draft, self.shared.segment_bytes);
        core.facts.vote_number = number;
        core.facts.vote = Bytes::copy_from_slice(vote);
        core.voted = true;
        let (done, durable) = mpsc::channel();
        // The receiver waits below.
        self.submit(core, Box::new(move |result| drop(done.send(result))));
        durable.recv().unwrap_or_else(|_| {
            Err(StorageError::Io(
                "the log's syncing thread has ended".into(),
            ))
        })
    }

    /// The vote saved last.
    #[must_use]
    pub fn vote(&self) -> Option<Bytes> {
        let core = self.shared.core.lock();
        (core.facts.vote_number > 0).then(|| core.facts.vote.clone())
    }

    /// Saves how far entries are known to be committed: durable in order with everything else, with the next sync or within
    /// a second. It only saves work at start.
    ///
    /// # Errors
    /// [`StorageError`]: the replica must stop.
    pub fn save_committed(&self, committed: Option<Position>) -> Result<(), StorageError> {
        let mut core = self.usable()?;
        if core.facts.committed == committed {
            return Ok(());
        }
        let draft = Draft {
            kind: committed.map_or(Kind::Uncommitted, |_| Kind::Committed),
            position: committed.unwrap_or(Position { term: 0, index: 0 }),
            payload: &[],
        };
        core.write(&draft, self.shared.segment_bytes);
        core.facts.committed = committed;
        self.leave(core);
        Ok(())
    }

    /// What [`Log::save_committed`] saved last.
    #[must_use]
    pub fn committed(&self) -> Option<Position> {
        self.shared.core.lock().facts.committed
    }

    /// The core, when the log has not failed and has room.
    fn usable(&self) -> Result<MutexGuard<'_, Core>, StorageError> {
        let mut core = self.shared.core.lock();
        while core.queued_bytes > LOG_QUEUE_BYTES && core.failed.is_none() {
            self.shared.room.wait(&mut core);
        }
        match &core.failed {
            Some(error) => Err(error.clone()),
            None => Ok(core),
        }
    }

    fn position(&self, core: &Core, index: u64) -> Result<Position, StorageError> {
        let missing = || StorageError::Corrupt(format!("entry {index} is missing"));
        match core.tail.position(index).ok_or_else(missing)? {
            Ok(position) => Ok(position),
            Err(place) => {
                let files = self.shared.segments.files_of(&[place])?;
                let records = self.shared.segments.read(&[place], index, &files)?;
                records
                    .first()
                    .map(|record| record.position)
                    .ok_or_else(missing)
            }
        }
    }

    /// Somebody waits for what was written.
    fn submit(&self, mut core: MutexGuard<'_, Core>, flushed: Flushed) {
        core.waiting.push(flushed);
        drop(core);
        match &self.mode {
            Mode::Thread(_) => drop(self.shared.work.notify_one()),
            Mode::Inline(writer) => writer.lock().flush(),
        }
    }

    /// Nobody waits for what was written: it goes with what comes next, or when the mark is due.
    fn leave(&self, mut core: MutexGuard<'_, Core>) {
        let resting = core.resting;
        core.queued_since.get_or_insert_with(Instant::now);
        let much = core.queued_bytes > LOG_QUEUE_BYTES;
        drop(core);
        match &self.mode {
            Mode::Thread(_) if resting => drop(self.shared.work.notify_one()),
            Mode::Inline(writer) if much => writer.lock().flush(),
            _ => {}
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        match &mut self.mode {
            Mode::Thread(thread) => {
                self.shared.core.lock().closed = true;
                self.shared.work.notify_one();
                if thread.take().is_some_and(|thread| thread.join().is_err()) {
                    tracing::error!("the log's syncing thread panicked");
                }
            }
            Mode::Inline(writer) => writer.get_mut().close(),
        }
    }
}

impl Core {
    fn new(found: recover::Found) -> Self {
        Self {
            facts: found.facts,
            tail: found.tail,
            chain: found.chain,
            segment: found.segment,
            offset: found.offset,
            durable: (found.segment, found.offset),
            queue: Vec::new(),
            queued_bytes: 0,
            queued_since: None,
            waiting: Vec::new(),
            voted: false,
            drop_before: None,
            buffer: Vec::new(),
            failed: None,
            resting: false,
            closed: false,
        }
    }

    /// What can be said when all of this is durable.
    fn mark(&self) -> Mark {
        Mark {
            segment: self.segment,
            offset: self.offset,
            chain: self.chain,
            last: self.facts.last,
            vote_number: self.facts.vote_number,
            ..Mark::default()
        }
    }

    /// The first segment that is needed.
    fn first_segment(&self) -> u32 {
        self.tail.first_segment().unwrap_or(self.segment)
    }

    /// Puts a record behind the last one, into a segment of its own when the last one is full.
    fn write(&mut self, draft: &Draft<'_>, segment_bytes: u64) -> Place {
        let size =
            u32::try_from(format::size(draft.payload.len())).expect("records are far below 4 GB");
        if self.offset > HEADER_BYTES && u64::from(self.offset + size) > segment_bytes {
            let header = Header {
                segment: self.segment + 1,
                previous_end: self.offset,
                chain: self.chain,
                facts: self.facts.clone(),
            };
            self.segment += 1;
            self.offset = HEADER_BYTES;
            self.begin_chunk(Some(header));
        } else if self.queue.is_empty() {
            self.begin_chunk(None);
        }
        let durable = if self.durable.0 == self.segment {
            self.durable.1
        } else {
            0
        };
        let chunk = self.queue.last_mut().expect("a chunk was begun above");
        self.chain = format::encode(&mut chunk.bytes, draft, self.chain, self.segment, durable);
        let place = Place {
            segment: self.segment,
            offset: self.offset,
            size,
        };
        self.offset += size;
        self.queued_bytes += size as usize;
        place
    }

    fn begin_chunk(&mut self, header: Option<Header>) {
        self.queue.push(Chunk {
            header,
            at: self.offset,
            bytes: std::mem::take(&mut self.buffer),
        });
    }
}

fn exists(disk: &dyn Disk, dir: &Path) -> Result<bool, StorageError> {
    match disk.list(dir) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StorageError::io("listing", dir, &error)),
    }
}

fn gone(dir: &Path) -> OpenError {
    let detail = "the log is gone, the mark of how far it reached is there";
    recover::damaged(dir, detail, None)
}

/// Makes the directory of a log.
fn begin(disk: &dyn Disk, root: &Path, dir: &Path) -> Result<(), StorageError> {
    disk.make_dir(dir)
        .and_then(|()| disk.sync_dir(root))
        .map_err(|error| StorageError::io("making", dir, &error))
}

/// A log without a mark: one that is being made, unless it holds something.
fn found_new(
    disk: &dyn Disk,
    segments: &Segments,
    numbers: &[u32],
    dir: &Path,
    mark_path: &Path,
) -> Result<(MarkFile, recover::Found), OpenError> {
    if numbers.is_empty() {
        segments.make(&Header {
            segment: 1,
            previous_end: 0,
            chain: 0,
            facts: Facts::default(),
        })?;
    }
    let found = recover::recover(segments, &[1], &Mark::default(), dir);
    let found = found.ok().filter(|found| {
        numbers.len() <= 1 && found.facts == Facts::default() && found.offset == HEADER_BYTES
    });
    let found = found
        .ok_or_else(|| recover::damaged(dir, "the mark of how far it is synced is gone", None))?;
    let mark = Core::new(found).mark();
    let mark = MarkFile::create(disk, mark_path, mark)?;
    let found = recover::recover(segments, &[1], &mark.mark(), dir)?;
    Ok((mark, found))
}
