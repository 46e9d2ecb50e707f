//! Limits of the store.

/// Most writes in one transaction. A manifest of a large application has some hundreds of
/// objects; etcd allows 128 operations, which is too few for an atomic apply.
pub const TRANSACTION_WRITES: usize = 2_048;

/// Most preconditions in one transaction: up to four for each write.
pub const TRANSACTION_PRECONDITIONS: usize = 4 * TRANSACTION_WRITES;

/// Largest encoded transaction, in bytes: below gRPC's message limit between replicas, above
/// several objects of the largest size.
pub const TRANSACTION_BYTES: usize = 8 << 20;

/// Longest key, in bytes: resource, namespace (63) and name (253) with room.
pub const KEY_BYTES: usize = 1_024;

/// Committed revisions kept in memory for watchers. A watcher that falls further behind
/// than this while live is dropped with 410; one that starts further back reads the store.
pub const FEED_REVISIONS: usize = 16_384;

/// Bytes of objects those revisions may hold in memory before the oldest go.
pub const FEED_BYTES: usize = 32 << 20;

/// Change sets handed to a watcher at once.
pub const WATCH_BATCH: usize = 512;

/// History entries one compaction command removes, so that none holds up the log.
pub const COMPACTION_ENTRIES: usize = 10_000;
