//! The part of the nodes in a forecast: a bound pod turns ready at once, a deleted one ends at once.

use super::{PODS, Trial};
use crate::transaction::{seconds, set_condition};
use pontoon_api::Part;
use pontoon_controllers::Intent;
use pontoon_state::{Object, View};
use serde_json::{Value, json};
use std::sync::Arc;

impl Trial<'_> {
    /// Ends the pods that are being deleted today: their places are free by the time it matters.
    pub(super) fn end_deleted_pods(&mut self) {
        let deleted = |pod: &&Arc<Object>| pod.meta.deleting;
        let view = self.view.clone();
        for pod in view.list(PODS, None).filter(deleted) {
            self.play_node(pod);
        }
    }

    /// Does what the pod's node would do about the pod as it is.
    pub(super) fn play_node(&mut self, pod: &Arc<Object>) {
        let Some(intent) = step(self.given.view, pod, &self.world) else {
            return;
        };
        self.carry_out(vec![intent]);
    }
}

fn step(today: &View, pod: &Arc<Object>, world: &pontoon_world::World) -> Option<Intent> {
    if pod.meta.deleting {
        return pod
            .meta
            .finalizers
            .is_empty()
            .then(|| Intent::Remove(pod.clone()));
    }
    let runs_today = today
        .get(&pod.key)
        .is_some_and(|known| known.meta.uid == pod.meta.uid && known.meta.node.is_some());
    if pod.meta.node.is_none() || runs_today {
        return None;
    }
    let mut object = pod.value().ok()?;
    if object["status"]["phase"] == "Running" {
        return None;
    }
    object["status"]["phase"] = json!("Running");
    for condition in ["Initialized", "ContainersReady", "Ready"] {
        let condition: Value = json!({
            "type": condition, "status": "True", "lastProbeTime": null, "lastTransitionTime": seconds(world),
        });
        set_condition(&mut object, condition);
    }
    Some(Intent::Update {
        base: pod.clone(),
        object,
        part: Part::Status,
    })
}
