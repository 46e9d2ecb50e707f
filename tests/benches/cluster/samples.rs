//! Numbers that were seen, and what can be said of them.

use std::time::Duration;

/// Samples of one thing, in any order.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn add(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// In milliseconds.
    pub fn add_duration(&mut self, sample: Duration) {
        self.add(sample.as_secs_f64() * 1e3);
    }

    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub const fn count(&self) -> usize {
        self.0.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest sample that `percent` of all are not above (nearest rank); 0 of none.
    pub fn percentile(&self, percent: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (percent / 100.0 * sorted.len() as f64).ceil().max(1.0) as usize;
        sorted.get(rank - 1).copied().unwrap_or_default()
    }

    pub fn median(&self) -> f64 {
        self.percentile(50.0)
    }

    pub fn smallest(&self) -> f64 {
        self.percentile(0.0)
    }

    pub fn largest(&self) -> f64 {
        self.percentile(100.0)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}
