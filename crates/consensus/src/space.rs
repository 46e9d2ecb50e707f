//! A disk that is almost full takes no more proposals, before a write fails: a failed write would end the process.
//! When space returns, so do proposals. Reads go on all the while.

use crate::disk::Room;
use crate::limits::{RESERVED_BYTES, SPACE_CHECK};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Instant;

/// What is known about the space left.
#[derive(Debug)]
pub(crate) struct Space {
    room: Arc<dyn Room>,
    reserved: u64,
    seen: Mutex<Option<(Instant, u64)>>,
}

/// Too little space is left.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "the disk of member {node} is almost full: {available} bytes are left, {reserved} are kept in reserve"
)]
pub(crate) struct AlmostFull {
    pub node: u64,
    available: u64,
    reserved: u64,
}

impl Space {
    pub(crate) const fn new(room: Arc<dyn Room>) -> Self {
        Self {
            room,
            reserved: RESERVED_BYTES,
            seen: Mutex::new(None),
        }
    }

    /// Whether a proposal may be taken. Asks the system at most once in [`SPACE_CHECK`].
    pub(crate) fn check(&self, node: u64) -> Result<(), AlmostFull> {
        let mut seen = self.seen.lock();
        let available = match *seen {
            Some((when, available)) if when.elapsed() < SPACE_CHECK => available,
            // Where the system does not say, a write will.
            _ => self.room.available_bytes().unwrap_or(u64::MAX),
        };
        if !seen.is_some_and(|(when, _)| when.elapsed() < SPACE_CHECK) {
            if available < self.reserved && seen.is_none_or(|(_, before)| before >= self.reserved) {
                tracing::error!(available, "the disk is almost full: no proposals are taken");
            }
            *seen = Some((Instant::now(), available));
        }
        drop(seen);
        if available >= self.reserved {
            Ok(())
        } else {
            Err(AlmostFull {
                node,
                available,
                reserved: self.reserved,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pontoon_storage::{DataDir, Identity};

    #[test]
    fn proposals_are_refused_while_the_reserve_is_touched() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::open(
            root.path(),
            &Identity {
                cluster: "c".into(),
                node: 1,
            },
        )
        .unwrap();
        let mut space = Space::new(Arc::new(data));
        space.check(1).unwrap();
        space.reserved = u64::MAX;
        let error = space.check(1).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the disk of member 1 is almost full")
        );
        space.reserved = 0;
        space.check(1).unwrap();
    }
}
