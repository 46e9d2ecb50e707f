//! Event: what happened to an object.

use super::duration::since;
use super::typed::{Definition, selectable};
use crate::kind::{Column, Descriptor, Scope, Verb};
use crate::validation::{Errors, FieldError, Path};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use serde_json::Value;

pub(super) struct Events;

pub(super) const DESCRIPTOR: Descriptor = Descriptor {
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

    fn default(object: &mut Event) {
        object.source.get_or_insert_default();
    }

    fn validate(object: &Event, errors: &mut Errors) {
        let involved = object.involved_object.namespace.as_deref().unwrap_or("");
        let own = object.metadata.namespace.as_deref().unwrap_or("");
        // Events about what lives in no namespace are kept in the default one.
        if involved != own && !(involved.is_empty() && own == "default") {
            let path = Path::new("involvedObject");
            errors.push(FieldError::invalid(
                &path.child("namespace"),
                involved,
                "does not match event.namespace",
            ));
        }
        if object.event_time.is_none() {
            return;
        }
        for (name, text) in [
            ("reportingController", &object.reporting_component),
            ("reportingInstance", &object.reporting_instance),
            ("action", &object.action),
            ("reason", &object.reason),
        ] {
            if text.as_deref().unwrap_or("").is_empty() {
                errors.push(FieldError::required(&Path::new(name), ""));
            }
        }
    }

    fn cells(object: &Event, now: Timestamp) -> Vec<Value> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let involved = &object.involved_object;
        let kind = text(&involved.kind).to_lowercase();
        let about = match text(&involved.name) {
            name if name.is_empty() => kind,
            name => format!("{kind}/{name}"),
        };
        let event_time = object.event_time.as_ref().map(|time| time.0);
        let first = object
            .first_timestamp
            .as_ref()
            .map(|time| time.0)
            .or(event_time);
        let mut last = object.last_timestamp.as_ref().map(|time| time.0).or(first);
        let mut count = object.count.filter(|count| *count != 0).unwrap_or(1);
        if let Some(series) = &object.series {
            last = series.last_observed_time.as_ref().map(|time| time.0);
            count = series.count.unwrap_or(0);
        }
        vec![
            since(last, now).into(),
            text(&object.type_).into(),
            text(&object.reason).into(),
            about.into(),
            text(&involved.field_path).into(),
            source(object).into(),
            text(&object.message).trim().into(),
            since(first, now).into(),
            count.into(),
            text(&object.metadata.name).into(),
        ]
    }
}

/// Who reports it, and from where.
fn source(event: &Event) -> String {
    let either = |first: Option<&String>, second: Option<&String>| {
        first
            .filter(|text| !text.is_empty())
            .or(second)
            .cloned()
            .unwrap_or_default()
    };
    let source = event.source.as_ref();
    let component = source.and_then(|source| source.component.as_ref());
    let component = either(component, event.reporting_component.as_ref());
    let host = source.and_then(|source| source.host.as_ref());
    let host = either(host, event.reporting_instance.as_ref());
    if host.is_empty() {
        component
    } else {
        format!("{component}, {host}")
    }
}
