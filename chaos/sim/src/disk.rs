//! A member's simulated disk: what is synced on it outlives every crash, the rest as the crash likes.

mod log;
mod snapshot;
mod state;

use crate::chance::Chance;
use parking_lot::Mutex;
use pontoon_consensus::Disk;
use pontoon_consensus::disk::Room;
use pontoon_storage::{Position, StorageError};
use std::sync::Arc;
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
    health: Mutex<Health>,
    log: Mutex<log::Image>,
    state: Mutex<state::Image>,
}

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Health {
    /// The next sync of the log fails; the page cache lies from then on.
    pub sync_fails: bool,
    /// Appends find no space.
    pub full: bool,
    /// So little space is left that no proposals should be taken.
    pub almost_full: bool,
    /// Each sync takes this much longer.
    pub slow: Duration,
}

/// How a member's end treats its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The process ended: what it wrote is in the page cache.
    Nothing,
    /// The power failed: what was not synced is lost from some point on, and an append may be there in part.
    Unsynced,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(chance: Chance) -> Self {
        Self {
            shared: Arc::new(Shared {
                chance,
                health: Mutex::default(),
                log: Mutex::default(),
                state: Mutex::default(),
            }),
        }
    }

    /// Opens it for one life of the member.
    pub fn open(&self) -> Disk {
        Disk {
            log: log::SimLog::open(&self.shared),
            state: state::SimState::open(&self.shared),
            room: Arc::new(SimRoom(self.shared.clone())),
        }
    }

    /// The member's life ends.
    pub fn crash(&self, loss: Loss) {
        if loss == Loss::Unsynced {
            self.shared.log.lock().lose(&self.shared.chance);
            self.shared.state.lock().lose(&self.shared.chance);
        }
    }

    /// Changes what is wrong with it.
    pub fn ail(&self, change: impl FnOnce(&mut Health)) {
        change(&mut self.shared.health.lock());
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
