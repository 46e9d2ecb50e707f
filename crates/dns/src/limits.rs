//! Bounds on what the name server holds, sends and waits for.

use std::time::Duration;

/// How long clients may keep a record of the zone, in seconds: CoreDNS' default for its kubernetes plug-in.
pub const TTL_SECONDS: u32 = 5;

/// The largest UDP answer in bytes, whatever a client offers: what passes every path unfragmented (DNS flag day 2020).
pub const UDP_ANSWER_BYTES: u16 = 1_232;

/// How many queries may be with upstream servers at once: CoreDNS' advised `max_concurrent`. Further ones fail at once.
pub const FORWARDS_COUNT: usize = 1_000;

/// How long one upstream server may take. A client's resolver gives up after 5 s (resolv.conf(5)), so two fit.
pub const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);

/// How many times servers are asked before a query fails, in total.
pub const UPSTREAM_TRIES_COUNT: usize = 2;

/// The most upstream servers: `MAXNS` of resolv.conf(5).
pub const UPSTREAMS_COUNT: usize = 3;

/// The most search domains: Kubernetes' limit for a pod, six of which may be the node's.
pub const SEARCHES_COUNT: usize = 32;

/// The most characters of a search list: Kubernetes' limit.
pub const SEARCH_LIST_BYTES: usize = 2_048;

/// How many upstream answers are remembered: CoreDNS' default cache capacity.
pub const CACHE_COUNT: usize = 9_984;

/// The longest an upstream answer is remembered: what kubeadm's Corefile says.
pub const CACHE_TTL_MAX: Duration = Duration::from_secs(30);

/// How long a TCP client may be silent.
pub const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many answers wait for a slow TCP client.
pub const TCP_ANSWERS_COUNT: usize = 16;

/// How long an alias may be followed: ExternalName services that name each other.
pub const ALIAS_DEPTH_COUNT: usize = 8;
