//! Secret: named bytes that are not shown.

use super::duration::age;
use super::typed::{Definition, selectable};
use crate::kind::{Column, Descriptor, Scope, Verb};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

pub(super) struct Secrets;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "",
    version: "v1",
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[],
    columns: &[
        Column::NAME,
        Column::text("Type", "Its type."),
        Column::text("Data", "How many entries it holds."),
        Column::AGE,
    ],
};

impl Definition for Secrets {
    type Object = Secret;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;

    selectable! {
        "type" => "/type",
    }

    fn cells(object: &Secret, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            age(&object.metadata, now),
        ]
    }
}
