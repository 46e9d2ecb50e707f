//! Bounds of one node's agent. Each says why that number.

use std::time::Duration;

/// Pods a node offers to run unless configured: kubelet's `maxPods`.
pub const PODS_DEFAULT_COUNT: usize = 110;

/// Inputs waiting for one pod's machine. Each answers an action or is one runtime event of the pod, so a pod with a
/// dozen containers stays far below; a full queue makes the sender wait.
pub const POD_INPUTS_COUNT: usize = 256;

/// Messages waiting to go up the session. The server takes them as fast as it commits; a full queue makes reports wait
/// where the latest of each pod wins.
pub const SESSION_UP_COUNT: usize = 64;

/// Pod reports in one message: about 2 KiB each, far below the largest gRPC message.
pub const REPORTS_PER_BATCH_COUNT: usize = 256;

/// Events waiting for a server. When full the oldest are dropped and counted: events are a courtesy.
pub const EVENTS_WAITING_COUNT: usize = 1_000;

/// Events in one message.
pub const EVENTS_PER_BATCH_COUNT: usize = 128;

/// Distinct events remembered for counting repetitions: kubelet's event correlator remembers 4,096.
pub const EVENTS_REMEMBERED_COUNT: usize = 4_096;

/// How long a report that changes neither readiness nor phase waits for a later one of the same pod.
pub const REPORT_DELAY: Duration = Duration::from_millis(50);

/// Pods remembered after their removal, so that a late assignment does not start them again.
pub const TOMBSTONES_COUNT: usize = 4_096;

/// First wait before a lost session is dialled again; it doubles and is jittered.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(100);

/// A session that lasted this long was a good one: when it is lost another server is dialled after [`RECONNECT_FIRST`].
/// Shorter ones are refusals, and the wait goes on doubling.
pub const SESSION_STOOD: Duration = Duration::from_secs(2);

/// Longest wait before a lost session is dialled again.
pub const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// How long a server may take to greet.
pub const WELCOME_TIMEOUT: Duration = Duration::from_secs(15);

/// How often the node says that it lives until the server tells.
pub const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(5);

/// How often runtimes are listed for truth: events only say when to look sooner.
pub const RELIST_PERIOD: Duration = Duration::from_secs(30);

/// First wait before a runtime that could not be listed is asked again; it doubles.
pub const RUNTIME_RETRY_FIRST: Duration = Duration::from_millis(200);

/// Longest wait before a runtime that could not be listed is asked again.
pub const RUNTIME_RETRY_MAX: Duration = Duration::from_secs(10);

/// The least a container has to end after its `preStop` hook used up the grace: kubelet's minimum.
pub const GRACE_AFTER_HOOK: Duration = Duration::from_secs(2);

/// The most that is read of a probe's or hook's answer, in bytes: kubelet reads 10 KiB.
pub const PROBE_ANSWER_BYTES: usize = 10 * 1024;

/// Bytes of a log read at once.
pub const LOG_CHUNK_BYTES: usize = 32 * 1024;

/// Logs, execs and port-forwards open at once on one node.
pub const TUNNELS_COUNT: usize = 256;

/// Frames in flight in one tunnel; at 32 KiB each it is 512 KiB.
pub const TUNNEL_FRAMES_COUNT: usize = 16;

/// How long a tunnel that is over waits for its other side to have read everything.
pub const TUNNEL_END_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a port-forward may take to connect.
pub const FORWARD_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most a volume made of ConfigMaps and Secrets may hold, in bytes: each of them is at most 1 MiB.
pub const VOLUME_PAYLOAD_BYTES: usize = 16 << 20;

/// Part of a file system that has to be free, in percent, for the node to be without disk pressure: kubelet's
/// `nodefs.available`.
pub const DISK_FREE_PERCENT: u64 = 10;

/// Memory that has to be free, in bytes, for the node to be without memory pressure: kubelet's `memory.available`.
pub const MEMORY_FREE_BYTES: u64 = 100 << 20;

/// Part of the process ids that have to be free, in percent, for the node to be without pid pressure.
pub const PIDS_FREE_PERCENT: u64 = 10;

/// How many changes of services are gathered into one change of rules: what is waiting when the last one is done.
pub const SERVICES_PER_CHANGE_COUNT: usize = 1_024;

/// First wait after a change of rules that failed; it doubles up to [`RULES_RETRY_MAX`].
pub const RULES_RETRY_FIRST: Duration = Duration::from_millis(100);

/// Longest wait after a change of rules that failed.
pub const RULES_RETRY_MAX: Duration = Duration::from_secs(10);

/// How long services are gathered before they are written to the disk.
pub const SERVICES_SAVE_DELAY: Duration = Duration::from_millis(500);

/// The longest message read from a container's termination message file, in bytes: kubelet's `MaxContainerTerminationMessageLength`.
pub const TERMINATION_MESSAGE_BYTES: usize = 4_096;

/// The longest message taken from the end of a container's log, in bytes: kubelet's `MaxContainerTerminationMessageLogLength`.
pub const TERMINATION_LOG_BYTES: usize = 2_048;

/// The most lines of it: kubelet's `MaxContainerTerminationMessageLogLines`.
pub const TERMINATION_LOG_LINES: usize = 80;

/// First wait before a cluster that could not be asked is asked again by a node that joins; it doubles.
pub const ENROL_RETRY_FIRST: Duration = Duration::from_millis(200);

/// Longest wait before it is asked again.
pub const ENROL_RETRY_MAX: Duration = Duration::from_secs(10);

/// How often the certificate is looked at for renewal. It lives for months, and a third of its life is left when it is due.
pub const RENEW_PERIOD: Duration = Duration::from_secs(3_600);
