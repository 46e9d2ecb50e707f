//! Random numbers, and the names and ids made of them.

use rand::Rng;
use std::time::Duration;
use uuid::Uuid;

/// The letters of generated names: Kubernetes' `k8s.io/apimachinery/pkg/util/rand`, which
/// leaves out vowels and the digits that look like them, so that no name spells a word.
pub const NAME_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// How many letters follow a `generateName`, as in Kubernetes.
pub const NAME_SUFFIX_LETTERS: usize = 5;

/// Where random numbers come from. Good enough for names, ids and jitter; not for keys.
pub trait Entropy: Send + Sync + 'static {
    /// Any number, all equally likely.
    fn u64(&self) -> u64;

    /// A random (version 4) id.
    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.u64().to_be_bytes());
        bytes[8..].copy_from_slice(&self.u64().to_be_bytes());
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// What follows a `generateName`: [`NAME_SUFFIX_LETTERS`] of [`NAME_ALPHABET`].
    fn name_suffix(&self) -> String {
        let base = NAME_ALPHABET.len() as u64;
        let mut rest = self.u64();
        let mut suffix = String::with_capacity(NAME_SUFFIX_LETTERS);
        for _ in 0..NAME_SUFFIX_LETTERS {
            let letter = usize::try_from(rest % base).expect("less than 27");
            suffix.push(char::from(NAME_ALPHABET[letter]));
            rest /= base;
        }
        suffix
    }

    /// A duration in `[base / 2, base)`, so that clients which failed together do not return
    /// together. Zero stays zero.
    fn jitter(&self, base: Duration) -> Duration {
        let half = base / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        match self.u64().checked_rem(nanos) {
            Some(extra) => half + Duration::from_nanos(extra),
            None => base,
        }
    }
}

/// The thread's own generator, seeded by the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn u64(&self) -> u64 {
        rand::rng().next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_suffix_has_five_letters_of_the_alphabet_and_uses_all_of_them() {
        let mut seen = HashSet::new();
        for _ in 0..2_000 {
            let suffix = SystemEntropy.name_suffix();
            assert_eq!(suffix.len(), NAME_SUFFIX_LETTERS);
            seen.extend(suffix.bytes());
        }
        assert_eq!(seen, NAME_ALPHABET.iter().copied().collect());
    }

    #[test]
    fn ids_are_random_and_of_version_4() {
        let (one, other) = (SystemEntropy.uuid(), SystemEntropy.uuid());
        assert_ne!(one, other);
        assert_eq!(one.get_version_num(), 4);
    }

    #[test]
    fn jitter_stays_between_half_and_whole() {
        let base = Duration::from_millis(100);
        for _ in 0..1_000 {
            let got = SystemEntropy.jitter(base);
            assert!(got >= base / 2 && got < base, "{got:?}");
        }
        assert_eq!(SystemEntropy.jitter(Duration::ZERO), Duration::ZERO);
    }
}
