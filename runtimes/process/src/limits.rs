//! Bounds of the process runtime.

/// Bytes read from a program's output at once. The kernel's pipe holds 64 KiB; a quarter keeps the shim small and
/// still takes a full log entry.
pub const PIPE_READ_BYTES: usize = 16 * 1024;

/// Entries of a directory that can be shown again when a volume needs a new name in it. Each costs a mount, of
/// which the kernel allows 100,000 per namespace.
pub const SHOWN_ENTRIES: usize = 4096;

/// Size of the memory file system that holds new names beside existing entries, in bytes: names and small files.
pub const SHOWN_BYTES: u64 = 64 * 1024 * 1024;

/// How long a shim may take to kill its container and report before it is killed itself, in seconds. Killing takes
/// milliseconds; a process stuck in the kernel's disk wait takes this long.
pub const SHIM_KILL_SECONDS: u64 = 10;

/// How long a shim may take to start a program, in seconds. It takes milliseconds; a host path on a dead network file
/// system takes this long.
pub const SHIM_START_SECONDS: u64 = 30;

/// Largest report of a shim or request to it, in bytes: an environment is at most this large by `execve`'s own limit
/// of 128 KiB per string and 2 MiB in all.
pub const SHIM_REPORT_BYTES: u64 = 4 * 1024 * 1024;

/// Rounds of killing adopted descendants before a shim without a pid namespace gives up. Each round kills one
/// generation; only a program that forks faster than it dies gets this far.
pub const KILL_ROUNDS: usize = 10_000;

/// Attempts to remove a control group whose last process is still being reaped by the kernel.
pub const CGROUP_REMOVE_ATTEMPTS: usize = 50;

/// Pause between those attempts, in milliseconds.
pub const CGROUP_REMOVE_PAUSE_MILLIS: u64 = 4;

/// Attempts to take the state directory before it counts as in use.
pub const LOCK_ATTEMPTS: usize = 50;

/// Pause between those attempts, in milliseconds.
pub const LOCK_PAUSE_MILLIS: u64 = 10;

/// Pause before a failed reading of a container's end is repeated, in seconds. It fails only with the disk.
pub const SETTLE_PAUSE_SECONDS: u64 = 1;
