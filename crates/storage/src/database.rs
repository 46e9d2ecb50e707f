//! How RocksDB is set up: for little memory, and to notice what it lost.

mod wal;

use crate::error::StorageError;
use crate::limits::{STATE_CACHE_BYTES, STATE_WAL_BYTES, STATE_WRITE_BUFFER_BYTES};
use pontoon_state::Family;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode,
    LogLevel, Options,
};
use std::path::Path;

fn common() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // A missing or shortened write-ahead log that was synced is an error, not an earlier state.
    options.set_track_and_verify_wals_in_manifest(true);
    // A tail that was never synced may be torn and is dropped. What was synced is watched over by
    // the log's own mark.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_max_background_jobs(2);
    options.set_max_open_files(256);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    // No periodic dump of statistics: an idle server does not wake for it.
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

fn blocks(cache_bytes: usize) -> BlockBasedOptions {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(cache_bytes));
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_format_version(5);
    blocks
}

/// Opens a generation of the state.
pub(crate) fn open_state(path: &Path) -> Result<DB, StorageError> {
    wal::cut(path)?;
    let mut options = common();
    options.set_db_write_buffer_size(STATE_WRITE_BUFFER_BYTES);
    options.set_max_total_wal_size(STATE_WAL_BYTES);
    let blocks = blocks(STATE_CACHE_BYTES);
    let families = Family::ALL.map(|family| {
        let mut options = Options::default();
        options.set_block_based_table_factory(&blocks);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(STATE_WRITE_BUFFER_BYTES / 2);
        ColumnFamilyDescriptor::new(family.name(), options)
    });
    Ok(DB::open_cf_descriptors(&options, path, families)?)
}
