//! Bounds of the runtime contract.

/// Events kept for a slow listener. A node runs at most a few hundred containers, so this covers every one of them
/// dying at once; a listener further behind gets [`crate::RuntimeEvent::Lost`] and lists instead.
pub const EVENT_QUEUE_EVENTS: usize = 1024;

/// Chunks of standard input, output or resizes in flight between a client and an exec session. At 32 KiB a chunk it
/// is 512 KiB per session; a full queue makes the writer wait, which is the back-pressure a terminal expects.
pub const EXEC_QUEUE_CHUNKS: usize = 16;

/// Size of the largest chunk of exec output, in bytes.
pub const EXEC_CHUNK_BYTES: usize = 32 * 1024;
