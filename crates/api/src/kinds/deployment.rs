//! Deployment: a set of like pods that is changed step by step.

use super::duration::age;
use super::typed::{Definition, spec_and_status};
use crate::kind::{Column, Descriptor, Scope, Subresource, Verb};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::Value;

pub(super) struct Deployments;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "apps",
    version: "v1",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[Subresource::SCALE, Subresource::status("Deployment")],
    columns: &[
        Column::NAME,
        Column::text("Ready", "How many are ready, of how many."),
        Column::text("Up-to-date", "How many run the current template."),
        Column::text("Available", "How many have been ready for long enough."),
        Column::AGE,
        Column::text("Containers", "Names of its containers.").wide(),
        Column::text("Images", "Images of its containers.").wide(),
        Column::text("Selector", "Labels of the pods it selects.").wide(),
    ],
};

impl Definition for Deployments {
    type Object = Deployment;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
    const GENERATION: bool = true;

    spec_and_status!();

    fn cells(object: &Deployment, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            age(&object.metadata, now),
        ]
    }
}
