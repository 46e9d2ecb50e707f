//! Pods that nobody will finish: their node is gone from the cluster.
//!
//! Follows Kubernetes' pod garbage collector, which waits 40 seconds before it believes that a node is gone. The wait is
//! kept in the pod itself, as its DisruptionTarget condition, so that a new leader goes on where the last one stopped.

use crate::controller::{Context, Controller, Intent, Plan, PlanError, Requeue};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pontoon_api::Part;
use pontoon_state::{Change, Key, Object, View};
use std::sync::Arc;
use std::time::Duration;

const NODES: &str = "nodes";
const PODS: &str = "pods";
const CONDITION: &str = "DisruptionTarget";
const REASON: &str = "DeletionByPodGC";

/// How long a node must have been gone: `quarantineTime` of Kubernetes' pod garbage collector.
pub const QUARANTINE: Duration = Duration::from_secs(40);

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct PodCleanup;

impl Controller for PodCleanup {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn wakes(&self, change: &Change, view: &View, wake: &mut dyn FnMut(Key)) {
        let object = change.object();
        match &*object.key.resource {
            PODS if change.after.is_some() && object.meta.node.is_some() => {
                wake(object.key.clone())
            }
            NODES if change.after.is_none() || change.before.is_none() => {
                view.on_node(&object.key.name)
                    .for_each(|pod| wake(pod.key.clone()));
            }
            _ => {}
        }
    }

    fn keys(&self, view: &View) -> Vec<Key> {
        view.list(PODS, None)
            .filter(|pod| pod.meta.node.is_some())
            .map(|pod| pod.key.clone())
            .collect()
    }

    fn plan(&self, view: &View, key: &Key, context: &Context<'_>) -> Result<Plan, PlanError> {
        let mut plan = Plan::default();
        let Some(object) = view.get(key) else {
            return Ok(plan);
        };
        let Some(node) = &object.meta.node else {
            return Ok(plan);
        };
        let gone = view.get(&Key::new(NODES, "", node)).is_none();
        let pod: Pod = object.decode()?;
        let marked = crate::pod::condition(&pod, CONDITION).filter(|condition| {
            condition.status == "True" && condition.reason.as_deref() == Some(REASON)
        });
        match (gone, marked) {
            (false, None) => {}
            (false, Some(_)) => plan.writes.push(mark(object, pod, false, context.now)?),
            (true, None) => plan.writes.push(mark(object, pod, true, context.now)?),
            (true, Some(condition)) => {
                let since = condition
                    .last_transition_time
                    .as_ref()
                    .map_or(context.now, |time| time.0);
                let quarantine =
                    SignedDuration::try_from(QUARANTINE).unwrap_or(SignedDuration::MAX);
                let left = quarantine - context.now.duration_since(since);
                if left > SignedDuration::ZERO {
                    plan.requeue = Requeue::After(left.unsigned_abs());
                } else {
                    plan.writes.push(Intent::Remove(object.clone()));
                }
            }
        }
        Ok(plan)
    }
}

/// Sets or takes back the condition that says the pod's node is gone.
fn mark(object: &Arc<Object>, pod: Pod, gone: bool, now: Timestamp) -> Result<Intent, PlanError> {
    let mut status = pod.status.unwrap_or_default();
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != CONDITION);
    if gone {
        conditions.push(PodCondition {
            type_: CONDITION.into(),
            status: "True".into(),
            reason: Some(REASON.into()),
            message: Some("PodGC: node no longer exists".into()),
            last_transition_time: Some(Time(
                Timestamp::from_second(now.as_second()).unwrap_or(now),
            )),
            ..PodCondition::default()
        });
    }
    let mut value = object.value()?;
    value["status"] = serde_json::to_value(status)?;
    Ok(Intent::Update {
        base: object.clone(),
        object: value,
        part: Part::Status,
    })
}
