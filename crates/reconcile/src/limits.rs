//! Limits of the control loop.

use std::time::Duration;

/// Proposals in flight at once. Enough to fill the group commit of a slow disk; few enough that a new leader is not
/// flooded by one that was cut off.
pub const PROPOSALS_IN_FLIGHT: usize = 256;

/// Keys planned between two looks at the change feed, so that planning never starves waking.
pub const PLANS_PER_TURN: usize = 128;

/// First wait after a failed plan or proposal; doubles with each further one (client-go's rate limiter starts at 5 ms).
pub const BACKOFF_FIRST: Duration = Duration::from_millis(10);

/// Longest wait after failures. client-go allows 1000 s; a person waits for this.
pub const BACKOFF_LONGEST: Duration = Duration::from_secs(60);

/// How often every key is looked at though nothing changed. Kubernetes' controllers resync every ten minutes or more.
pub const FULL_PASS: Duration = Duration::from_secs(300);

/// How long history is kept for watchers to resume from: Kubernetes' etcd compaction interval.
pub const HISTORY_KEPT: Duration = Duration::from_secs(300);

/// How often old history is compacted.
pub const COMPACTION_PERIOD: Duration = Duration::from_secs(30);

/// Events waiting to be written; more are dropped and counted: they are advice, not state.
pub const EVENTS_WAITING: usize = 1_024;

/// Series of equal events remembered, so that a repetition raises a count instead of making an object.
pub const EVENT_SERIES: usize = 4_096;

/// Keys whose trace is remembered until they are planned; a further one's plan begins a trace of its own.
pub const TRACES: usize = 16_384;

/// Pods that are bound in one transaction: beyond this the fsync that they share costs next to nothing, and a conflict on
/// one of them has more written again.
pub const PLACEMENTS_PER_PROPOSAL: usize = 256;

/// Bytes of pods after which a transaction of bindings takes no more: far below what one may have.
pub const PLACEMENTS_BYTES: usize = 512 << 10;

/// Events written in one transaction: what piled up while the last one was written.
pub const EVENTS_PER_PROPOSAL: usize = 256;

/// Steps of one forecast: plans and rounds of the scheduler. A rollout of a thousand pods takes about five thousand.
pub const FORECAST_STEPS: usize = 50_000;

/// How long one forecast may take: within the deadline of a client's call, with room to answer.
pub const FORECAST_TIME: Duration = Duration::from_secs(5);

/// How far time may jump in a forecast: past the default progress deadline of ten minutes, and past the longest minReadySeconds
/// in use.
pub const FORECAST_HORIZON: Duration = Duration::from_secs(3_600);
