//! Limits of the binary.

use std::time::Duration;

/// How long a single server may take from start until it leads. It takes milliseconds; a replay of a long log takes longer.
pub(crate) const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// How long pods may take to end when dev ends: Kubernetes' default grace period of 30 s, and some.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(35);

/// How often certificates are looked at for renewal.
pub(crate) const ROTATION_PERIOD: Duration = Duration::from_secs(3_600);
