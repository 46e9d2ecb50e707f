//! Stands in for the crate `base2histogram` 0.2 under openraft 0.10.0-alpha.37.
//!
//! openraft counts batch sizes and latencies into its histograms, and shows them only with its feature
//! `runtime-stats`, which Pontoon leaves off: Pontoon has metrics of its own. The real crate computes, at the first
//! histogram, the tables of all sixteen resolutions it knows: 26 MB that stay resident, of the 60 MB that a whole idle
//! control plane may have. This one has the names that openraft uses and keeps nothing.
//!
//! To be dropped when openraft no longer makes histograms without that feature, or the tables are made one by one.

use std::fmt;
use std::marker::PhantomData;

/// Counts nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()>(PhantomData<fn() -> T>);

impl<T> Histogram<T> {
    /// An empty one; it stays so.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    /// Forgets `_value`.
    pub const fn record(&mut self, _value: u64) {}

    /// Forgets `_value`, `_count` times.
    pub const fn record_n(&mut self, _value: u64, _count: u64) {}

    /// How many values are kept: none.
    #[must_use]
    pub const fn total(&self) -> u64 {
        0
    }

    /// Of no values.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats::default()
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Percentiles of nothing: all zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no samples are kept")
    }
}

/// Draws nothing.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart;

impl AsciiChart {
    /// An empty one; it stays so.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    /// Forgets the histogram.
    #[must_use]
    pub fn add<T>(self, _name: &str, _histogram: Histogram<T>) -> Self {
        self
    }

    /// Itself.
    #[must_use]
    pub const fn detailed(self) -> Self {
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no samples are kept")
    }
}
