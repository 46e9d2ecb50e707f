//! One pod, one operation at a time; different pods side by side.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::names::hash;

/// How many pods may be worked on at once. More would only wait for each other in the kernel.
const TURNS_COUNT: usize = 32;

/// Locks, one of which each uid falls to.
#[derive(Debug)]
pub(super) struct Turns(Vec<Arc<Mutex<()>>>);

/// The right to work on a pod. It goes along with the work, into other threads too: a caller that stops waiting must not let the next
/// one in while the work still runs.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Turns {
    pub(super) fn new() -> Self {
        Self((0..TURNS_COUNT).map(|_| Arc::default()).collect())
    }

    /// Waits for the pod's turn.
    pub(super) async fn of(&self, uid: &str) -> Turn {
        let index = usize::try_from(hash(uid) % TURNS_COUNT as u64).expect("a remainder is small");
        Arc::clone(&self.0[index]).lock_owned().await
    }

    /// Waits for every pod's turn. Always in one order, so that two who do it cannot wait for each other.
    pub(super) async fn all(&self) -> Vec<Turn> {
        let mut turns = Vec::with_capacity(self.0.len());
        for lock in &self.0 {
            turns.push(Arc::clone(lock).lock_owned().await);
        }
        turns
    }
}
