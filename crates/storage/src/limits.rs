//! Limits of what is kept on disk and in memory for it.

/// Bytes of recent log entries kept in memory, for the apply loop and for followers that keep up.
pub const LOG_CACHE_BYTES: usize = 8 << 20;

/// Entries kept in memory beside the limit in bytes: small entries have an overhead of their own.
pub const LOG_CACHE_ENTRIES: usize = 8_192;

/// Bytes of records that may wait to be written. Raft itself has far fewer in flight; when so many wait, appending waits.
pub const LOG_QUEUE_BYTES: usize = 16 << 20;

/// Bytes of a log segment. Room for it is found at once, and a purge frees whole segments: some ten of them hold what a server
/// keeps. A start reads them one after the other.
pub const LOG_SEGMENT_BYTES: u64 = 8 << 20;

/// Segments kept to be overwritten: a purge frees about as many as are needed until the next.
pub const LOG_SPARE_SEGMENTS: usize = 2;

/// Bytes read at once when entries are read back.
pub const LOG_READ_BYTES: usize = 1 << 20;

/// Room for records that is kept between two syncs, in bytes. Beyond it, what a burst needed is given back.
pub const LOG_BUFFER_BYTES: usize = 1 << 20;

/// Longest the mark of how far the log is synced may itself stay unsynced, in milliseconds. A power failure *and* a
/// damaged tail within this time cannot be told from a tail that was never synced.
pub const MARK_SYNC_MILLISECONDS: u64 = 1_000;

/// RocksDB's memtables for the state, in bytes, all families together.
pub const STATE_WRITE_BUFFER_BYTES: usize = 16 << 20;

/// RocksDB's block cache for the state, in bytes. The present is in memory as a view; only reads
/// of the past come here.
pub const STATE_CACHE_BYTES: usize = 8 << 20;

/// Write-ahead log of the state before its memtables are flushed, in bytes: bounds recovery
/// time after a crash.
pub const STATE_WAL_BYTES: u64 = 64 << 20;

/// Bytes read at once when a file of a snapshot is summed, sent or received.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;
