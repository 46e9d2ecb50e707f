//! The only door to clock and entropy.
//!
//! A [`World`] is built once at start and handed to whatever needs the time or a random
//! number; pure crates never see it, they are given `now`. Tests hand in a [`manual`] one
//! and decide both.
//!
//! Not here: timers (a driver keeps its own, with tokio), and secrets (keys are made by
//! `identity` with ring's generator, never from [`Entropy`]).
//!
//! Invariants:
//! - [`Clock::monotonic`] never goes back; [`Clock::now`] may, when an operator sets the clock;
//! - nothing of Pontoon but this crate asks the system for either.

pub mod clock;
pub mod entropy;
pub mod manual;

use std::sync::Arc;

pub use clock::{Clock, SystemClock};
pub use entropy::{Entropy, SystemEntropy};

/// Clock and entropy together; a clone is two pointers and shares both.
#[derive(Clone)]
pub struct World {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl World {
    /// Made of given parts.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy }
    }

    /// The machine's own clock and generator.
    #[must_use]
    pub fn real() -> Self {
        Self::new(Arc::new(SystemClock::start()), Arc::new(SystemEntropy))
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The source of randomness.
    #[must_use]
    pub fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    /// The time of day: short for `clock().now()`.
    #[must_use]
    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}
