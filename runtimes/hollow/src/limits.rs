//! Bounds of the hollow runtime. Each says why that number.

/// Events kept for a slow listener. They are allocated for each node whether or not anything happens, and thousands of nodes
/// share a process: a listener further behind is told to list, which costs little here.
pub const EVENTS_COUNT: usize = 64;

/// Messages in flight in each direction of an exec: they are echoed, so a caller that reads never waits for long.
pub const EXEC_MESSAGES_COUNT: usize = 4;
