//! ConfigMap: named texts and bytes for pods.

use super::duration::age;
use super::typed::Definition;
use crate::kind::{Column, Descriptor, Scope, Verb};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

pub(super) struct ConfigMaps;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[],
    columns: &[
        Column::NAME,
        Column::text("Data", "How many entries it holds."),
        Column::AGE,
    ],
};

impl Definition for ConfigMaps {
    type Object = ConfigMap;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;

    fn cells(object: &ConfigMap, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            age(&object.metadata, now),
        ]
    }
}
