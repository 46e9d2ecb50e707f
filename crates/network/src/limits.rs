//! Bounds on what one node's data plane holds and waits for.

use std::time::Duration;

/// The most pods one node holds. Kubernetes' advice is 110 a node; a /22 of pod addresses ends here.
pub const PODS_PER_NODE_COUNT: usize = 1_022;

/// The most services one node's rules hold. Kubernetes' tested threshold is 10,000 a cluster.
pub const SERVICES_COUNT: usize = 20_000;

/// The most endpoints behind one port of one service: the limit Kubernetes puts on an Endpoints object.
pub const ENDPOINTS_PER_PORT_COUNT: usize = 1_000;

/// The most ports of one service or one pod.
pub const PORTS_PER_OBJECT_COUNT: usize = 256;

/// How large an address ledger may be before it is taken for corrupt: 1,022 entries of some 400 bytes, eight times over.
pub const LEDGER_BYTES: u64 = 4 << 20;

/// How long one batch of nftables rules may take. A full load of 2,000 services takes 0.9 s on two slow cores.
pub const RULES_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest session affinity that Kubernetes allows (one day).
pub const AFFINITY_MAX: Duration = Duration::from_secs(86_400);

/// The largest message read back from the `nft` or `conntrack` program. A listing of 2,000 services takes 1.1 MB.
pub const TOOL_OUTPUT_BYTES: usize = 64 << 20;

/// How long a new link may take before its pod starts all the same. The kernel's link watch comes by at once, or, when it counts the
/// change as not urgent, within a second.
pub const LINK_READY_TIMEOUT: Duration = Duration::from_secs(3);

/// The first pause between two looks at a new link: a little longer than the link watch takes on an idle machine.
pub const LINK_READY_PAUSE: Duration = Duration::from_micros(50);

/// The longest pause between two looks at a new link.
pub const LINK_READY_PAUSE_MAX: Duration = Duration::from_millis(5);

/// How often [`crate::Dataplane::tend`] is to be called: as long as a reloaded firewall may keep pods apart. A look costs two or three
/// runs of `nft`, some milliseconds.
pub const TEND_PERIOD: Duration = Duration::from_secs(20);
