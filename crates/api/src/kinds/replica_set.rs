//! ReplicaSet: a number of like pods.

use super::duration::age;
use super::typed::{Definition, selectable, spec_and_status};
use crate::kind::{Column, Descriptor, Scope, Subresource, Verb};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::Value;

pub(super) struct ReplicaSets;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "apps",
    version: "v1",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[Subresource::SCALE, Subresource::status("ReplicaSet")],
    columns: &[
        Column::NAME,
        Column::integer("Desired", "How many are asked for."),
        Column::integer("Current", "How many exist."),
        Column::integer("Ready", "How many are ready, of how many."),
        Column::AGE,
        Column::text("Containers", "Names of its containers.").wide(),
        Column::text("Images", "Images of its containers.").wide(),
        Column::text("Selector", "Labels of the pods it selects.").wide(),
    ],
};

impl Definition for ReplicaSets {
    type Object = ReplicaSet;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
    const GENERATION: bool = true;

    spec_and_status!();

    selectable! {
        "status.replicas" => "/status/replicas" or "0",
    }

    fn cells(object: &ReplicaSet, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            age(&object.metadata, now),
        ]
    }
}
