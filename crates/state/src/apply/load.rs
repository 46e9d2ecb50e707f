//! Reading the store: the present at start, and the past while it is retained.

use super::meta_key;
use crate::change::{Change, ChangeSet};
use crate::digest::Digest;
use crate::key::Key;
use crate::kv::{Family, Kv, KvError};
use crate::object::{Meta, Object};
use crate::view::View;
use bytes::Bytes;
use pontoon_api::Revision;
use std::sync::Arc;

/// Pairs read at once when scanning.
const PAGE: usize = 4_096;

/// `key \0 !revision`: the versions of an object lie together, the newest first.
pub(super) fn version_key(key: &[u8], revision: Revision) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() + 9);
    bytes.extend_from_slice(key);
    bytes.push(0);
    bytes.extend_from_slice(&(!revision.0).to_be_bytes());
    bytes
}

fn split_version_key(bytes: &[u8]) -> Result<(&[u8], Revision), KvError> {
    let corrupt = || KvError::Corrupt(format!("version key {bytes:?}"));
    let (key, revision) = bytes
        .split_at_checked(bytes.len().wrapping_sub(8))
        .ok_or_else(corrupt)?;
    let key = key.strip_suffix(&[0]).ok_or_else(corrupt)?;
    let revision = u64::from_be_bytes(revision.try_into().map_err(|_| corrupt())?);
    Ok((key, Revision(!revision)))
}

/// `revision index`: the changes of a revision in the order of its writes.
pub(super) fn history_key(revision: Revision, index: usize) -> Vec<u8> {
    let index = u32::try_from(index).expect("a transaction has far fewer writes");
    [&revision.0.to_be_bytes()[..], &index.to_be_bytes()[..]].concat()
}

pub(super) fn history_revision(bytes: &[u8]) -> Result<Revision, KvError> {
    let revision = bytes.get(..8).and_then(|bytes| bytes.try_into().ok());
    revision
        .map(|bytes| Revision(u64::from_be_bytes(bytes)))
        .ok_or_else(|| KvError::Corrupt("history key".into()))
}

fn read_revision<K: Kv>(kv: &K, key: &[u8]) -> Result<Revision, KvError> {
    match kv.get(Family::Meta, key)? {
        None => Ok(Revision(0)),
        Some(bytes) => history_revision(&bytes),
    }
}

fn object(key: &[u8], revision: Revision, json: Bytes) -> Result<Arc<Object>, KvError> {
    let key = Key::decode(key).ok_or_else(|| KvError::Corrupt(format!("object key {key:?}")))?;
    let meta = Meta::read(&key.resource, &json)
        .map_err(|error| KvError::Corrupt(format!("{key}: {error}")))?;
    Ok(Arc::new(Object {
        key,
        revision,
        meta,
        json,
    }))
}

/// Loads the present: the newest version of every key, unless it is a removal.
pub(super) fn view<K: Kv>(kv: &K) -> Result<View, KvError> {
    let mut view = View {
        revision: read_revision(kv, meta_key::REVISION)?,
        compacted: read_revision(kv, meta_key::COMPACTED)?,
        ..View::default()
    };
    let mut from = Vec::new();
    let mut last_key = Vec::new();
    loop {
        let page = kv.scan(Family::Versions, &from, None, PAGE)?;
        let more = page.len() == PAGE;
        for (version, json) in page {
            let (key, revision) = split_version_key(&version)?;
            if key != last_key.as_slice() {
                last_key = key.to_vec();
                if !json.is_empty() {
                    view.insert(object(key, revision, json)?);
                }
            }
            from = version.to_vec();
        }
        if !more {
            check_digest(kv, &view)?;
            return Ok(view);
        }
        from.push(0);
    }
}

/// The objects read must be those that were last written: the digest is kept with them. A store of a version that
/// kept none has none.
fn check_digest<K: Kv>(kv: &K, view: &View) -> Result<(), KvError> {
    match kv.get(Family::Meta, meta_key::DIGEST)? {
        Some(kept) if Digest::from_bytes(&kept) != Some(view.digest) => {
            Err(KvError::Corrupt(format!(
                "the objects at revision {} are not those that were written: their digest is {}",
                view.revision, view.digest
            )))
        }
        _ => Ok(()),
    }
}

/// Reads of the past. Shares the store with the machine; safe from any thread.
#[derive(Debug)]
pub struct Past<K> {
    kv: Arc<K>,
}

/// What was asked for is forgotten: everything up to this revision is.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The revision is compacted.
    #[error("revisions up to {0} are compacted")]
    Compacted(Revision),
    /// The store failed.
    #[error(transparent)]
    Kv(#[from] KvError),
}

/// What the feed and the read paths need of a store's past, whatever the store is.
pub trait History: Send + Sync {
    /// Up to `limit` change sets after `after`, in order. Empty when there are none.
    ///
    /// # Errors
    /// [`PastError`].
    fn changes_after(
        &self,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<Arc<ChangeSet>>, PastError>;

    /// The objects of a resource as of `revision`, behind `after`, at most `limit`.
    ///
    /// # Errors
    /// [`PastError`].
    fn list_at(
        &self,
        resource: &str,
        namespace: Option<&str>,
        after: Option<&Key>,
        limit: usize,
        revision: Revision,
    ) -> Result<Vec<Arc<Object>>, PastError>;

    /// The object as of `revision`.
    ///
    /// # Errors
    /// [`PastError`].
    fn get_at(&self, key: &Key, revision: Revision) -> Result<Option<Arc<Object>>, PastError>;
}

impl<K: Kv> Past<K> {
    pub(super) const fn new(kv: Arc<K>) -> Self {
        Self { kv }
    }

    /// Compaction removes and records in one batch: reading the record last tells whether a scan missed something.
    fn still_there(&self, revision: Revision) -> Result<(), PastError> {
        let compacted = read_revision(self.kv.as_ref(), meta_key::COMPACTED)?;
        if revision < compacted {
            Err(PastError::Compacted(compacted))
        } else {
            Ok(())
        }
    }

    fn version_at(&self, key: &[u8], revision: Revision) -> Result<Option<Arc<Object>>, KvError> {
        let from = version_key(key, revision);
        let until = version_key(key, Revision(0));
        match self
            .kv
            .scan(Family::Versions, &from, Some(&until), 1)?
            .pop()
        {
            Some((version, json)) if !json.is_empty() => {
                let (key, revision) = split_version_key(&version)?;
                object(key, revision, json).map(Some)
            }
            _ => Ok(None),
        }
    }
}

impl<K: Kv> History for Past<K> {
    fn changes_after(
        &self,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<Arc<ChangeSet>>, PastError> {
        let from = history_key(after.next(), 0);
        let entries = self.kv.scan(Family::History, &from, None, PAGE)?;
        let full = entries.len() == PAGE;
        let mut sets: Vec<ChangeSet> = Vec::new();
        for (position, key) in entries {
            let revision = history_revision(&position)?;
            if sets.last().is_none_or(|set| set.revision != revision) {
                if sets.len() == limit {
                    break;
                }
                sets.push(ChangeSet {
                    revision,
                    changes: Vec::new(),
                    trace: "".into(),
                });
            }
            let before = self.version_at(&key, Revision(revision.0 - 1))?;
            let after = self.version_at(&key, revision)?;
            if let Some(set) = sets
                .last_mut()
                .filter(|_| before.is_some() || after.is_some())
            {
                set.changes.push(Change { before, after });
            }
        }
        // The last set of a full page may go on behind it.
        if full && sets.len() > 1 {
            sets.pop();
        }
        self.still_there(after)?;
        Ok(sets.into_iter().map(Arc::new).collect())
    }

    fn list_at(
        &self,
        resource: &str,
        namespace: Option<&str>,
        after: Option<&Key>,
        limit: usize,
        revision: Revision,
    ) -> Result<Vec<Arc<Object>>, PastError> {
        let prefix = match namespace {
            Some(namespace) => [resource.as_bytes(), &[0], namespace.as_bytes(), &[0]].concat(),
            None => [resource.as_bytes(), &[0]].concat(),
        };
        let mut until = prefix.clone();
        *until.last_mut().expect("a prefix ends in a zero byte") = 1;
        let mut from = after.map_or_else(
            || prefix.clone(),
            |after| version_key(&after.encode(), Revision(0)),
        );
        let mut found = Vec::new();
        while found.len() < limit {
            let Some((version, _)) = self
                .kv
                .scan(Family::Versions, &from, Some(&until), 1)?
                .pop()
            else {
                break;
            };
            let (key, _) = split_version_key(&version)?;
            found.extend(self.version_at(key, revision)?);
            from = version_key(key, Revision(0));
            from.push(0);
        }
        self.still_there(revision)?;
        Ok(found)
    }

    fn get_at(&self, key: &Key, revision: Revision) -> Result<Option<Arc<Object>>, PastError> {
        let found = self.version_at(&key.encode(), revision)?;
        self.still_there(revision)?;
        Ok(found)
    }
}
