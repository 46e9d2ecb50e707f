//! The only door to clock and entropy.
