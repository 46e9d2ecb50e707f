//! Applying a transaction.

use super::{Stage, load};
use crate::change::{Change, ChangeSet};
use crate::command::{Precondition, Transaction, Write};
use crate::encoding::{Encoded, with_revision};
use crate::key::Key;
use crate::kv::{Family, Kv};
use crate::limits::{TRANSACTION_PRECONDITIONS, TRANSACTION_WRITES};
use crate::object::{Meta, Object};
use crate::outcome::{Outcome, Refusal};
use crate::seeded::{self, Bug};
use crate::view::View;
use pontoon_api::{Revision, Term};
use std::collections::BTreeSet;
use std::sync::Arc;

impl<K: Kv> Stage<'_, K> {
    pub(super) fn transact(&mut self, transaction: &Transaction, term: Term) -> Outcome {
        match check(&self.view, transaction, term) {
            Err(refusal) => Outcome::Refused(refusal),
            Ok(()) => match plan(&self.view, transaction) {
                Err(refusal) => Outcome::Refused(refusal),
                Ok(planned) => self.commit(planned, transaction),
            },
        }
    }

    fn commit(&mut self, planned: Vec<Planned>, transaction: &Transaction) -> Outcome {
        if planned
            .iter()
            .all(|planned| matches!(planned, Planned::Unchanged(_)))
        {
            let objects = planned.into_iter().map(Planned::object).collect();
            return Outcome::Committed {
                revision: self.view.revision,
                objects,
            };
        }
        let revision = self.view.revision.next();
        self.set_revision(revision);
        let mut changes = Vec::new();
        let mut objects = Vec::with_capacity(planned.len());
        for planned in planned {
            let change = match &planned {
                Planned::Unchanged(_) => None,
                Planned::Put(object) => {
                    let before = self.view.insert(object.clone());
                    Some(Change {
                        before,
                        after: Some(object.clone()),
                    })
                }
                Planned::Delete(object) => {
                    self.view.remove(&object.key);
                    Some(Change {
                        before: Some(object.clone()),
                        after: None,
                    })
                }
            };
            if let Some(change) = change {
                self.record(revision, changes.len(), &change);
                changes.push(change);
            }
            objects.push(planned.object());
        }
        self.digests.push((revision, self.view.digest));
        self.changes.push(Arc::new(ChangeSet {
            revision,
            changes,
            trace: transaction.trace.as_str().into(),
        }));
        Outcome::Committed { revision, objects }
    }

    fn record(&mut self, revision: Revision, index: usize, change: &Change) {
        let key = change.object().key.encode();
        let json = change
            .after
            .as_ref()
            .map(|object| object.json.clone())
            .unwrap_or_default();
        self.batch
            .put(Family::Versions, load::version_key(&key, revision), json);
        self.batch
            .put(Family::History, load::history_key(revision, index), key);
    }
}

/// What a write comes to, with the object as stored or as it was.
enum Planned {
    Unchanged(Option<Arc<Object>>),
    Put(Arc<Object>),
    Delete(Arc<Object>),
}

impl Planned {
    fn object(self) -> Option<Arc<Object>> {
        match self {
            Self::Unchanged(object) => object,
            Self::Put(object) | Self::Delete(object) => Some(object),
        }
    }
}

fn check(view: &View, transaction: &Transaction, term: Term) -> Result<(), Refusal> {
    if let Some(planned) = transaction.fence.filter(|planned| *planned != term)
        && !seeded::makes(Bug::Unfenced)
    {
        return Err(Refusal::Fenced {
            planned,
            current: term,
        });
    }
    if transaction.writes.len() > TRANSACTION_WRITES
        || transaction.preconditions.len() > TRANSACTION_PRECONDITIONS
    {
        return Err(Refusal::Malformed(format!(
            "at most {TRANSACTION_WRITES} writes and {TRANSACTION_PRECONDITIONS} preconditions in one transaction"
        )));
    }
    for (index, precondition) in transaction.preconditions.iter().enumerate() {
        let found = view.get(precondition.key());
        let holds = match precondition {
            Precondition::Absent(_) => found.is_none(),
            Precondition::Live(_) => found.is_some_and(|object| !object.meta.deleting),
            Precondition::Uid(_, uid) => found.is_some_and(|object| object.meta.uid == *uid),
            Precondition::Revision(_, revision) => {
                found.is_some_and(|object| object.revision == *revision)
            }
        };
        if !holds {
            let key = precondition.key().clone();
            return Err(Refusal::Precondition {
                index,
                key,
                found: found.cloned(),
            });
        }
    }
    Ok(())
}

fn plan(view: &View, transaction: &Transaction) -> Result<Vec<Planned>, Refusal> {
    let mut touched = BTreeSet::new();
    let revision = view.revision.next();
    let mut planned = Vec::with_capacity(transaction.writes.len());
    for write in &transaction.writes {
        if !write.key().is_well_formed() {
            return Err(Refusal::Malformed(format!(
                "{} cannot be a key",
                write.key()
            )));
        }
        if !touched.insert(write.key()) {
            return Err(Refusal::Malformed(format!(
                "{} is written twice",
                write.key()
            )));
        }
        planned.push(match write {
            Write::Put(key, encoded) => plan_put(view, key, encoded, revision)?,
            Write::Delete(key) => match view.get(key) {
                Some(object) => Planned::Delete(object.clone()),
                None => Planned::Unchanged(None),
            },
        });
    }
    Ok(planned)
}

fn plan_put(
    view: &View,
    key: &Key,
    encoded: &Encoded,
    revision: Revision,
) -> Result<Planned, Refusal> {
    let malformed = |detail: String| Refusal::Malformed(format!("{key}: {detail}"));
    let splice = |revision| {
        with_revision(&encoded.json, encoded.splice, revision)
            .ok_or_else(|| malformed("the revision's place is outside the object".into()))
    };
    if let Some(present) = view.get(key)
        && splice(present.revision)? == present.json
    {
        return Ok(Planned::Unchanged(Some(present.clone())));
    }
    let json = splice(revision)?;
    let meta = Meta::read(&key.resource, &json).map_err(|error| malformed(error.to_string()))?;
    Ok(Planned::Put(Arc::new(Object {
        key: key.clone(),
        revision,
        meta,
        json,
    })))
}
