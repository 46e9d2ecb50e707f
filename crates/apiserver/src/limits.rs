//! Limits of the API server. Each says why that number.

use std::time::Duration;

/// Requests served at once, watches and streams aside: twice Kubernetes' 400 readers and 200 writers together, so that a
/// thousand clients who write at once share syncs and are not sent away. Further ones get 429.
pub const CONCURRENT_REQUESTS: usize = 1_200;

/// Watches and streams (logs, exec, port-forward) open at once: each costs some kilobytes, and
/// thousands of nodes and informers hold a few each.
pub const CONCURRENT_WATCHES: usize = 20_000;

/// Connections open at once.
pub const CONNECTIONS: usize = 20_000;

/// What a refused client is told to wait.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Streams a client may have open on one HTTP/2 connection: Kubernetes' own
/// `--http2-max-streams-per-connection` of 250 holds back informers of large programs.
pub const HTTP2_STREAMS: u32 = 1_000;

/// Bytes that a client may send on one stream before they are read: a body of the common size at once. Fixed: hyper's adaptive
/// window asks for the round trip's time with nearly every small request, and each of those is a frame and a system call on both sides.
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// The same of a whole connection.
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Streams a client may reset before they are accepted (CVE-2023-44487, rapid reset): h2's own default.
pub const HTTP2_PENDING_RESETS: usize = 20;

/// Streams we reset because of the client's errors before the connection ends (CVE-2024-2758): h2's own default.
pub const HTTP2_LOCAL_RESETS: usize = 1_024;

/// Bytes of one request's headers.
pub const HEADER_BYTES: u32 = 64 << 10;

/// A connection that has not sent its request's headers within this time is closed (slowloris).
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// A TLS handshake that takes longer is given up.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A body that takes longer to arrive is given up.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How often an idle HTTP/2 connection is asked whether it lives.
pub const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long it may take to answer that.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a stopping server waits for requests that run; watches are ended at once.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Times a write whose client expects no revision is tried against newer versions: Kubernetes'
/// `MaxRetryWhenPatchConflicts`.
pub const CONFLICT_RETRIES: usize = 5;

/// Times another name is generated when one is taken: Kubernetes' `maxNameGenerationCreateAttempts`.
pub const GENERATE_ATTEMPTS: usize = 8;

/// Longest `generateName` that is kept: 63 less five letters, as in Kubernetes.
pub const GENERATE_PREFIX_BYTES: usize = 58;

/// How long a read waits for a revision this replica has not applied.
pub const REVISION_WAIT: Duration = Duration::from_secs(3);

/// Objects read from history at once for a page.
pub const HISTORY_PAGE: usize = 500;

/// Views kept so that the next page of a list finds the same present.
pub const PAGE_VIEWS: usize = 32;

/// How long such a view is kept. Pages later than this read the store's history.
pub const PAGE_VIEW_AGE: Duration = Duration::from_secs(300);

/// Bytes of a list's answer sent at once.
pub const LIST_CHUNK_BYTES: usize = 64 << 10;

/// How often a watch that asked for bookmarks gets one when nothing it sees changes: Kubernetes'
/// `defaultBookmarkFrequency`.
pub const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);

/// Shortest life of a watch without `timeoutSeconds`; up to twice this, so that they do not all return
/// together. Kubernetes' `--min-request-timeout`.
pub const WATCH_LIFETIME: Duration = Duration::from_secs(1_800);

/// Change sets of one resource kept at hand for its watchers: a second of writes at full speed, more than a watcher
/// that keeps up ever lags. A slower one reads the feed.
pub const FANOUT_REVISIONS: usize = 4_096;

/// Bytes of objects those may hold for one resource.
pub const FANOUT_BYTES: usize = 8 << 20;

/// Bytes of the `Status` in a gRPC trailer: well below the 16 KiB of headers that clients take.
pub const STATUS_TRAILER_BYTES: usize = 6 << 10;

/// Frames that wait between a tunnel and its client: backpressure does the rest.
pub const TUNNEL_FRAMES: usize = 32;

/// Tunnels one node may have open or waiting.
pub const TUNNELS_PER_NODE: usize = 256;

/// How long the agent has to answer an opened tunnel.
pub const TUNNEL_OPEN: Duration = Duration::from_secs(10);

/// Messages that wait for one agent's session: a slower agent waits on its stream, not here.
pub const SESSION_MESSAGES: usize = 256;

/// Heartbeats of agents: a tenth of what Kubernetes' node controller grants before it doubts a node.
pub const HEARTBEAT: Duration = Duration::from_secs(4);

/// How often a server tells the leader which nodes it has heard of: a fraction of their grace, and cheap, since it is one message
/// for all nodes.
pub const SIGNS_PERIOD: Duration = Duration::from_secs(1);

/// For the leader's answer to that.
pub const SIGNS_DEADLINE: Duration = Duration::from_secs(2);

/// How long a server may reach no leader before it sends its agents away: longer than an election takes, and short
/// enough that an agent is heard of elsewhere long before its node's grace (50 s) is over.
pub const CUT_OFF: Duration = Duration::from_secs(6);

/// For another server to say whether a node has its session there. It looks into a map.
pub const LOCATE_DEADLINE: Duration = Duration::from_secs(2);

/// Pod reports written in one transaction.
pub const REPORTS_PER_TRANSACTION: usize = 128;

/// Objects a collection's deletion works on at once.
pub const DELETE_CONCURRENCY: usize = 16;

/// Objects in one `Apply`.
pub const APPLY_OBJECTS: usize = 1_000;

/// Forecasts of plans made at once, each on a thread of its own; further ones wait. One leaves the other processors to
/// requests.
pub const FORECASTS: usize = 1;

/// How often it is looked whether the cluster's own objects are there: as often as Kubernetes does for its service.
pub const BOOTSTRAP_PERIOD: Duration = Duration::from_secs(10);

/// How long a join token lasts that is asked no other time for: a working day and a night.
pub const TOKEN_TTL: Duration = Duration::from_hours(24);

/// How long a join token lasts at most: who needs one later makes another.
pub const TOKEN_TTL_MAX: Duration = Duration::from_hours(7 * 24);

/// Join tokens kept at once: a fleet's nodes may join on one day.
pub const TOKENS: usize = 10_000;

/// Servers of a cluster at once: five survive two failures; two more leave room to replace some.
pub const MEMBERS: usize = 7;

/// How long a request waits for the membership to become as it wishes: below a client's patience (the CLI's is 30 s).
pub const MEMBERSHIP_WAIT: Duration = Duration::from_secs(20);

/// How often it looks.
pub const MEMBERSHIP_POLL: Duration = Duration::from_millis(100);

/// How long ago a member may have been heard by the leader and count as there, in milliseconds.
pub const HEARD_RECENTLY_MS: u64 = 2_000;
