//! The durable form of a segment: a header of one sector, then records. Numbers are little-endian.
//!
//! A record is `crc (4) | previous (4) | length (4) | kind (4) | segment (4) | durable (4) | index (8) | term (8) | payload`, padded
//! with zeros to a multiple of eight bytes. Its CRC-32C is over everything behind it, with it the CRC of the record before,
//! so that records are a chain from the log's first to its last. `segment` tells what lies in a recycled file from before;
//! `durable` says up to where in this file everything was synced when the record was made.

use super::Position;
use crate::disk::SECTOR_BYTES;
use bytes::Bytes;

/// Behind it lies the first record.
pub(super) const HEADER_BYTES: u32 = SECTOR_BYTES as u32;

/// Of a record, without its payload.
pub(super) const RECORD_BYTES: usize = 40;

/// Bytes of a vote that a header has room for.
pub(super) const VOTE_BYTES: usize = 256;

const MAGIC: &[u8; 8] = b"PONTLOG2";

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    /// An entry.
    Entry = 1,
    /// The vote with the number `index`.
    Vote = 2,
    /// Entries are committed up to here.
    Committed = 3,
    /// Nothing is known to be committed.
    Uncommitted = 4,
    /// Entries from `index` on are gone.
    Truncate = 5,
    /// Entries up to and with `index` are gone.
    Purge = 6,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Entry,
        Self::Vote,
        Self::Committed,
        Self::Uncommitted,
        Self::Truncate,
        Self::Purge,
    ];
}

/// A record to be written.
pub(super) struct Draft<'a> {
    pub kind: Kind,
    pub position: Position,
    pub payload: &'a [u8],
}

/// A record that was read; its own CRC is right.
pub(super) struct Stored<'a> {
    pub kind: Kind,
    pub position: Position,
    pub payload: &'a [u8],
    pub crc: u32,
    pub previous: u32,
    pub durable: u32,
    /// In the file, with padding.
    pub size: usize,
}

/// Bytes that a record with `payload` bytes of payload takes.
pub(super) const fn size(payload: usize) -> usize {
    (RECORD_BYTES + payload).next_multiple_of(8)
}

/// Appends the form of `draft` to `into`; gives its CRC.
pub(super) fn encode(
    into: &mut Vec<u8>,
    draft: &Draft<'_>,
    previous: u32,
    segment: u32,
    durable: u32,
) -> u32 {
    let begin = into.len();
    let length = u32::try_from(draft.payload.len()).expect("an entry is far below 4 GB");
    into.extend_from_slice(&[0; 4]);
    for number in [previous, length, draft.kind as u32, segment, durable] {
        into.extend_from_slice(&number.to_le_bytes());
    }
    into.extend_from_slice(&draft.position.index.to_le_bytes());
    into.extend_from_slice(&draft.position.term.to_le_bytes());
    into.extend_from_slice(draft.payload);
    into.resize(begin + size(draft.payload.len()), 0);
    let crc = crc32c::crc32c(&into[begin + 4..]);
    into[begin..begin + 4].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// The record at the beginning of `bytes`, if there is a whole one of this segment.
pub(super) fn decode(bytes: &[u8], segment: u32) -> Option<Stored<'_>> {
    let header = bytes.get(..RECORD_BYTES)?;
    if small(&header[16..]) != segment {
        return None;
    }
    let kind = small(&header[12..]);
    let kind = *Kind::ALL.iter().find(|known| **known as u32 == kind)?;
    let length = usize::try_from(small(&header[8..])).ok()?;
    let size = length
        .checked_add(RECORD_BYTES)?
        .checked_next_multiple_of(8)?;
    let crc = small(header);
    if crc32c::crc32c(bytes.get(4..size)?) != crc {
        return None;
    }
    Some(Stored {
        kind,
        position: Position {
            index: number(&header[24..]),
            term: number(&header[32..]),
        },
        payload: &bytes[RECORD_BYTES..RECORD_BYTES + length],
        crc,
        previous: small(&header[4..]),
        durable: small(&header[20..]),
        size,
    })
}

/// The form of a position that may be missing: as the payload of a truncation.
pub(super) fn pack(position: Option<Position>) -> Vec<u8> {
    position.map_or_else(Vec::new, |position| {
        [position.term, position.index]
            .map(u64::to_le_bytes)
            .concat()
    })
}

/// What [`pack`] packed.
pub(super) fn unpack(bytes: &[u8]) -> Option<Position> {
    (bytes.len() == 16).then(|| Position {
        term: number(bytes),
        index: number(&bytes[8..]),
    })
}

/// What the records up to some point say, entries aside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts {
    /// The last entry, or the purge point when there is none.
    pub last: Option<Position>,
    pub purged: Option<Position>,
    pub committed: Option<Position>,
    /// The number of the last vote; 0 for none.
    pub vote_number: u64,
    pub vote: Bytes,
}

/// The head of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub segment: u32,
    /// Where the segment before ends; 0 for the first one.
    pub previous_end: u32,
    /// The CRC of the last record before this segment.
    pub chain: u32,
    /// What is known at its beginning: segments before it may be gone.
    pub facts: Facts,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let facts = &self.facts;
        let positions = [facts.last, facts.purged, facts.committed];
        let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
        bytes.extend_from_slice(MAGIC);
        for number in [self.segment, self.previous_end, self.chain] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for position in positions {
            let present = position.is_some();
            let position = position.unwrap_or(Position { term: 0, index: 0 });
            bytes.push(u8::from(present));
            bytes.extend_from_slice(&position.term.to_le_bytes());
            bytes.extend_from_slice(&position.index.to_le_bytes());
        }
        bytes.extend_from_slice(&facts.vote_number.to_le_bytes());
        let vote = u32::try_from(facts.vote.len()).expect("a vote that was saved has room");
        bytes.extend_from_slice(&vote.to_le_bytes());
        bytes.extend_from_slice(&facts.vote);
        bytes.resize(HEADER_BYTES as usize - 4, 0);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header at the beginning of `bytes`, if it is a whole one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (rest, crc) = bytes
            .get(..HEADER_BYTES as usize)?
            .split_at_checked(HEADER_BYTES as usize - 4)?;
        if crc32c::crc32c(rest) != small(crc) || !rest.starts_with(MAGIC) {
            return None;
        }
        let position = |nth: usize| {
            let at = 20 + nth * 17;
            (rest[at] == 1).then(|| Position {
                term: number(&rest[at + 1..]),
                index: number(&rest[at + 9..]),
            })
        };
        let vote = usize::try_from(small(&rest[79..])).ok()?;
        Some(Self {
            segment: small(&rest[8..]),
            previous_end: small(&rest[12..]),
            chain: small(&rest[16..]),
            facts: Facts {
                last: position(0),
                purged: position(1),
                committed: position(2),
                vote_number: number(&rest[71..]),
                vote: Bytes::copy_from_slice(rest.get(83..83 + vote)?),
            },
        })
    }
}

/// The number in the first four bytes.
pub(super) fn small(bytes: &[u8]) -> u32 {
    let bytes = bytes.first_chunk().expect("four bytes are there");
    u32::from_le_bytes(*bytes)
}

/// The number in the first eight bytes.
pub(super) fn number(bytes: &[u8]) -> u64 {
    let bytes = bytes.first_chunk().expect("eight bytes are there");
    u64::from_le_bytes(*bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written_and_not_when_a_bit_is_turned() {
        let header = Header {
            segment: 7,
            previous_end: 8_000,
            chain: 99,
            facts: Facts {
                last: Some(Position { term: 3, index: 40 }),
                purged: None,
                committed: Some(Position { term: 2, index: 30 }),
                vote_number: 5,
                vote: Bytes::from_static(&[9; VOTE_BYTES]),
            },
        };
        let bytes = header.encode();
        assert_eq!(bytes.len(), HEADER_BYTES as usize);
        assert_eq!(Header::decode(&bytes).unwrap(), header);
        for bit in 0..bytes.len() * 8 {
            let mut turned = bytes.clone();
            turned[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&turned), None, "bit {bit}");
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_not_when_a_bit_is_turned() {
        for payload in [&b""[..], b"x", b"12345678", b"a longer payload"] {
            let mut bytes = Vec::new();
            let draft = Draft {
                kind: Kind::Entry,
                position: Position { term: 2, index: 9 },
                payload,
            };
            let crc = encode(&mut bytes, &draft, 77, 3, 512);
            let stored = decode(&bytes, 3).unwrap();
            assert_eq!(
                (stored.crc, stored.previous, stored.durable, stored.size),
                (crc, 77, 512, bytes.len())
            );
            assert_eq!((stored.position, stored.payload), (draft.position, payload));
            assert!(decode(&bytes, 4).is_none());
            for bit in 0..bytes.len() * 8 {
                let mut turned = bytes.clone();
                turned[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(&turned, 3).is_none(), "bit {bit}");
            }
        }
    }
}
