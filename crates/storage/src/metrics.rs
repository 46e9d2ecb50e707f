//! What storage counts.

use metrics::{Unit, describe_counter, describe_histogram};

/// Time one sync of the log took.
pub const SYNC_SECONDS: &str = "pontoon_storage_log_sync_seconds";
/// Appends made durable by one sync.
pub const SYNC_APPENDS: &str = "pontoon_storage_log_sync_appends";
/// Bytes of entries appended.
pub const APPENDED_BYTES: &str = "pontoon_storage_log_appended_bytes_total";
/// Reads of the log that memory could not answer.
pub const CACHE_MISSES: &str = "pontoon_storage_log_cache_misses_total";
/// Time to make a snapshot.
pub const SNAPSHOT_SECONDS: &str = "pontoon_storage_snapshot_seconds";

/// Says what each metric is. Called once at start.
pub fn describe() {
    describe_histogram!(
        SYNC_SECONDS,
        Unit::Seconds,
        "Time one sync of the replicated log took"
    );
    describe_histogram!(
        SYNC_APPENDS,
        Unit::Count,
        "Appends made durable by one sync"
    );
    describe_counter!(
        APPENDED_BYTES,
        Unit::Bytes,
        "Bytes of entries appended to the replicated log"
    );
    describe_counter!(
        CACHE_MISSES,
        Unit::Count,
        "Reads of the replicated log that memory could not answer"
    );
    describe_histogram!(
        SNAPSHOT_SECONDS,
        Unit::Seconds,
        "Time to make a snapshot of the state"
    );
}
