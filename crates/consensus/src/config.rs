//! How a replica is set up.

use crate::tls::TlsParts;
use pontoon_state::seeded::{self, Bug};
use pontoon_world::World;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that [`crate::Consensus::open`] needs.
#[derive(Debug, Clone)]
pub struct Config {
    /// This member's id: above zero, never reused in the cluster.
    pub node: u64,
    /// The cluster's id.
    pub cluster: String,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// The members of a cluster that is made at the first start, with their addresses; `None` for a
    /// member that will be added to a cluster. It does nothing later.
    pub founders: Option<BTreeMap<u64, String>>,
    /// Certificates; `None` for a single member and for tests.
    pub tls: Option<TlsParts>,
    /// Time and size settings.
    pub tuning: Tuning,
    /// Clock and entropy.
    pub world: World,
}

/// Time and size settings of a replica. They should be the same on all members.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Between two heartbeats of a leader.
    pub heartbeat: Duration,
    /// Shortest time without a leader before an election.
    pub election_min: Duration,
    /// Longest time without a leader before an election; also the leader's lease.
    pub election_max: Duration,
    /// Log entries between two snapshots.
    pub snapshot_entries: u64,
    /// Log entries kept behind a snapshot: followers that lag less get the log. Large on purpose: it also keeps the
    /// purge point away from what is being applied (openraft issue 2116).
    pub kept_entries: u64,
    /// Between two comparisons of what the members hold.
    pub compare: Duration,
}

impl Tuning {
    /// For servers: a lost leader is replaced within a second.
    #[must_use]
    pub const fn standard() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(500),
            snapshot_entries: 20_000,
            kept_entries: 20_000,
            compare: Duration::from_secs(2),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Config {
    pub(crate) fn raft(&self) -> openraft::Config {
        let tuning = &self.tuning;
        let lease = milliseconds(tuning.election_max);
        openraft::Config {
            cluster_name: self.cluster.clone(),
            heartbeat_interval: milliseconds(tuning.heartbeat),
            election_timeout_min: milliseconds(tuning.election_min),
            election_timeout_max: milliseconds(tuning.election_max),
            enable_pre_vote: Some(true),
            // As in the paper: who led starts as a follower. Restored as the leader of its old term it would not know what
            // it had committed in it, and read-index would name too early an index: a stale read.
            enable_leader_restore: Some(seeded::makes(Bug::LeaderRestored)),
            // A leader that lost its majority falls silent, so that those who still hear it may elect another
            // (openraft issue 2080). At least the lease and the longest election timeout.
            quorum_loss_probe_interval: Some(2 * lease),
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(tuning.snapshot_entries),
            max_in_snapshot_log_to_keep: tuning.kept_entries,
            replication_lag_threshold: tuning.snapshot_entries + tuning.kept_entries,
            purge_batch_size: (tuning.kept_entries / 8).max(1),
            max_payload_entries: 1_024,
            install_snapshot_timeout: milliseconds(crate::limits::SNAPSHOT_DEADLINE),
            ..openraft::Config::default()
        }
    }
}
