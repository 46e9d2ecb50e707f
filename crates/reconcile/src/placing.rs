//! Writes what the scheduler decides: a binding, or why there is none.

use crate::transaction::{seconds, set_condition};
use pontoon_api::Part;
use pontoon_controllers::scheduling::Placement;
use pontoon_controllers::{EventNote, EventType, Intent};
use pontoon_state::{Object, View};
use pontoon_world::World;
use serde_json::json;
use std::sync::Arc;

/// The name in events and metrics.
pub(crate) const SCHEDULER: &str = "default-scheduler";

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
