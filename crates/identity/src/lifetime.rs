//! How long certificates last. Each says why that long.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authority: ten years, as kubeadm's. It is in every kubeconfig and on every node, so that
/// replacing it is an event of its own.
pub const AUTHORITY: Duration = DAY.saturating_mul(10 * 365);

/// Servers, members and nodes: three months. They are renewed by a running process without
/// anyone's help, so that a shorter life costs nothing and bounds what a stolen key is worth.
pub const MACHINE: Duration = DAY.saturating_mul(90);

/// An administrator's kubeconfig: a year, as kubeadm's. People copy it to other machines, where
/// nothing renews it.
pub const ADMINISTRATOR: Duration = DAY.saturating_mul(365);

/// How far before its issue a certificate is valid already, for readers whose clock is slow:
/// five minutes, as Kubernetes' signer.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// The share of its life after which a certificate is due for renewal, in percent. A third of
/// the life is left to notice that renewing fails; kubelet renews between 70 and 90.
pub const ROTATION_PERCENT: u32 = 66;
