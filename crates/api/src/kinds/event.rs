//! Event: what happened to an object.

use super::duration::age;
use super::typed::{Definition, selectable};
use crate::kind::{Column, Descriptor, Scope, Verb};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use serde_json::Value;

pub(super) struct Events;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "",
    version: "v1",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[],
    columns: &[
        Column::text("Last Seen", "Time since it last happened."),
        Column::text("Type", "Its type."),
        Column::text("Reason", "Why, in one word."),
        Column::text("Object", "What it is about."),
        Column::text("Subobject", "Which part of the object.").wide(),
        Column::text("Source", "Who reports it.").wide(),
        Column::text("Message", "What happened."),
        Column::text("First Seen", "Time since it first happened.").wide(),
        Column::text("Count", "How often it happened.").wide(),
        Column::NAME.wide(),
    ],
};

impl Definition for Events {
    type Object = Event;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;

    selectable! {
        "involvedObject.kind" => "/involvedObject/kind",
        "involvedObject.namespace" => "/involvedObject/namespace",
        "involvedObject.name" => "/involvedObject/name",
        "involvedObject.uid" => "/involvedObject/uid",
        "involvedObject.apiVersion" => "/involvedObject/apiVersion",
        "involvedObject.resourceVersion" => "/involvedObject/resourceVersion",
        "involvedObject.fieldPath" => "/involvedObject/fieldPath",
        "reason" => "/reason",
        "reportingComponent" => "/reportingComponent",
        "source" => "/source/component",
        "type" => "/type",
    }

    fn cells(object: &Event, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            age(&object.metadata, now),
        ]
    }
}
