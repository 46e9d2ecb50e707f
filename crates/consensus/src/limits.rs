//! Limits of consensus.

use std::time::Duration;

/// How long a proposal is retried while there is no leader, and its outcome waited for. Longer
/// than several elections, shorter than a client's patience (kubectl's request default is 30 s).
pub const PROPOSE_DEADLINE: Duration = Duration::from_secs(10);

/// How long a linearizable read is retried.
pub const READ_DEADLINE: Duration = Duration::from_secs(10);

/// Digests kept for comparison: a follower that applied fewer revisions than this since the one asked for still knows
/// it. 40 bytes each.
pub const DIGESTS: usize = 4_096;

/// How long a member may take to apply what it is asked the digest of; one that lags more is compared the next time.
pub const COMPARE_DEADLINE: Duration = Duration::from_secs(2);

/// Pause before asking again when there is no leader and nothing announced one.
pub const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Time to connect to a peer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);

/// Time a peer may take to answer an append on a stream before the stream is given up.
pub const APPEND_STALL: Duration = Duration::from_millis(2_000);

/// How often an open connection to a peer is probed, and how long the answer may take.
pub const KEEPALIVE: Duration = Duration::from_secs(2);

/// Time for a whole snapshot: at 10 MB/s this is 6 GB.
pub const SNAPSHOT_DEADLINE: Duration = Duration::from_mins(10);

/// Bytes of entries in one append: well below the largest message, above the largest transaction's need only
/// in that one entry may exceed it.
pub const APPEND_BYTES: usize = 2 << 20;

/// Entries applied in one batch of the state.
pub const APPLY_ENTRIES: usize = 1_024;

/// Frames of a snapshot read ahead of the network.
pub const SNAPSHOT_FRAMES: usize = 2;

/// Proposals of this replica that may wait for their outcome at once: beyond it, proposing is refused
/// as unavailable. Raft's own queue has the same order of size.
pub const WAITING_PROPOSALS: usize = 65_536;

/// Connections of replicas that may be in their handshake, or accepted and not yet served, at once. A cluster
/// has five servers with three connections each.
pub const ACCEPTING: usize = 32;

/// Time for a TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long shutting down waits for Raft's tasks: they are past their last await, and then some.
pub const TASK_END: Duration = Duration::from_secs(5);

/// How often it looks whether they have ended: they have nothing to tell it with.
pub const TASK_END_POLL: Duration = Duration::from_millis(2);

/// Space that proposals leave on the data directory's file system, in bytes: for what is on its way already,
/// for flushes and compactions, and for the log's and snapshots' own housekeeping.
pub const RESERVED_BYTES: u64 = 64 << 20;

/// How long an answer about free space is good for. At the speed of a fast disk the reserve lasts longer.
pub const SPACE_CHECK: Duration = Duration::from_millis(200);

/// How often the membership is compared with the records while they differ, and at most when the store changes.
pub const MEMBERSHIP_PERIOD: Duration = Duration::from_millis(200);

/// How long one step of the membership may take before it is looked at again: a step needs a majority, and goes on by itself.
pub const MEMBERSHIP_DEADLINE: Duration = Duration::from_secs(10);

/// How far behind the leader a member may be and count as caught up, in log entries: the work of a fraction of a second.
pub const CAUGHT_UP_ENTRIES: u64 = 1_000;

/// How long ago a member may have been heard and count as there, in milliseconds: many heartbeats, and less than a person
/// notices.
pub const HEARD_RECENTLY: u64 = 2_000;

/// How long a successor may take to be elected. It needs one round of votes.
pub const TRANSFER_DEADLINE: Duration = Duration::from_secs(5);

/// How long another member may take to answer a question about the membership.
pub const ASK_DEADLINE: Duration = Duration::from_secs(3);

/// How long a member is without a leader before it asks whether it still is one: several elections.
pub const LEADERLESS: Duration = Duration::from_secs(3);
