//! Limits of the binary.

use std::time::Duration;

/// How long pods may take to end when dev ends: Kubernetes' default grace period of 30 s, and some.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(35);

/// How long a node waits for a cluster that cannot be asked before it gives up joining it: a server that was started with it
/// is up by then, and a wrong address is told soon enough.
pub(crate) const ENROL_PATIENCE: Duration = Duration::from_secs(60);

/// Hollow nodes that join and start at once: each is a TLS handshake and a write or two.
pub(crate) const HOLLOW_STARTING: usize = 32;

/// How often certificates are looked at for renewal.
pub(crate) const ROTATION_PERIOD: Duration = Duration::from_secs(3_600);

/// How long a joining server asks for its place while the cluster cannot give one: several elections, and a restart of the
/// server that is asked.
pub(crate) const JOIN_PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two such questions.
pub(crate) const JOIN_PAUSE: Duration = Duration::from_millis(500);

/// The pause between two looks at what a server waits for at its start.
pub(crate) const WAIT_PAUSE: Duration = Duration::from_millis(200);

/// How often a person is told what a server waits for.
pub(crate) const TELL_PERIOD: Duration = Duration::from_secs(10);

/// How often it is looked whether servers came, went or moved: the kubeconfig and what a server keeps of the others follow.
pub(crate) const REMEMBER_PERIOD: Duration = Duration::from_secs(1);

/// How long a leader that ends waits for its successor: an election, and some.
pub(crate) const HAND_OVER: Duration = Duration::from_secs(2);
