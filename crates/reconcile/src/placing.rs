//! Writes what the scheduler decides, many pods in one transaction: a binding, or why there is none.

use crate::limits::{PLACEMENTS_BYTES, PLACEMENTS_PER_PROPOSAL};
use crate::transaction::{self, TransactionError, seconds, set_condition};
use pontoon_api::{Part, Term};
use pontoon_controllers::scheduling::Placement;
use pontoon_controllers::{EventNote, EventType, Intent};
use pontoon_state::{Object, Transaction, View};
use pontoon_world::World;
use serde_json::json;
use std::sync::Arc;

/// The name in events and metrics.
pub(crate) const SCHEDULER: &str = "default-scheduler";

/// A placement that is being written, and the event that tells of it once it is.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) placement: Placement,
    pub(crate) note: EventNote,
}

/// Placements that are written together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) transaction: Transaction,
    pub(crate) placed: Vec<Placed>,
    bytes: usize,
}

/// What became of a placement that was to join a batch.
#[derive(Debug)]
pub(crate) enum Joined {
    /// It is part of it.
    Yes,
    /// Nothing is to be written; the event is to be told all the same.
    Needless(EventNote),
    /// The pod has gone or changed, so that the decision is void.
    Void(Placement),
    /// It cannot be written.
    Unwritable(Placement, TransactionError),
}

impl Batch {
    /// Nothing, decided in `term`.
    pub(crate) fn new(term: Term) -> Self {
        Self {
            transaction: Transaction::default().fenced(term),
            placed: Vec::new(),
            bytes: 0,
        }
    }

    /// Whether one more may join.
    pub(crate) const fn has_room(&self) -> bool {
        self.placed.len() < PLACEMENTS_PER_PROPOSAL && self.bytes < PLACEMENTS_BYTES
    }

    /// Takes in one placement.
    pub(crate) fn join(&mut self, placement: Placement, view: &View, world: &World) -> Joined {
        let Some((intent, note)) = intent(&placement, view, world) else {
            return Joined::Void(placement);
        };
        let Some(intent) = intent else {
            return Joined::Needless(note);
        };
        let term = self.transaction.fence.unwrap_or_default();
        match transaction::build(vec![intent], term, view, world) {
            Ok(own) => {
                self.bytes += note.about.json.len();
                self.transaction.preconditions.extend(own.preconditions);
                self.transaction.writes.extend(own.writes);
                self.placed.push(Placed { placement, note });
                Joined::Yes
            }
            Err(error) => Joined::Unwritable(placement, error),
        }
    }
}

/// What to write of a placement: the intent and the event that goes with it. `None` when the pod has gone or changed
/// so that the decision is void.
pub(crate) fn intent(
    placement: &Placement,
    view: &View,
    world: &World,
) -> Option<(Option<Intent>, EventNote)> {
    let pod = view.get(&placement.key)?;
    if *pod.meta.uid != *placement.uid.as_str() || pod.meta.node.is_some() || pod.meta.deleting {
        return None;
    }
    Some(match &placement.node {
        Ok(node) => {
            let message = format!("Successfully assigned {} to {node}", placement.key.path());
            let bind = Intent::Bind {
                base: pod.clone(),
                node: node.to_string(),
            };
            (
                Some(bind),
                note(pod, EventType::Normal, "Scheduled", message),
            )
        }
        Err(why) => {
            let message = why.to_string();
            (
                waiting(pod, &message, world),
                note(pod, EventType::Warning, "FailedScheduling", message),
            )
        }
    })
}

fn note(pod: &Arc<Object>, kind: EventType, reason: &str, message: String) -> EventNote {
    EventNote {
        about: pod.clone(),
        kind,
        reason: reason.to_owned(),
        message,
        made: None,
    }
}

/// The PodScheduled condition that says why a pod waits; nothing when it says so already.
fn waiting(base: &Arc<Object>, message: &str, world: &World) -> Option<Intent> {
    let mut pod = base.value().ok()?;
    let same = |condition: &serde_json::Value| {
        condition["type"] == "PodScheduled"
            && condition["status"] == "False"
            && condition["message"] == message
    };
    if pod["status"]["conditions"]
        .as_array()
        .is_some_and(|conditions| conditions.iter().any(same))
    {
        return None;
    }
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        "lastProbeTime": null, "lastTransitionTime": seconds(world),
    });
    set_condition(&mut pod, condition);
    Some(Intent::Update {
        base: base.clone(),
        object: pod,
        part: Part::Status,
    })
}
