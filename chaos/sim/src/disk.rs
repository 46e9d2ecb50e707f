//! A member's simulated disk: what is synced on it outlives every crash, the rest as the crash likes.

mod log;
mod snapshot;
mod state;

use crate::chance::Chance;
use parking_lot::Mutex;
use pontoon_consensus::Disk;
use pontoon_consensus::disk::Room;
use pontoon_storage::disk::{MemoryDisk, Operation, Verdict};
use pontoon_storage::{OpenError, Position, StorageError, disk};
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

pub use log::Appended;

/// A disk, and what is wrong with it. Clones share it.
#[derive(Debug, Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    chance: Chance,
    health: Arc<Mutex<Health>>,
    /// The log's files.
    files: Mutex<MemoryDisk>,
    segment_bytes: u64,
    /// The log of the present life.
    living: Mutex<Weak<log::SimLog>>,
    log: Mutex<log::Image>,
    state: Mutex<state::Image>,
    broken: Mutex<Vec<String>>,
}

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Health {
    /// The next sync fails; the page cache lies from then on.
    pub sync_fails: bool,
    /// Writes find no space.
    pub full: bool,
    /// So little space is left that no proposals should be taken.
    pub almost_full: bool,
    /// Each sync takes this much longer.
    pub slow: Duration,
    /// The power fails in the midst of an operation, after so many more.
    cut_after: Option<u64>,
}

/// How a member's end treats its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The process ended: what it wrote is in the page cache.
    Nothing,
    /// The power failed: of what was not synced any sectors may be there.
    Unsynced,
}

impl Shared {
    fn broken(&self, what: String) {
        self.broken.lock().push(what);
    }
}

impl Health {
    /// What becomes of an operation.
    fn judge(&mut self, operation: Operation) -> Verdict {
        match (&mut self.cut_after, operation) {
            (_, Operation::Read(_)) => return Verdict::Do,
            (Some(0), _) => return Verdict::Cut,
            (Some(more), _) => *more -= 1,
            (None, _) => {}
        }
        match operation {
            Operation::Sync if std::mem::take(&mut self.sync_fails) => {
                Verdict::Fail(io::ErrorKind::Other)
            }
            Operation::Write(_) | Operation::Allocate | Operation::Create if self.full => {
                Verdict::Fail(io::ErrorKind::StorageFull)
            }
            _ => Verdict::Do,
        }
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(chance: Chance) -> Self {
        // Small segments, so that short runs have many.
        let segment_bytes = *chance.pick(&[8 << 10, 32 << 10, 1 << 20]).unwrap_or(&8_192);
        Self {
            shared: Arc::new(Shared {
                chance,
                health: Arc::default(),
                files: Mutex::default(),
                segment_bytes,
                living: Mutex::default(),
                log: Mutex::default(),
                state: Mutex::default(),
                broken: Mutex::default(),
            }),
        }
    }

    /// Opens it for one life of the member.
    ///
    /// # Errors
    /// The log's.
    pub fn open(&self) -> Result<Disk, OpenError> {
        let health = self.shared.health.clone();
        health.lock().cut_after = None;
        let files = self.shared.files.lock().clone();
        files.decide(move |operation, _| health.lock().judge(operation));
        Ok(Disk {
            log: Arc::new(log::Handle(log::SimLog::open(&self.shared)?)),
            state: state::SimState::open(&self.shared),
            room: Arc::new(SimRoom(self.shared.clone())),
        })
    }

    /// The member's life ends. To be called before it is dropped: what it writes from here on is lost.
    pub fn crash(&self, loss: Loss) {
        let living = std::mem::take(&mut *self.shared.living.lock());
        if let Some(log) = living.upgrade() {
            log.end(loss);
        }
        let chance = &self.shared.chance;
        let left = match loss {
            Loss::Nothing => disk::Loss::Nothing,
            Loss::Unsynced if chance.percent(25) => disk::Loss::Everything,
            Loss::Unsynced => disk::Loss::Torn(chance.number()),
        };
        let mut files = self.shared.files.lock();
        let found = files.after_power_failure(left);
        files.decide(|_, _| Verdict::Cut);
        *files = found;
        drop(files);
        if loss == Loss::Unsynced {
            self.shared.state.lock().lose(chance);
        }
    }

    /// Changes what is wrong with it.
    pub fn ail(&self, change: impl FnOnce(&mut Health)) {
        change(&mut self.shared.health.lock());
    }

    /// What it found that must never be, since this was last asked.
    pub fn take_broken(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.broken.lock())
    }

    /// The term of the entry at `index` as readers see it; `None` when it is not there.
    pub fn entry_term(&self, index: u64) -> Option<u64> {
        self.shared.log.lock().live.term(index)
    }

    /// Whether the entry at `position`, or a state that it led to, would outlive a power failure.
    pub fn keeps(&self, position: Position) -> bool {
        let log = self.shared.log.lock();
        log.durable.term(position.index) == Some(position.term)
            || log
                .live
                .purged
                .is_some_and(|purged| purged.index >= position.index)
    }

    /// Whether the entry at `position` is in the log, or was and has been purged.
    pub fn holds(&self, position: Position) -> bool {
        let log = self.shared.log.lock();
        log.live.term(position.index) == Some(position.term)
            || log
                .live
                .purged
                .is_some_and(|purged| purged.index >= position.index)
    }

    /// The entries appended since this was last asked.
    pub fn appended(&self) -> Vec<Appended> {
        std::mem::take(&mut self.shared.log.lock().journal)
    }
}

#[derive(Debug)]
struct SimRoom(Arc<Shared>);

impl Room for SimRoom {
    fn available_bytes(&self) -> Result<u64, StorageError> {
        Ok(if self.0.health.lock().almost_full {
            1 << 20
        } else {
            1 << 40
        })
    }
}
