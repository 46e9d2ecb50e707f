//! Counting pods on nodes.

use super::{Cluster, ShapeId};
use crate::shape::Shaped;
use crate::slots::Slot;
use crate::wake::Wake;
use pontoon_api::PodUid;
use std::sync::Arc;

/// A pod that is counted on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodEntry {
    pub uid: PodUid,
    pub shape: ShapeId,
    pub slot: Slot,
    /// Its binding is not known to be written.
    pub assumed: bool,
    /// It is being deleted: it still takes room, and spreading overlooks it.
    pub ending: bool,
}

impl Cluster {
    pub(super) fn count(
        &mut self,
        key: Arc<str>,
        uid: PodUid,
        shape: &Shaped,
        node: &str,
        assumed: bool,
        ending: bool,
    ) -> Wake {
        let slot = self.slot_of(node);
        let shape = self.shapes.hold(shape, &self.ledger);
        let entry = PodEntry {
            uid,
            shape,
            slot,
            assumed,
            ending,
        };
        if let Some(held) = self.pods.get_mut(&key)
            && (&held.uid, held.shape, held.slot, held.ending) == (&entry.uid, shape, slot, ending)
        {
            // Others may wait for this pod to be placed; an assumption alone is not told to anyone.
            let confirmed = held.assumed && !assumed;
            held.assumed &= assumed;
            self.shapes.release(shape);
            return if confirmed {
                Wake::POD_ADDED
            } else {
                Wake::NONE
            };
        }
        // Room is made after the new entry is held, so that neither slot nor shape is given away between.
        self.nodes[slot].pods += 1;
        let wake = self.discount(&key);
        self.nodes[slot].pods -= 1;
        self.charge(&entry);
        self.pods.insert(key, entry);
        wake | Wake::POD_ADDED
    }

    pub(super) fn discount(&mut self, key: &str) -> Wake {
        let Some(entry) = self.pods.remove(key) else {
            return Wake::NONE;
        };
        let held = self.shapes.get_mut(entry.shape);
        held.on.subtract_one(entry.slot);
        if entry.ending {
            held.ending.subtract_one(entry.slot);
        }
        self.ledger.release(entry.slot, &held.needs);
        let node = &mut self.nodes[entry.slot];
        node.pods -= 1;
        for port in &held.shape.ports {
            if let Some(at) = node.ports.iter().position(|one| one == port) {
                node.ports.swap_remove(at);
            }
        }
        self.shapes.release(entry.shape);
        self.vacate(entry.slot);
        Wake::POD_REMOVED
    }

    fn charge(&mut self, entry: &PodEntry) {
        let held = self.shapes.get_mut(entry.shape);
        held.on.add(entry.slot, 1);
        if entry.ending {
            held.ending.add(entry.slot, 1);
        }
        self.ledger.charge(entry.slot, &held.needs);
        let node = &mut self.nodes[entry.slot];
        node.pods += 1;
        node.ports.extend(held.shape.ports.iter().cloned());
    }

    /// Charges every pod again, after a resource was seen for the first time. Costs all pods;
    /// resources are few.
    pub(super) fn charge_anew(&mut self) {
        self.shapes.read_needs(&self.ledger);
        self.ledger.clear_use();
        for entry in self.pods.values() {
            self.ledger
                .charge(entry.slot, &self.shapes.get(entry.shape).needs);
        }
    }
}
