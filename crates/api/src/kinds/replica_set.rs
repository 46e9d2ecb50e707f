//! ReplicaSet: a number of like pods.

use super::duration::age;
use super::typed::{Definition, selectable, spec_and_status};
use super::without_effect::Patterns;
use super::{label_selector, pod, workload};
use crate::kind::{Column, Descriptor, Part, Subresource};
use crate::validation::{self, Errors, Path};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::Value;

pub(super) struct ReplicaSets;

static DESCRIPTOR: Descriptor = Descriptor {
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    subresources: &[Subresource::SCALE, Subresource::status("ReplicaSet")],
    columns: &[
        Column::NAME,
        Column::integer("Desired", "How many are asked for."),
        Column::integer("Current", "How many exist."),
        Column::integer("Ready", "How many are ready, of how many."),
        Column::AGE,
        workload::CONTAINERS,
        workload::IMAGES,
        workload::SELECTOR,
    ],
    ..workload::DESCRIPTOR
};

impl Definition for ReplicaSets {
    type Object = ReplicaSet;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
    const GENERATION: bool = true;
    const WITHOUT_EFFECT: &'static [Patterns] = &[("spec.template.spec", pod::WITHOUT_EFFECT)];

    selectable! {
        "status.replicas" => "/status/replicas" or "0",
    }

    spec_and_status!();

    fn default(object: &mut ReplicaSet) {
        let spec = object.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        pod::defaults::template(spec.template.get_or_insert_default());
    }

    fn validate(object: &ReplicaSet, errors: &mut Errors) {
        let Some(spec) = &object.spec else { return };
        let path = Path::new("spec");
        let replicas = spec.replicas.unwrap_or(0);
        validation::non_negative(errors, &path.child("replicas"), replicas.into());
        let ready = spec.min_ready_seconds.unwrap_or(0);
        validation::non_negative(errors, &path.child("minReadySeconds"), ready.into());
        workload::selector_and_template(
            &spec.selector,
            spec.template.as_ref(),
            "replicaset",
            errors,
        );
    }

    fn validate_update(new: &ReplicaSet, old: &ReplicaSet, part: Part, errors: &mut Errors) {
        let (Some(new), Some(old), Part::Main) = (&new.spec, &old.spec, part) else {
            return;
        };
        let path = Path::new("spec");
        validation::immutable(
            errors,
            &path.child("selector"),
            &new.selector,
            &old.selector,
        );
    }

    fn cells(object: &ReplicaSet, now: Timestamp) -> Vec<Value> {
        let status = object.status.clone().unwrap_or_default();
        let spec = object.spec.as_ref();
        let (names, images) = workload::containers(spec.and_then(|spec| spec.template.as_ref()));
        vec![
            object.metadata.name.clone().into(),
            spec.and_then(|spec| spec.replicas).unwrap_or(0).into(),
            status.replicas.into(),
            status.ready_replicas.unwrap_or(0).into(),
            age(&object.metadata, now),
            names.into(),
            images.into(),
            spec.map(|spec| label_selector::shown(&spec.selector))
                .into(),
        ]
    }
}
