//! Sizes of what the servers stand on.

use std::time::Duration;

/// Bytes of the longest frame: an Ethernet frame of 1,500 bytes with its header. The links have that MTU.
pub const FRAME_BYTES: usize = 1_518;

/// Frames that may be under way on delayed or held links; more are lost, as in a router. A second of delay at 20,000 frames a second.
pub const FRAMES_UNDER_WAY: usize = 20_000;

/// Bytes that a power cut may tear a write at: what a disk writes at once.
pub const SECTOR_BYTES: u64 = 512;

/// How long a killed process may take to be gone.
pub const END_PATIENCE: Duration = Duration::from_secs(20);

/// How long a disk may stay busy behind the last close of its files before it is unmounted all the same, and fails.
pub const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// Between two looks at whether it still is.
pub const IDLE_POLL: Duration = Duration::from_millis(5);
