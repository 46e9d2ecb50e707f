//! A world moved by hand, by a test or by a forecast: time passes when told to, and the same seed gives the
//! same numbers.

use crate::{Clock, Entropy, World};
use jiff::Timestamp;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};

/// A world that stands still at `start`, and the clock to move it with.
#[must_use]
pub fn world(start: Timestamp, seed: u64) -> (World, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(start));
    let entropy = Arc::new(SeededEntropy::new(seed));
    (
        World::new(Arc::clone(&clock) as Arc<dyn Clock>, entropy),
        clock,
    )
}

/// A clock that moves when told to.
#[derive(Debug)]
pub struct ManualClock {
    times: Mutex<(Timestamp, Duration)>,
}

impl ManualClock {
    /// Stands at `start`, with no time passed.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self {
            times: Mutex::new((start, Duration::ZERO)),
        }
    }

    /// Lets time pass on both clocks.
    ///
    /// # Panics
    /// When the time of day would leave jiff's range (year 9999).
    pub fn advance(&self, by: Duration) {
        let mut times = self.times.lock();
        times.0 = times
            .0
            .checked_add(by)
            .expect("a test stays before year 9999");
        times.1 += by;
    }

    /// Sets the time of day, as an operator would, in either direction; no time passes.
    pub fn set(&self, now: Timestamp) {
        self.times.lock().0 = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.times.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.times.lock().1
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug)]
pub struct SeededEntropy {
    state: Mutex<u64>,
}

impl SeededEntropy {
    /// The sequence that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: Mutex::new(seed),
        }
    }
}

impl Entropy for SeededEntropy {
    fn u64(&self) -> u64 {
        let mut state = self.state.lock();
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_only_when_told_to() {
        let (world, clock) = world(Timestamp::UNIX_EPOCH, 1);
        assert_eq!(world.now(), Timestamp::UNIX_EPOCH);
        clock.advance(Duration::from_secs(90));
        assert_eq!(world.now().as_second(), 90);
        assert_eq!(world.clock().monotonic(), Duration::from_secs(90));
    }

    #[test]
    fn setting_the_time_of_day_back_lets_no_time_pass() {
        let (world, clock) = world(Timestamp::MAX, 1);
        clock.set(Timestamp::UNIX_EPOCH);
        assert_eq!(world.now(), Timestamp::UNIX_EPOCH);
        assert_eq!(world.clock().monotonic(), Duration::ZERO);
    }

    #[test]
    fn the_same_seed_gives_the_same_names() {
        let names = |seed| {
            let entropy = SeededEntropy::new(seed);
            (0..10).map(|_| entropy.name_suffix()).collect::<Vec<_>>()
        };
        assert_eq!(names(7), names(7));
        assert_ne!(names(7), names(8));
    }
}
