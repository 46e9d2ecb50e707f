//! What a replica keeps on disk: the Raft log, the applied state, and snapshots of it.
//!
//! The only user of RocksDB, which holds the state. A data directory holds
//!
//! - `LOCK`, `format`: who has it open, and what wrote it ([`DataDir`]);
//! - `log/`, `synced`: the Raft log with vote and purge point, and how far it is durable ([`Log`]);
//! - `state/`: generations of the applied state, one of them live ([`StateStore`]);
//! - `snapshots/`: the last complete snapshot, and those being made or received ([`Snapshots`]).
//!
//! Not here: what an entry means, who votes, when to purge. That is `consensus`.
//!
//! Invariants:
//! - an append is reported durable only after its bytes are synced, a vote only then is saved;
//! - a log that lost anything it had reported durable, or holds a byte it did not write, does not open;
//! - a failed sync is final: nothing is written after it;
//! - a snapshot is whole and verified before anything refers to it, and replaces the state
//!   in one step.

pub mod checkpoint;
pub mod data_dir;
mod database;
pub mod disk;
pub mod error;
pub mod kv;
pub mod limits;
pub mod log;
pub mod metrics;

pub use checkpoint::{Incoming, Manifest, Snapshot, Snapshots};
pub use data_dir::{DataDir, Identity};
pub use error::{LogDamaged, Lost, OpenError, StorageError};
pub use kv::StateStore;
pub use log::{Log, Position, Record};
