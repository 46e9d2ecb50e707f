//! Time of day, and time passed.

use jiff::Timestamp;
use std::time::{Duration, Instant};

/// What time it is.
pub trait Clock: Send + Sync + 'static {
    /// The time of day. It may jump in either direction; write it into objects, but do not
    /// measure with it.
    fn now(&self) -> Timestamp;

    /// Time passed since some fixed point of this process. It never goes back; measure with it.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug, Clone)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time is zero at this call.
    #[must_use]
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}
