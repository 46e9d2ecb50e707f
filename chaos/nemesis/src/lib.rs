//! Real servers in network namespaces of their own, and everything that is done to them.
//!
//! * [`switch`] carries frames between the servers and can delay, lose, double, cut one way, or hold and release them.
//! * [`disk`] is a file system that knows what was synced: it loses the rest at a power cut, tears writes, fails them, or fills up.
//! * [`machines`] starts servers on both, kills, pauses, sets their clocks.
//! * [`damage`] changes bytes in the files of a server that is stopped.
//! * [`ground`] names everything after the process that made it, so that the next run removes what a killed one left.
//!
//! What it is not: it knows nothing of what servers answer. Those are network namespaces on one kernel and file systems of one program;
//! what real network cards, disks and their firmware do is not covered.

pub mod damage;
pub mod disk;
pub mod ground;
pub mod limits;
pub mod machines;
pub mod switch;
