//! ReplicaSets: as many active pods as asked for.
//!
//! Follows Kubernetes' ReplicaSet controller: adoption and release by selector, creation that starts slowly (1, 2, 4, ...
//! as plans succeed), and deletion of the pods that are missed least first.

use crate::controller::{
    Context, Controller, EventNote, EventType, Intent, Plan, PlanError, Requeue,
};
use crate::limits::BURST_REPLICAS;
use crate::ownership::{OwnerOf, claim, selector};
use crate::pod::{self, Availability};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use pontoon_api::Part;
use pontoon_api::deletion::Options;
use pontoon_api::selector::LabelSelector;
use pontoon_state::{Change, Key, Object, View};
use serde_json::json;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const RESOURCE: &str = "replicasets.apps";
const PODS: &str = "pods";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct ReplicaSetController;

impl Controller for ReplicaSetController {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn wakes(&self, change: &Change, view: &View, wake: &mut dyn FnMut(Key)) {
        match &*change.object().key.resource {
            RESOURCE => wake(change.object().key.clone()),
            PODS => [&change.before, &change.after]
                .into_iter()
                .flatten()
                .for_each(|pod| wake_owner(pod, view, wake)),
            _ => {}
        }
    }

    fn keys(&self, view: &View) -> Vec<Key> {
        view.list(RESOURCE, None)
            .map(|object| object.key.clone())
            .collect()
    }

    fn plan(&self, view: &View, key: &Key, context: &Context<'_>) -> Result<Plan, PlanError> {
        let Some(object) = view.get(key) else {
            return Ok(Plan::default());
        };
        let set: ReplicaSet = object.decode()?;
        let owner = OwnerOf {
            object,
            api_version: "apps/v1",
            kind: "ReplicaSet",
        };
        let Some(spec) = &set.spec else {
            return Ok(Plan::default());
        };
        let selector = selector(&spec.selector)?;
        let claimed = claim(view, &owner, &selector, PODS)?;
        let pods = read_pods(&claimed.owned)?;
        let mut plan = Plan {
            writes: claimed.writes,
            ..Plan::default()
        };
        if !plan.writes.is_empty() {
            // What is adopted or released counts from the next plan on; that change wakes this key.
            return Ok(plan);
        }
        if !object.meta.deleting {
            let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
            let active: Vec<&(Arc<Object>, Pod)> =
                pods.iter().filter(|(_, pod)| pod::is_active(pod)).collect();
            if active.len() < wanted {
                let missing = (wanted - active.len())
                    .min(BURST_REPLICAS)
                    .min(1 << context.successes.min(16));
                create(&mut plan, &owner, &set, spec.template.as_ref(), missing)?;
            } else if active.len() > wanted {
                delete(&mut plan, object, active, wanted, context.now);
            }
        }
        // The status follows once the pods are as many as they should be, or nothing else is to be done.
        if plan.writes.is_empty() {
            update_status(&mut plan, object, &set, &pods, context.now)?;
        }
        Ok(plan)
    }
}

fn wake_owner(pod: &Object, view: &View, wake: &mut dyn FnMut(Key)) {
    match pod.controller() {
        Some(owner) if &*owner.kind == "ReplicaSet" => {
            wake(Key::new(RESOURCE, &pod.key.namespace, &owner.name))
        }
        Some(_) => {}
        None => {
            for set in view.list(RESOURCE, Some(&pod.key.namespace)) {
                if selects(set, pod) {
                    wake(set.key.clone());
                }
            }
        }
    }
}

fn selects(set: &Object, pod: &Object) -> bool {
    let selector = set
        .decode::<ReplicaSet>()
        .ok()
        .and_then(|set| LabelSelector::from_typed(&set.spec?.selector).ok());
    selector.is_some_and(|selector| {
        !selector.is_empty()
            && selector.matches(|label| pod.meta.labels.get(label).map(|value| &**value))
    })
}

fn read_pods(objects: &[Arc<Object>]) -> Result<Vec<(Arc<Object>, Pod)>, PlanError> {
    objects
        .iter()
        .map(|object| Ok((object.clone(), object.decode()?)))
        .collect()
}

fn create(
    plan: &mut Plan,
    owner: &OwnerOf<'_>,
    set: &ReplicaSet,
    template: Option<&PodTemplateSpec>,
    count: usize,
) -> Result<(), PlanError> {
    let Some(template) = template else {
        return Ok(());
    };
    let metadata = template.metadata.clone().unwrap_or_default();
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": format!("{}-", set.metadata.name.as_deref().unwrap_or_default()),
            "namespace": &*owner.object.key.namespace,
            "labels": metadata.labels,
            "annotations": metadata.annotations,
            "finalizers": metadata.finalizers,
            "ownerReferences": [owner.reference()],
        },
        "spec": template.spec,
    });
    for _ in 0..count {
        plan.events.push(EventNote {
            about: owner.object.clone(),
            kind: EventType::Normal,
            reason: "SuccessfulCreate".into(),
            message: "Created pod: ".into(),
            made: Some(plan.writes.len()),
        });
        plan.writes.push(Intent::Create(without_nulls(pod.clone())));
    }
    Ok(())
}

/// Absent fields of typed metadata become nulls in a JSON literal; an object is sent without them.
fn without_nulls(mut object: serde_json::Value) -> serde_json::Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|_, value| !value.is_null());
    }
    object
}

fn delete(
    plan: &mut Plan,
    set: &Arc<Object>,
    mut active: Vec<&(Arc<Object>, Pod)>,
    wanted: usize,
    now: Timestamp,
) {
    let mut on_node: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, pod) in &active {
        *on_node
            .entry(pod::node(pod).unwrap_or_default())
            .or_insert(0) += 1;
    }
    active.sort_by_cached_key(|(object, pod)| (rank(pod, &on_node, now), object.key.name.clone()));
    let surplus = (active.len() - wanted).min(BURST_REPLICAS);
    for (object, _) in active.into_iter().take(surplus) {
        plan.writes.push(Intent::Delete {
            base: object.clone(),
            options: Options::default(),
        });
        plan.events.push(EventNote {
            about: set.clone(),
            kind: EventType::Normal,
            reason: "SuccessfulDelete".into(),
            message: format!("Deleted pod: {}", object.key.name),
            made: None,
        });
    }
}

/// Which pods are missed least: those first in this order (Kubernetes' `ActivePodsWithRanks`).
type Rank = (
    bool,
    u8,
    bool,
    i64,
    Reverse<usize>,
    Reverse<i64>,
    Reverse<i32>,
    Reverse<i64>,
);

fn rank(pod: &Pod, on_node: &BTreeMap<&str, usize>, now: Timestamp) -> Rank {
    let phase = match pod::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(DELETION_COST)?.parse().ok());
    let restarts = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten())
        .map(|status| status.restart_count)
        .max();
    let seconds = |time: Option<Timestamp>| time.unwrap_or(now).as_second();
    let ready_since = pod::condition(pod, "Ready")
        .and_then(|condition| condition.last_transition_time.as_ref())
        .map(|time| time.0);
    (
        pod::node(pod).is_some(),
        phase,
        pod::is_ready(pod),
        cost.unwrap_or(0),
        Reverse(
            on_node
                .get(pod::node(pod).unwrap_or_default())
                .copied()
                .unwrap_or(0),
        ),
        Reverse(seconds(ready_since)),
        Reverse(restarts.unwrap_or(0)),
        Reverse(seconds(
            pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
        )),
    )
}

fn update_status(
    plan: &mut Plan,
    object: &Arc<Object>,
    set: &ReplicaSet,
    pods: &[(Arc<Object>, Pod)],
    now: Timestamp,
) -> Result<(), PlanError> {
    let spec = set.spec.clone().unwrap_or_default();
    let template_labels = spec
        .template
        .and_then(|template| template.metadata?.labels)
        .unwrap_or_default();
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let mut status = ReplicaSetStatus {
        observed_generation: set.metadata.generation,
        ..ReplicaSetStatus::default()
    };
    let mut counts = [0_i32; 4];
    let mut next: Option<Duration> = None;
    for (_, pod) in pods.iter().filter(|(_, pod)| pod::is_active(pod)) {
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let availability = pod::availability(pod, min_ready, now);
        counts[0] += 1;
        counts[1] += i32::from(
            template_labels
                .iter()
                .all(|(label, value)| labels.get(label) == Some(value)),
        );
        counts[2] += i32::from(availability != Availability::NotReady);
        counts[3] += i32::from(availability == Availability::Available);
        if let Availability::In(wait) = availability {
            next = Some(next.map_or(wait, |next| next.min(wait)));
        }
    }
    let [replicas, labelled, ready, available] = counts;
    status.replicas = replicas;
    status.fully_labeled_replicas = (labelled > 0).then_some(labelled);
    status.ready_replicas = (ready > 0).then_some(ready);
    status.available_replicas = (available > 0).then_some(available);
    if let Some(wait) = next {
        plan.requeue = Requeue::After(wait);
    }
    let before = set.status.clone().unwrap_or_default();
    status.conditions.clone_from(&before.conditions);
    status.terminating_replicas = before.terminating_replicas;
    if status != before {
        let mut value = object.value()?;
        value["status"] = serde_json::to_value(status)?;
        plan.writes.push(Intent::Update {
            base: object.clone(),
            object: value,
            part: Part::Status,
        });
    }
    Ok(())
}
