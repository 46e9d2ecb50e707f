//! A digest of what a view holds, kept up to date by each write instead of by a scan.
//!
//! The sum of the objects' SHA-256, taken as four numbers of 64 bits: adding and subtracting in any order gives the
//! same, so that the digest of a view is a function of its objects alone. It finds replicas that differ by accident;
//! it is no defence against one who may choose the objects (sums of hashes can be made to collide).

use crate::object::Object;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// Bytes of a digest's durable form.
pub const DIGEST_BYTES: usize = 32;

/// The digest of a set of objects; the default is that of none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest([u64; 4]);

impl Digest {
    fn of(object: &Object) -> Self {
        let mut hash = Sha256::new();
        let key = object.key.encode();
        hash.update((key.len() as u64).to_be_bytes());
        hash.update(key);
        hash.update(object.revision.0.to_be_bytes());
        hash.update(&object.json);
        Self::from_bytes(&hash.finalize()).expect("SHA-256 gives 32 bytes")
    }

    pub(crate) fn add(&mut self, object: &Object) {
        for (lane, other) in self.0.iter_mut().zip(Self::of(object).0) {
            *lane = lane.wrapping_add(other);
        }
    }

    pub(crate) fn subtract(&mut self, object: &Object) {
        for (lane, other) in self.0.iter_mut().zip(Self::of(object).0) {
            *lane = lane.wrapping_sub(other);
        }
    }

    /// The durable form.
    #[must_use]
    pub fn to_bytes(self) -> [u8; DIGEST_BYTES] {
        let mut bytes = [0; DIGEST_BYTES];
        for (place, lane) in bytes.chunks_exact_mut(8).zip(self.0) {
            place.copy_from_slice(&lane.to_be_bytes());
        }
        bytes
    }

    /// Reads the durable form; `None` when it is not one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; DIGEST_BYTES] = bytes.try_into().ok()?;
        let mut lanes = [0; 4];
        for (lane, place) in lanes.iter_mut().zip(bytes.chunks_exact(8)) {
            *lane = u64::from_be_bytes(place.try_into().ok()?);
        }
        Some(Self(lanes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|lane| write!(f, "{lane:016x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::Key;
    use crate::object::Meta;
    use pontoon_api::Revision;

    fn object(name: &str, revision: u64, json: &str) -> Object {
        Object {
            key: Key::new("configmaps", "a", name),
            revision: Revision(revision),
            meta: Meta::default(),
            json: json.to_owned().into(),
        }
    }

    #[test]
    fn the_order_of_writes_does_not_matter_and_what_goes_leaves_nothing() {
        let (one, two) = (object("x", 1, "{}"), object("y", 2, "{}"));
        let (mut ab, mut ba) = (Digest::default(), Digest::default());
        ab.add(&one);
        ab.add(&two);
        ba.add(&two);
        ba.add(&one);
        assert_eq!(ab, ba);
        ab.subtract(&one);
        ab.subtract(&two);
        assert_eq!(ab, Digest::default());
    }

    #[test]
    fn key_revision_and_content_all_count() {
        let digests = [
            object("x", 1, "{}"),
            object("y", 1, "{}"),
            object("x", 2, "{}"),
            object("x", 1, "{ }"),
        ]
        .map(|object| {
            let mut digest = Digest::default();
            digest.add(&object);
            digest
        });
        for (n, digest) in digests.iter().enumerate() {
            assert!(!digests[..n].contains(digest));
            assert_eq!(Digest::from_bytes(&digest.to_bytes()), Some(*digest));
        }
        assert_eq!(Digest::from_bytes(b"short"), None);
    }
}
