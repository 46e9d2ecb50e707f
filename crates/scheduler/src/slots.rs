//! Nodes as dense numbers, and maps from them.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{BuildHasherDefault, Hasher};

/// The place of a node in every per-node array.
pub type Slot = usize;

/// A map with texts as keys. The hasher is keyed with constants: this crate has no entropy.
/// Nothing depends on the order of its entries.
pub type TextMap<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// A map with small numbers as keys.
pub type NumberMap<V> = HashMap<usize, V, BuildHasherDefault<NumberHasher>>;

/// Spreads a number's low bits by Fibonacci hashing (Knuth, TAOCP 3, 6.4).
#[derive(Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, number: usize) {
        let mixed = (self.0 ^ number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// Counts things per number; what falls to zero takes no room.
#[derive(Debug, Clone, Default)]
pub struct Tally(NumberMap<u32>);

impl Tally {
    pub fn get(&self, key: usize) -> u32 {
        self.0.get(&key).copied().unwrap_or(0)
    }

    pub fn add(&mut self, key: usize, count: u32) {
        *self.0.entry(key).or_insert(0) += count;
    }

    pub fn subtract_one(&mut self, key: usize) {
        if let Some(count) = self.0.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&key);
            }
        }
    }

    /// In no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u32)> {
        self.0.iter().map(|(key, count)| (*key, *count))
    }

    /// How many numbers have a count.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
