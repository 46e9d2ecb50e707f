//! RuntimeClass: which runtime runs a pod.

use super::duration::age;
use super::typed::Definition;
use crate::kind::{Column, Descriptor, Scope, Verb};
use jiff::Timestamp;
use k8s_openapi::api::node::v1::RuntimeClass;
use serde_json::Value;

pub(super) struct RuntimeClasses;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "node.k8s.io",
    version: "v1",
    kind: "RuntimeClass",
    plural: "runtimeclasses",
    singular: "runtimeclass",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verb::ALL,
    subresources: &[],
    columns: &[
        Column::NAME,
        Column::text("Handler", "The runtime that it names."),
        Column::AGE,
    ],
};

impl Definition for RuntimeClasses {
    type Object = RuntimeClass;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;

    fn cells(object: &RuntimeClass, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            age(&object.metadata, now),
        ]
    }
}
