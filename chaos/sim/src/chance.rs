//! Decisions of the simulator: a sequence that the seed decides.

use pontoon_world::Entropy as _;
use pontoon_world::manual::SeededEntropy;
use std::time::Duration;

/// A seeded sequence of decisions.
#[derive(Debug)]
pub struct Chance(SeededEntropy);

impl Chance {
    /// The sequence for one `purpose` of a seed: another purpose's draws do not shift it.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mixed = seed
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(u64::from(crc32c::crc32c(purpose.as_bytes())));
        Self(SeededEntropy::new(mixed))
    }

    /// Any number.
    pub fn number(&self) -> u64 {
        self.0.u64()
    }

    /// A number below `bound`, which is above zero.
    pub fn below(&self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }

    /// Whether something with this probability, in percent, happens.
    pub fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of them; `None` of none.
    pub fn pick<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        let index = usize::try_from(self.below(of.len() as u64)).ok()?;
        of.get(index)
    }

    /// A duration in `[from, until]`, in whole milliseconds.
    pub fn millis(&self, from: u64, until: u64) -> Duration {
        Duration::from_millis(from + self.below(until.saturating_sub(from) + 1))
    }

    /// A random order.
    pub fn shuffle<T>(&self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap_or(0);
            items.swap(last, other);
        }
    }
}
