//! How long, how much, how many. Each says why that number.

use std::time::Duration;

/// For TCP and TLS to one server. It is alive within a few round trips or it is gone, and the
/// next one should be tried.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For a whole call, unless the caller sets another: Kubernetes' `--request-timeout` for servers is
/// 60 s, after which nobody waits on the other side.
pub const CALL_DEADLINE: Duration = Duration::from_secs(60);

/// Between two pings on a connection, streams or none. With [`KEEPALIVE_TIMEOUT`] a server that
/// vanished is noticed within 15 s, well before a node's grace period (40 s) ends.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// For the answer to a ping.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Of one stream, in bytes: half a page of large lists in flight, so that a list is not
/// paced by round trips.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// Of a whole connection, in bytes.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Objects asked for at once, as kubectl's `--chunk-size`.
pub const PAGE_ITEMS: u32 = 500;

/// How often a listing begins anew when its continue token expired on the way. A listing that takes
/// longer than the history is kept three times in a row will not end.
pub const LIST_RESTARTS: u32 = 3;

/// Messages waiting to be sent on a stream of input; the sender waits when there are more.
pub const INPUT_MESSAGES: usize = 16;

/// Of one message of input, in bytes: large enough to be cheap, small enough to be prompt.
pub const INPUT_BYTES: usize = 32 << 10;

/// The watcher's first wait after a failure; it doubles with each failure in a row.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// The watcher's longest wait: kube-rs' and client-go's reflectors wait up to 30 s.
pub const BACKOFF_LONGEST: Duration = Duration::from_secs(30);

/// Servers that are tried in turn: the largest cluster has five or seven, and a few were given besides.
pub const SERVERS_COUNT: usize = 16;

/// For how long a call that certainly did nothing is tried again at other servers: a lost leader is replaced within a second,
/// and a cluster that is down should be told soon to whoever waits.
pub const FAILOVER_PATIENCE: Duration = Duration::from_secs(10);

/// The first pause between two tries; it doubles.
pub const FAILOVER_PAUSE: Duration = Duration::from_millis(50);
