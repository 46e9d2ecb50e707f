//! Bounds of the runtime contract.

/// Events kept for a slow listener. A node runs at most a few hundred containers, so this covers every one of them
/// dying at once; a listener further behind gets [`crate::RuntimeEvent::Lost`] and lists instead.
pub const EVENT_QUEUE_EVENTS: usize = 1024;

/// Chunks of standard input, output or resizes in flight between a client and an exec session. At 32 KiB a chunk it
/// is 512 KiB per session; a full queue makes the writer wait, which is the back-pressure a terminal expects.
pub const EXEC_QUEUE_CHUNKS: usize = 16;

/// Size of the largest chunk of exec output, in bytes.
pub const EXEC_CHUNK_BYTES: usize = 32 * 1024;

/// Size at which a log file is put aside, in bytes: kubelet's containerLogMaxSize.
pub const LOG_FILE_BYTES: u64 = 10 * 1024 * 1024;

/// Log files kept per container attempt, the current one included: kubelet's containerLogMaxFiles.
pub const LOG_FILES: usize = 5;

/// Longest piece of a line in one log entry, in bytes: containerd's max_container_log_line_size.
pub const LOG_LINE_BYTES: usize = 16 * 1024;

/// Calls the fake remembers for a test to look at; older ones are forgotten, so that a long test stays small.
pub const FAKE_CALLS: usize = 4096;

/// How long the conformance suite waits for anything, in seconds. Far above what any step takes; reaching it fails.
pub const CONFORMANCE_WAIT_SECONDS: u64 = 30;
