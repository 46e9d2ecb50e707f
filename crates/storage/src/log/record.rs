//! The durable form of what the log's database holds.
//!
//! Keys: `e` and the big-endian index for entries, `f` and a name for facts. Numbers in values are little-endian.
//! An entry is `previous crc (4) | crc (4) | term (8) | payload`, its CRC-32C over the previous CRC, index, term and
//! payload.

use super::{Link, Position, Record};
use crate::error::StorageError;

/// The purge point.
pub(super) const PURGED: &[u8] = b"fpurged";
/// The vote.
pub(super) const VOTE: &[u8] = b"fvote";
/// How far entries are known to be committed.
pub(super) const COMMITTED: &[u8] = b"fcommitted";

const HEADER: usize = 16;

pub(super) fn entry_key(index: u64) -> [u8; 9] {
    let mut key = [b'e'; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// Behind every entry.
pub(super) const fn entry_end() -> [u8; 9] {
    [b'e' + 1, 0, 0, 0, 0, 0, 0, 0, 0]
}

pub(super) fn entry_index(key: &[u8]) -> Result<u64, StorageError> {
    match key.split_first() {
        Some((b'e', index)) if index.len() == 8 => Ok(number(index).swap_bytes()),
        _ => Err(StorageError::Corrupt(format!("log key {key:?}"))),
    }
}

/// A stored entry, its CRC checked; the chain is checked at start.
pub(super) struct Stored<'a> {
    pub link: Link,
    pub previous: u32,
    pub payload: &'a [u8],
}

fn sum(previous: u32, position: Position, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&previous.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &position.index.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &position.term.to_le_bytes());
    crc32c::crc32c_append(crc, payload)
}

/// The durable form of `record` behind an entry with CRC `previous`.
pub(super) fn encode(previous: u32, record: &Record) -> (Link, Vec<u8>) {
    let crc = sum(previous, record.position, &record.payload);
    let mut value = Vec::with_capacity(HEADER + record.payload.len());
    value.extend_from_slice(&previous.to_le_bytes());
    value.extend_from_slice(&crc.to_le_bytes());
    value.extend_from_slice(&record.position.term.to_le_bytes());
    value.extend_from_slice(&record.payload);
    (
        Link {
            position: record.position,
            crc,
        },
        value,
    )
}

pub(super) fn decode(index: u64, value: &[u8]) -> Result<Stored<'_>, StorageError> {
    let corrupt = || StorageError::Corrupt(format!("entry {index} is not what was written"));
    let (header, payload) = value.split_at_checked(HEADER).ok_or_else(corrupt)?;
    let previous = small(&header[..4]);
    let crc = small(&header[4..8]);
    let position = Position {
        term: number(&header[8..]),
        index,
    };
    if sum(previous, position, payload) != crc {
        return Err(corrupt());
    }
    Ok(Stored {
        link: Link { position, crc },
        previous,
        payload,
    })
}

/// `crc over the rest (4) | link crc (4) | term (8) | index (8)`.
pub(super) fn encode_link(link: &Link) -> Vec<u8> {
    let mut value = Vec::with_capacity(20);
    value.extend_from_slice(&link.crc.to_le_bytes());
    value.extend_from_slice(&link.position.term.to_le_bytes());
    value.extend_from_slice(&link.position.index.to_le_bytes());
    sealed(&value)
}

pub(super) fn decode_link(value: &[u8]) -> Result<Link, StorageError> {
    let value = unsealed(value)?;
    if value.len() != 20 {
        return Err(StorageError::Corrupt(
            "a position of the log has the wrong length".into(),
        ));
    }
    let position = Position {
        term: number(&value[4..12]),
        index: number(&value[12..]),
    };
    Ok(Link {
        position,
        crc: small(&value[..4]),
    })
}

/// `crc over the rest (4) | sequence (8) | vote`.
pub(super) fn encode_vote(sequence: u64, vote: &[u8]) -> Vec<u8> {
    sealed(&[&sequence.to_le_bytes(), vote].concat())
}

pub(super) fn decode_vote(value: &[u8]) -> Result<(u64, &[u8]), StorageError> {
    let corrupt = || StorageError::Corrupt("the vote has the wrong length".into());
    let (sequence, vote) = unsealed(value)?.split_at_checked(8).ok_or_else(corrupt)?;
    Ok((number(sequence), vote))
}

pub(super) fn sealed(value: &[u8]) -> Vec<u8> {
    [&crc32c::crc32c(value).to_le_bytes(), value].concat()
}

pub(super) fn unsealed(value: &[u8]) -> Result<&[u8], StorageError> {
    match value.split_at_checked(4) {
        Some((crc, rest)) if crc32c::crc32c(rest) == small(crc) => Ok(rest),
        _ => Err(StorageError::Corrupt(
            "a fact of the log is not what was written".into(),
        )),
    }
}

pub(super) fn small(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes were cut out"))
}

pub(super) fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes were cut out"))
}
