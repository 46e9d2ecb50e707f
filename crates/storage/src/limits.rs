//! Limits of what is kept on disk and in memory for it.

/// Bytes of recent log entries kept in memory, for the apply loop and for followers that keep up.
pub const LOG_CACHE_BYTES: usize = 8 << 20;

/// Entries kept in memory beside the limit in bytes: small entries have an overhead of their own.
pub const LOG_CACHE_ENTRIES: usize = 8_192;

/// Appends waiting for the next sync. Raft itself has far fewer in flight; when it is full,
/// appending waits.
pub const SYNC_QUEUE: usize = 4_096;

/// Longest the mark of how far the log is synced may itself stay unsynced, in milliseconds. A power failure *and* a
/// damaged tail within this time cannot be told from a tail that was never synced.
pub const MARK_SYNC_MILLISECONDS: u64 = 1_000;

/// RocksDB's memtable for the log, in bytes. Entries live shortly: most are purged before a
/// second level of compaction.
pub const LOG_WRITE_BUFFER_BYTES: usize = 8 << 20;

/// RocksDB's memtables for the state, in bytes, all families together.
pub const STATE_WRITE_BUFFER_BYTES: usize = 16 << 20;

/// RocksDB's block cache for the state, in bytes. The present is in memory as a view; only reads
/// of the past come here.
pub const STATE_CACHE_BYTES: usize = 8 << 20;

/// RocksDB's block cache for the log, in bytes.
pub const LOG_CACHE_BLOCK_BYTES: usize = 2 << 20;

/// Write-ahead log of the state before its memtables are flushed, in bytes: bounds recovery
/// time after a crash.
pub const STATE_WAL_BYTES: u64 = 64 << 20;

/// Bytes read at once when a file of a snapshot is summed, sent or received.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;
