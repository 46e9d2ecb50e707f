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
