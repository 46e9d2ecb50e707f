//! Nodes that fall silent or are not Ready: their condition, their taints, and the pods that leave them.
//!
//! Follows Kubernetes' node lifecycle controller: after a grace without a sign of life, Ready becomes Unknown and the node
//! is tainted; pods leave once they no longer tolerate the taint. When most nodes vanish at once nothing is evicted:
//! the control plane was probably the one cut off.

use crate::controller::{
    Context, Controller, EventNote, EventType, Intent, Plan, PlanError, Requeue,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pontoon_api::Part;
use pontoon_api::deletion::Options;
use pontoon_state::{Change, Key, Object, View};
use std::sync::Arc;
use std::time::Duration;

const RESOURCE: &str = "nodes";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// Silence after which a node is Unknown: kube-controller-manager's `--node-monitor-grace-period` (40 s until 1.31, 50 s since).
pub const GRACE: Duration = Duration::from_secs(50);

/// Share of nodes, in percent, that must be well for evictions to go on: `--unhealthy-zone-threshold` is 0.55 unhealthy.
const UNHEALTHY_PERCENT: usize = 55;

/// Fewer nodes than this always evict: with two nodes, losing one is half of them.
const SMALL_CLUSTER: usize = 3;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct NodeHealthController;

impl Controller for NodeHealthController {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn wakes(&self, change: &Change, _view: &View, wake: &mut dyn FnMut(Key)) {
        let object = change.object();
        match &*object.key.resource {
            RESOURCE => wake(object.key.clone()),
            // A pod that comes to a tainted node has its own time to leave.
            "pods"
                if change
                    .before
                    .as_ref()
                    .and_then(|pod| pod.meta.node.as_ref())
                    != object.meta.node.as_ref() =>
            {
                object
                    .meta
                    .node
                    .iter()
                    .for_each(|node| wake(Key::new(RESOURCE, "", node)));
            }
            _ => {}
        }
    }

    fn keys(&self, view: &View) -> Vec<Key> {
        view.list(RESOURCE, None)
            .map(|object| object.key.clone())
            .collect()
    }

    fn plan(&self, view: &View, key: &Key, context: &Context<'_>) -> Result<Plan, PlanError> {
        let mut plan = Plan::default();
        let Some(object) = view.get(key) else {
            return Ok(plan);
        };
        let node: Node = object.decode()?;
        let silence = silence(&key.name, context);
        if silence < GRACE {
            plan.requeue = Requeue::After(GRACE - silence);
        } else if ready(&node).is_none_or(|ready| ready.status != "Unknown") {
            mark_unknown(&mut plan, object, &node, context.now)?;
            return Ok(plan);
        }
        if set_taints(&mut plan, object, &node, context.now)? {
            return Ok(plan);
        }
        evict(&mut plan, view, object, &node, context.now)?;
        Ok(plan)
    }
}

/// How long a node has been silent under this leadership.
fn silence(name: &str, context: &Context<'_>) -> Duration {
    let since = context
        .liveness
        .last_heard(name)
        .unwrap_or_else(|| context.liveness.leading_since());
    let silent = context.now.duration_since(since);
    if silent.is_negative() {
        Duration::ZERO
    } else {
        silent.unsigned_abs()
    }
}

fn ready(node: &Node) -> Option<&NodeCondition> {
    node.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == "Ready")
}

fn mark_unknown(
    plan: &mut Plan,
    object: &Arc<Object>,
    node: &Node,
    now: Timestamp,
) -> Result<(), PlanError> {
    let mut status = node.status.clone().unwrap_or_default();
    let conditions = status.conditions.get_or_insert_default();
    let at = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    if !conditions
        .iter()
        .any(|condition| condition.type_ == "Ready")
    {
        conditions.push(NodeCondition {
            type_: "Ready".into(),
            ..NodeCondition::default()
        });
    }
    for condition in conditions
        .iter_mut()
        .filter(|condition| condition.status != "Unknown")
    {
        condition.status = "Unknown".into();
        condition.reason = Some("NodeStatusUnknown".into());
        condition.message = Some("The node's agent stopped sending heartbeats.".into());
        condition.last_transition_time = Some(at.clone());
    }
    let mut value = object.value()?;
    value["status"] = serde_json::to_value(status)?;
    plan.writes.push(Intent::Update {
        base: object.clone(),
        object: value,
        part: Part::Status,
    });
    plan.events.push(EventNote {
        about: object.clone(),
        kind: EventType::Warning,
        reason: "NodeNotReady".into(),
        message: format!("Node {} status is now: NodeNotReady", object.key.name),
        made: None,
    });
    Ok(())
}

/// Puts the taints that stand for the Ready condition; true when they had to change.
fn set_taints(
    plan: &mut Plan,
    object: &Arc<Object>,
    node: &Node,
    now: Timestamp,
) -> Result<bool, PlanError> {
    let wanted = match ready(node).map(|ready| ready.status.as_str()) {
        Some("True") => None,
        Some("Unknown") => Some(UNREACHABLE),
        _ => Some(NOT_READY),
    };
    let before = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    let mut taints: Vec<Taint> = before
        .iter()
        .filter(|taint| !ours(taint))
        .cloned()
        .collect();
    for effect in wanted.iter().flat_map(|_| ["NoSchedule", "NoExecute"]) {
        let key = wanted.unwrap_or_default();
        let kept = before
            .iter()
            .find(|taint| taint.key == key && taint.effect == effect)
            .cloned();
        let at = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
        taints.push(kept.unwrap_or_else(|| Taint {
            key: key.into(),
            effect: effect.into(),
            value: None,
            time_added: Some(at),
        }));
    }
    let sorted = |taints: &[Taint]| {
        let mut names: Vec<(String, String)> = taints
            .iter()
            .map(|taint| (taint.key.clone(), taint.effect.clone()))
            .collect();
        names.sort();
        names
    };
    if sorted(&taints) == sorted(&before) {
        return Ok(false);
    }
    let mut value = object.value()?;
    if taints.is_empty() {
        if let Some(spec) = value["spec"].as_object_mut() {
            spec.remove("taints");
        }
    } else {
        value["spec"]["taints"] = serde_json::to_value(taints)?;
    }
    plan.writes.push(Intent::Update {
        base: object.clone(),
        object: value,
        part: Part::Main,
    });
    Ok(true)
}

/// Whether a taint is one that this controller sets.
fn ours(taint: &Taint) -> bool {
    [NOT_READY, UNREACHABLE].contains(&taint.key.as_str())
}

/// Deletes the pods that no longer tolerate a NoExecute taint of the node, and looks again when the next one's time is up.
fn evict(
    plan: &mut Plan,
    view: &View,
    object: &Arc<Object>,
    node: &Node,
    now: Timestamp,
) -> Result<(), PlanError> {
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    let taints: Vec<Taint> = taints
        .into_iter()
        .filter(|taint| taint.effect == "NoExecute")
        .collect();
    if taints.is_empty()
        || (taints.iter().any(|taint| taint.key == UNREACHABLE) && most_are_unwell(view)?)
    {
        return Ok(());
    }
    for pod_object in view
        .on_node(&object.key.name)
        .filter(|pod| !pod.meta.deleting)
    {
        let pod: Pod = pod_object.decode()?;
        match leaves_in(&pod, &taints, now) {
            None => {}
            Some(wait) if wait.is_zero() => {
                plan.events.push(EventNote {
                    about: pod_object.clone(),
                    kind: EventType::Normal,
                    reason: "TaintManagerEviction".into(),
                    message: format!("Marking for deletion Pod {}", pod_object.key.path()),
                    made: None,
                });
                plan.writes.push(Intent::Delete {
                    base: pod_object.clone(),
                    options: Options::default(),
                });
            }
            Some(wait) => {
                plan.requeue = match plan.requeue {
                    Requeue::After(sooner) if sooner <= wait => Requeue::After(sooner),
                    _ => Requeue::After(wait),
                };
            }
        }
    }
    Ok(())
}

/// Whether so many nodes are unreachable that the fault is probably here.
fn most_are_unwell(view: &View) -> Result<bool, PlanError> {
    let (mut all, mut unwell) = (0, 0);
    for object in view.list(RESOURCE, None) {
        all += 1;
        unwell += usize::from(
            ready(&object.decode::<Node>()?).is_none_or(|ready| ready.status == "Unknown"),
        );
    }
    Ok(all >= SMALL_CLUSTER && unwell * 100 > all * UNHEALTHY_PERCENT)
}

/// How long a pod may stay; `None` for ever. The shortest of its matching tolerations counts (Kubernetes' taint manager).
fn leaves_in(pod: &Pod, taints: &[Taint], now: Timestamp) -> Option<Duration> {
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.clone())
        .unwrap_or_default();
    let mut leaves: Option<Duration> = None;
    for taint in taints {
        let matching: Vec<&Toleration> = tolerations
            .iter()
            .filter(|toleration| tolerates(toleration, taint))
            .collect();
        if matching.is_empty() {
            return Some(Duration::ZERO);
        }
        let Some(seconds) = matching
            .iter()
            .filter_map(|toleration| toleration.toleration_seconds)
            .min()
        else {
            continue;
        };
        let since = taint.time_added.as_ref().map_or(now, |time| time.0);
        let wait = SignedDuration::from_secs(seconds.max(0)) - now.duration_since(since);
        let wait = if wait.is_negative() {
            Duration::ZERO
        } else {
            wait.unsigned_abs()
        };
        leaves = Some(leaves.map_or(wait, |leaves| leaves.min(wait)));
    }
    leaves
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let value = toleration.value.as_deref().unwrap_or_default()
        == taint.value.as_deref().unwrap_or_default();
    (effect.is_empty() || effect == taint.effect)
        && ((key.is_empty() && exists) || (key == taint.key && (exists || value)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn taint(key: &str, seconds_ago: i64, now: Timestamp) -> Taint {
        let since = now - SignedDuration::from_secs(seconds_ago);
        serde_json::from_value(
            json!({"key": key, "effect": "NoExecute", "timeAdded": since.to_string()}),
        )
        .unwrap()
    }

    fn pod(tolerations: serde_json::Value) -> Pod {
        serde_json::from_value(
            json!({"metadata": {}, "spec": {"containers": [], "tolerations": tolerations}}),
        )
        .unwrap()
    }

    #[test]
    fn a_pod_without_a_toleration_leaves_at_once() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for key in [UNREACHABLE, "maintenance"] {
            let left = leaves_in(&pod(json!([])), &[taint(key, 0, now)], now);
            assert_eq!(left, Some(Duration::ZERO), "{key}");
        }
    }

    #[test]
    fn a_toleration_says_how_long() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let silent = [taint(UNREACHABLE, 2, now)];
        let tolerates = |seconds: serde_json::Value| {
            pod(
                json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]),
            )
        };
        assert_eq!(
            leaves_in(&tolerates(json!(5)), &silent, now),
            Some(Duration::from_secs(3))
        );
        assert_eq!(
            leaves_in(&tolerates(json!(0)), &silent, now),
            Some(Duration::ZERO)
        );
        assert_eq!(leaves_in(&tolerates(json!(null)), &silent, now), None);
        assert_eq!(
            leaves_in(&pod(json!([{"operator": "Exists"}])), &silent, now),
            None
        );
    }
}
