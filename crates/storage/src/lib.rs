//! The only user of RocksDB: log, state, checkpoints.
