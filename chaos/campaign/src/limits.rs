//! How long a campaign waits, and what it demands.

use std::time::Duration;

/// How long servers may take to start and find each other on a busy machine.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(90);

/// How long after a fault is taken back a write must be acknowledged. The aim is three seconds; a debug build on two shared cores that
/// has to replay its log is given more.
pub(crate) const RECOVERY_PATIENCE: Duration = Duration::from_secs(60);

/// How long one question to a server may take while it is seen whether it answers.
pub(crate) const PROBE_DEADLINE: Duration = Duration::from_secs(1);

/// The pause between two looks.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// How long a fault lasts, at least and at most.
pub(crate) const FAULT_SECONDS: std::ops::RangeInclusive<f64> = 2.0..=5.0;

/// How long nothing is wrong between two faults.
pub(crate) const QUIET: Duration = Duration::from_secs(1);

/// Operations that must be done in each second of a run, over all workloads: with fewer, a run shows nothing.
pub(crate) const OPERATIONS_PER_SECOND: f64 = 20.0;

/// Operations that each workload must have done.
pub(crate) const OPERATIONS_PER_WORKLOAD: usize = 50;

/// How long clients go on after the last fault, and watchers after the last write.
pub(crate) const AFTERMATH: Duration = Duration::from_secs(2);
