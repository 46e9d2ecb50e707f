//! What consensus counts.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Time from a proposal to its outcome.
pub const PROPOSE_SECONDS: &str = "pontoon_consensus_propose_seconds";
/// Proposals, by `result`: `done`, `unavailable`, `indeterminate`, `too_large`.
pub const PROPOSALS: &str = "pontoon_consensus_proposals_total";
/// Time to confirm a linearizable read.
pub const READ_SECONDS: &str = "pontoon_consensus_read_seconds";
/// Entries applied in one batch.
pub const APPLIED_ENTRIES: &str = "pontoon_consensus_apply_batch_entries";
/// Time to apply one batch.
pub const APPLY_SECONDS: &str = "pontoon_consensus_apply_seconds";
/// Index of the last entry applied.
pub const APPLIED_INDEX: &str = "pontoon_consensus_applied_index";
/// The present term.
pub const TERM: &str = "pontoon_consensus_term";
/// 1 where this replica leads and is ready, else 0.
pub const LEADS: &str = "pontoon_consensus_leader";
/// Changes of leader seen.
pub const LEADER_CHANGES: &str = "pontoon_consensus_leader_changes_total";
/// Messages refused because they named another cluster or member, or another one sent them.
pub const MISDIRECTED: &str = "pontoon_consensus_misdirected_messages_total";
/// Snapshots installed from a leader.
pub const INSTALLED: &str = "pontoon_consensus_snapshots_installed_total";
/// 1 where this replica's state has diverged from a majority's, or nobody can tell, else 0.
pub const DIVERGED: &str = "pontoon_consensus_diverged";

/// Says what each metric is. Called once at start.
pub fn describe() {
    describe_histogram!(
        PROPOSE_SECONDS,
        Unit::Seconds,
        "Time from a proposal to its outcome"
    );
    describe_counter!(PROPOSALS, Unit::Count, "Proposals by result");
    describe_histogram!(
        READ_SECONDS,
        Unit::Seconds,
        "Time to confirm a linearizable read"
    );
    describe_histogram!(
        APPLIED_ENTRIES,
        Unit::Count,
        "Log entries applied in one batch"
    );
    describe_histogram!(
        APPLY_SECONDS,
        Unit::Seconds,
        "Time to apply one batch of log entries"
    );
    describe_gauge!(
        APPLIED_INDEX,
        Unit::Count,
        "Index of the last log entry applied"
    );
    describe_gauge!(TERM, Unit::Count, "The present Raft term");
    describe_gauge!(
        LEADS,
        Unit::Count,
        "Whether this replica leads and is ready"
    );
    describe_counter!(LEADER_CHANGES, Unit::Count, "Changes of leader seen");
    describe_counter!(
        MISDIRECTED,
        Unit::Count,
        "Messages of replicas refused as misdirected"
    );
    describe_gauge!(
        DIVERGED,
        Unit::Count,
        "Whether this replica's state has diverged, or members differ and nobody can tell who is right"
    );
    describe_counter!(INSTALLED, Unit::Count, "Snapshots installed from a leader");
}
