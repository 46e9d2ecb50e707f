//! How much clients do and how long they wait.

use std::time::Duration;

/// How long a client waits for an answer. Longer than an election, shorter than a fault.
pub const CALL_DEADLINE: Duration = Duration::from_secs(3);

/// The pause of a client between two operations: the servers share two cores with everything else.
pub const PACE: Duration = Duration::from_millis(15);

/// The pause after an operation that was not done: a refused connection answers at once.
pub const PACE_OF_FAILURE: Duration = Duration::from_millis(100);

/// Operations of one register. Jepsen's etcd suite takes 200: short histories are quick to judge and quick to read.
pub const OPERATIONS_PER_KEY: u64 = 300;

/// Registers in use at once.
pub const KEYS_AT_ONCE: u64 = 5;

/// Elements of one set: some ten bytes each in one object.
pub const ELEMENTS_PER_SET: u64 = 400;

/// Lists that transactions work on.
pub const LISTS: u64 = 24;

/// Objects of the churning namespace.
pub const CHURNING: u64 = 12;

/// Items of a page: small, so that lists take many.
pub const PAGE_ITEMS: u32 = 3;
