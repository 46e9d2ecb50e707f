//! The model of a snapshot: all pairs of a state, spread over a few files.

use super::state::Pairs;
use bytes::Bytes;
use pontoon_consensus::disk::{Incoming, SnapshotData, SnapshotFiles};
use pontoon_state::Family;
use pontoon_storage::checkpoint::SnapshotFile;
use pontoon_storage::{Manifest, StorageError};
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::Arc;

/// How many files a snapshot has.
const FILES: usize = 2;

/// A whole snapshot.
#[derive(Debug, Clone)]
pub(super) struct SimSnapshot {
    manifest: Manifest,
    files: BTreeMap<String, Bytes>,
}

impl SimSnapshot {
    pub fn new(applied: &[u8], pairs: &Pairs) -> Self {
        let mut contents = [const { Vec::new() }; FILES];
        for (n, ((family, key), value)) in pairs.iter().enumerate() {
            let content: &mut Vec<u8> = &mut contents[n % FILES];
            let family = Family::ALL.iter().position(|at| at == family);
            content.push(u8::try_from(family.unwrap_or(0)).unwrap_or(0));
            for part in [key.as_slice(), value] {
                content.extend(u32::try_from(part.len()).unwrap_or(0).to_le_bytes());
                content.extend(part);
            }
        }
        let mut files = BTreeMap::new();
        let mut listed = Vec::new();
        for (n, content) in contents.into_iter().enumerate() {
            let name = format!("pairs-{n}");
            listed.push(SnapshotFile {
                name: name.clone(),
                size: content.len() as u64,
                crc32c: crc32c::crc32c(&content),
            });
            files.insert(name, content.into());
        }
        Self {
            manifest: Manifest {
                applied: applied.into(),
                files: listed,
            },
            files,
        }
    }

    /// What it holds.
    pub fn pairs(&self) -> Result<Pairs, StorageError> {
        let mut pairs = Pairs::new();
        for content in self.files.values() {
            let mut rest = content.clone();
            while !rest.is_empty() {
                let family = take(&mut rest, 1)?[0];
                let family = Family::ALL.get(usize::from(family));
                let family = *family.ok_or_else(|| corrupt("a family"))?;
                let key = sized(&mut rest)?;
                let value = sized(&mut rest)?;
                pairs.insert((family, key.to_vec()), value);
            }
        }
        Ok(pairs)
    }
}

fn corrupt(what: &str) -> StorageError {
    StorageError::Corrupt(format!("a snapshot: {what}"))
}

fn take(rest: &mut Bytes, length: usize) -> Result<Bytes, StorageError> {
    if rest.len() < length {
        return Err(corrupt("it is too short"));
    }
    Ok(rest.split_to(length))
}

fn sized(rest: &mut Bytes) -> Result<Bytes, StorageError> {
    let length = take(rest, 4)?;
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
    take(
        rest,
        usize::try_from(length).map_err(|_| corrupt("a length"))?,
    )
}

impl SnapshotFiles for SimSnapshot {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn open_file(&self, file: &SnapshotFile) -> Result<Box<dyn Read + Send>, StorageError> {
        let content = self.files.get(&file.name).cloned();
        let content = content.ok_or_else(|| corrupt("a file is missing"))?;
        Ok(Box::new(Cursor::new(content)))
    }
}

/// Begins to receive one.
pub(super) fn receive(manifest: Manifest) -> Box<dyn Incoming> {
    Box::new(SimIncoming {
        snapshot: SimSnapshot {
            files: BTreeMap::new(),
            manifest,
        },
        open: Vec::new(),
    })
}

#[derive(Debug)]
struct SimIncoming {
    snapshot: SimSnapshot,
    open: Vec<u8>,
}

impl Incoming for SimIncoming {
    fn write(
        &mut self,
        name: &str,
        offset: u64,
        data: &[u8],
        last: bool,
    ) -> Result<(), StorageError> {
        let received = self.snapshot.files.len();
        let expected = self.snapshot.manifest.files.get(received);
        let expected = expected.ok_or_else(|| corrupt("more files than announced"))?;
        if expected.name != name || offset != self.open.len() as u64 {
            return Err(corrupt("out of order"));
        }
        self.open.extend(data);
        if last {
            let content = std::mem::take(&mut self.open);
            let found = (content.len() as u64, crc32c::crc32c(&content));
            if found != (expected.size, expected.crc32c) {
                return Err(corrupt("a file is not what was sent"));
            }
            self.snapshot.files.insert(name.to_owned(), content.into());
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<SnapshotData, StorageError> {
        if self.snapshot.files.len() != self.snapshot.manifest.files.len() {
            return Err(corrupt("it ended before its last file"));
        }
        Ok(Arc::new(self.snapshot))
    }
}
