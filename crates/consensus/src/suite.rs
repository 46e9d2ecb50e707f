//! openraft's own suite over our log and state machine.
#![allow(clippy::unwrap_used)]

use crate::disk::{Disk, Room};
use crate::log_store::LogStore;
use crate::state_machine::StateMachine;
use crate::types::TypeConfig;
use crate::waiters::Waiters;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use pontoon_storage::Identity;
use std::sync::Arc;

struct OnDisk;

/// What must outlive a store: its directory and the lock on it.
struct Held {
    _room: Arc<dyn Room>,
    _root: tempfile::TempDir,
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, Held> for OnDisk {
    async fn build(&self) -> Result<(Held, LogStore, StateMachine), StorageError<TypeConfig>> {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::open(
            root.path(),
            &Identity {
                cluster: "suite".into(),
                node: 0,
            },
        )
        .unwrap();
        let log = LogStore::new(disk.log);
        let machine = StateMachine::open(disk.state, Waiters::new(0, 0)).unwrap();
        Ok((
            Held {
                _room: disk.room,
                _root: root,
            },
            log,
            machine,
        ))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_passes_openrafts_whole_suite() {
    Suite::test_all(OnDisk).await.unwrap();
}
