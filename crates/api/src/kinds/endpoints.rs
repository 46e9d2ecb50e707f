//! Endpoints: the addresses behind a service, in their older form.

use super::duration::age;
use super::typed::Definition;
use crate::kind::{Column, Descriptor, Scope, Verb};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Endpoints;
use serde_json::Value;

pub(super) struct EndpointsKind;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "",
    version: "v1",
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[],
    columns: &[
        Column::NAME,
        Column::text("Endpoints", "The addresses, with their ports."),
        Column::AGE,
    ],
};

impl Definition for EndpointsKind {
    type Object = Endpoints;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;

    fn cells(object: &Endpoints, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            age(&object.metadata, now),
        ]
    }
}
