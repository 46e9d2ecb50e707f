//! Durations and bounds. Where Kubernetes has a number, it is Kubernetes'.

use std::time::Duration;

/// The first wait before a container is restarted: kubelet's `backOffPeriod`.
pub const RESTART_BACKOFF_FIRST: Duration = Duration::from_secs(10);

/// The longest wait before a container is restarted: kubelet's `MaxContainerBackOff`.
pub const RESTART_BACKOFF_MAX: Duration = Duration::from_secs(300);

/// How long a container has to have run for its wait to begin at the first again: twice the longest wait, as in
/// client-go's `flowcontrol.Backoff`.
pub const RESTART_BACKOFF_RESET: Duration = Duration::from_secs(600);

/// How long `ErrImagePull` is shown before it turns into `ImagePullBackOff`. A kubelet turns at its next sync.
pub const PULL_ERROR_SHOWN: Duration = Duration::from_secs(1);

/// How often a container whose configuration is incomplete is tried again when no reference changes: a kubelet's
/// `workerBackOffPeriod`.
pub const CONFIG_RETRY: Duration = Duration::from_secs(10);

/// The first wait after a runtime that did not answer; it doubles.
pub const UNAVAILABLE_RETRY_FIRST: Duration = Duration::from_secs(1);

/// The longest wait after a runtime that did not answer.
pub const UNAVAILABLE_RETRY_MAX: Duration = Duration::from_secs(60);

/// The first wait after volumes that could not be set up: kubelet's `initialDurationBeforeRetry`.
pub const VOLUMES_RETRY_FIRST: Duration = Duration::from_millis(500);

/// The longest wait after volumes that could not be set up: kubelet's `maxDurationBeforeRetry`.
pub const VOLUMES_RETRY_MAX: Duration = Duration::from_secs(122);

/// How long to wait before a stop that failed is tried again.
pub const STOP_RETRY: Duration = Duration::from_secs(2);

/// The shortest grace a pod gets: kubelet raises zero to one second.
pub const GRACE_MIN: Duration = Duration::from_secs(1);

/// The grace of a container that is stopped when the pod's own is used up: kubelet's `minimumGracePeriodInSeconds`.
pub const GRACE_LATE: Duration = Duration::from_secs(2);

/// Kubernetes' default of `terminationGracePeriodSeconds`.
pub const GRACE_DEFAULT_SECONDS: i64 = 30;

/// The longest grace taken seriously, in seconds (a day): a bound on sums of times.
pub const GRACE_MAX_SECONDS: i64 = 86_400;

/// The longest message kept of a failure, in bytes: kubelet cuts termination messages at 4 KiB.
pub const MESSAGE_BYTES: usize = 4096;
