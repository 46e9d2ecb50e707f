//! The shapes of counted pods, each held once, and on which nodes their pods are.

use crate::ledger::{Ledger, Needs};
use crate::shape::Shaped;
use crate::slots::{Tally, TextMap};

/// A shape's place in [`Shapes`].
pub type ShapeId = usize;

/// A shape and its pods.
#[derive(Debug, Clone)]
pub struct ShapeEntry {
    pub shape: Shaped,
    pub needs: Needs,
    /// Pods per slot.
    pub on: Tally,
    /// Those of them that are being deleted.
    pub ending: Tally,
    holders: usize,
}

/// All shapes.
#[derive(Debug, Clone, Default)]
pub struct Shapes {
    entries: Vec<Option<ShapeEntry>>,
    vacant: Vec<ShapeId>,
    by_shape: TextMap<Shaped, ShapeId>,
    by_owner: TextMap<String, Vec<ShapeId>>,
    by_namespace: TextMap<String, Vec<ShapeId>>,
    /// Shapes with required anti-affinity: they restrict others.
    repelling: Vec<ShapeId>,
}

impl Shapes {
    /// The id of a shape, held once more.
    pub fn hold(&mut self, shape: &Shaped, ledger: &Ledger) -> ShapeId {
        if let Some(id) = self.by_shape.get(shape).copied() {
            self.get_mut(id).holders += 1;
            return id;
        }
        let entry = ShapeEntry {
            shape: shape.clone(),
            needs: ledger.needs(&shape.requests),
            on: Tally::default(),
            ending: Tally::default(),
            holders: 1,
        };
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        self.entries[id] = Some(entry);
        self.by_shape.insert(shape.clone(), id);
        self.by_namespace
            .entry(shape.namespace.clone())
            .or_default()
            .push(id);
        if let Some(owner) = &shape.owner {
            self.by_owner.entry(owner.clone()).or_default().push(id);
        }
        if !shape.anti_affinity.is_empty() {
            self.repelling.push(id);
        }
        id
    }

    /// Lets go of a shape held before.
    pub fn release(&mut self, id: ShapeId) {
        let entry = self.get_mut(id);
        entry.holders -= 1;
        if entry.holders > 0 {
            return;
        }
        let shape = entry.shape.clone();
        self.entries[id] = None;
        self.vacant.push(id);
        self.by_shape.remove(&shape);
        unlist(&mut self.by_namespace, &shape.namespace, id);
        if let Some(owner) = &shape.owner {
            unlist(&mut self.by_owner, owner, id);
        }
        self.repelling.retain(|one| *one != id);
    }

    pub fn get(&self, id: ShapeId) -> &ShapeEntry {
        self.entries[id]
            .as_ref()
            .expect("a held shape has an entry")
    }

    pub fn get_mut(&mut self, id: ShapeId) -> &mut ShapeEntry {
        self.entries[id]
            .as_mut()
            .expect("a held shape has an entry")
    }

    /// Shapes of pods with this controller.
    pub fn owned_by(&self, owner: &str) -> impl Iterator<Item = &ShapeEntry> {
        self.by_owner
            .get(owner)
            .into_iter()
            .flatten()
            .map(|id| self.get(*id))
    }

    /// Shapes of pods in a namespace.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &ShapeEntry> {
        self.by_namespace
            .get(namespace)
            .into_iter()
            .flatten()
            .map(|id| self.get(*id))
    }

    /// Every shape. Costs all of them.
    pub fn all(&self) -> impl Iterator<Item = &ShapeEntry> {
        self.entries.iter().flatten()
    }

    /// Shapes with required anti-affinity.
    pub fn repelling(&self) -> impl Iterator<Item = &ShapeEntry> {
        self.repelling.iter().map(|id| self.get(*id))
    }

    /// Reads all needs again, after a column was added.
    pub fn read_needs(&mut self, ledger: &Ledger) {
        for entry in self.entries.iter_mut().flatten() {
            entry.needs = ledger.needs(&entry.shape.requests);
        }
    }
}

fn unlist(map: &mut TextMap<String, Vec<ShapeId>>, key: &str, id: ShapeId) {
    if let Some(list) = map.get_mut(key) {
        list.retain(|one| *one != id);
        if list.is_empty() {
            map.remove(key);
        }
    }
}
