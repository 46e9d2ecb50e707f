//! Event of `events.k8s.io`: another form of the core group's Event, and one and the same object. Only some names of fields
//! differ, and what is asked of new ones.

use super::event::{self, Events};
use super::typed::{Definition, selectable};
use crate::kind::{Descriptor, Form, Part};
use crate::validation::{self, Errors, FieldError, Path, format};
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::events::v1::Event;
use serde_json::Value;

pub(super) struct EventsV1;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "events.k8s.io",
    ..event::DESCRIPTOR
};

/// Fields by their names in this form and as they are stored.
const RENAMED: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// Most bytes of `reportingInstance`, `action` and `reason`, and of `note`.
const WORD_BYTES: usize = 128;
const NOTE_BYTES: usize = 1024;

fn show(mut stored: Value) -> Value {
    rename(&mut stored, |(own, stored)| (stored, own));
    // The core group spells out that nobody is named; this form leaves it out.
    if let Some(object) = stored.as_object_mut() {
        object.retain(|name, value| !name.starts_with("reporting") || value != "");
    }
    stored["apiVersion"] = DESCRIPTOR.api_version().into();
    stored
}

fn store(mut own: Value) -> Value {
    rename(&mut own, |(own, stored)| (own, stored));
    own["apiVersion"] = event::DESCRIPTOR.api_version().into();
    own
}

fn rename(
    object: &mut Value,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    for (from, to) in RENAMED.map(direction) {
        if let Some(value) = object.remove(from) {
            object.insert(to.to_owned(), value);
        }
    }
}

impl Definition for EventsV1 {
    type Object = Event;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;

    const FORM: Option<Form> = Some(Form {
        resource: event::DESCRIPTOR.plural,
        show,
        store,
    });

    selectable! {
        "reason" => "/reason",
        "regarding.kind" => "/involvedObject/kind",
        "regarding.namespace" => "/involvedObject/namespace",
        "regarding.name" => "/involvedObject/name",
        "regarding.uid" => "/involvedObject/uid",
        "regarding.apiVersion" => "/involvedObject/apiVersion",
        "regarding.resourceVersion" => "/involvedObject/resourceVersion",
        "regarding.fieldPath" => "/involvedObject/fieldPath",
        "reportingController" => "/reportingComponent",
        "type" => "/type",
    }

    fn default(object: &mut Event) {
        object.deprecated_source.get_or_insert_default();
        object.regarding.get_or_insert_default();
    }

    fn validate(object: &Event, errors: &mut Errors) {
        let regarding = object
            .regarding
            .as_ref()
            .and_then(|regarding| regarding.namespace.as_deref())
            .unwrap_or("");
        let own = object.metadata.namespace.as_deref().unwrap_or("");
        if regarding.is_empty() && !matches!(own, "default" | "kube-system") {
            errors.push(FieldError::invalid(
                &Path::new("involvedObject").child("namespace"),
                regarding,
                "does not match event.namespace",
            ));
        }
        let controller = object.reporting_controller.as_deref().unwrap_or("");
        let path = Path::new("reportingController");
        if controller.is_empty() {
            errors.push(FieldError::required(&path, ""));
        }
        validation::each(
            errors,
            &path,
            controller,
            format::qualified_name(controller),
        );
        for (name, text) in [
            ("reportingInstance", &object.reporting_instance),
            ("action", &object.action),
            ("reason", &object.reason),
        ] {
            let text = text.as_deref().unwrap_or("");
            if text.is_empty() {
                errors.push(FieldError::required(&Path::new(name), ""));
            }
            length(text, name, WORD_BYTES, errors);
        }
        length(
            object.note.as_deref().unwrap_or(""),
            "message",
            NOTE_BYTES,
            errors,
        );
    }

    fn validate_create(object: &Event, errors: &mut Errors) {
        series(object, errors);
        if object.event_time.is_none() {
            errors.push(FieldError::required(&Path::new("eventTime"), ""));
        }
        let kind = object.type_.as_deref().unwrap_or("");
        if !matches!(kind, "Normal" | "Warning") {
            let detail = format!("has invalid value: {kind}");
            errors.push(FieldError::invalid(&Path::new("type"), "", detail));
        }
        let source = object.deprecated_source.as_ref().is_some_and(|source| {
            let given = |text: &Option<String>| !text.as_deref().unwrap_or("").is_empty();
            given(&source.component) || given(&source.host)
        });
        for (name, given) in [
            (
                "firstTimestamp",
                object.deprecated_first_timestamp.is_some(),
            ),
            ("lastTimestamp", object.deprecated_last_timestamp.is_some()),
            ("count", object.deprecated_count.unwrap_or(0) != 0),
            ("source", source),
        ] {
            if given {
                errors.push(FieldError::invalid(
                    &Path::new(name),
                    "",
                    "needs to be unset",
                ));
            }
        }
    }

    /// Only the series of an event goes on.
    fn validate_update(new: &Event, old: &Event, _: Part, errors: &mut Errors) {
        if new.series != old.series {
            series(new, errors);
        }
        let mut unchanged = new.clone();
        unchanged.metadata.clone_from(&old.metadata);
        unchanged.series.clone_from(&old.series);
        if unchanged == *old {
            return;
        }
        let (Ok(new), Ok(old)) = (serde_json::to_value(new), serde_json::to_value(old)) else {
            return;
        };
        for name in [
            "regarding",
            "reason",
            "note",
            "deprecatedSource",
            "deprecatedFirstTimestamp",
            "deprecatedLastTimestamp",
            "deprecatedCount",
            "type",
            "eventTime",
            "action",
            "related",
            "reportingController",
            "reportingInstance",
        ] {
            let stored = RENAMED
                .iter()
                .find(|(own, _)| *own == name && name != "reportingController")
                .map_or(name, |(_, stored)| *stored);
            validation::immutable(errors, &Path::new(stored), &new[name], &old[name]);
        }
    }

    fn cells(object: &Event, now: Timestamp) -> Vec<Value> {
        let stored = serde_json::to_value(object).map(store);
        let stored = stored.and_then(serde_json::from_value::<core::Event>);
        stored.map_or_else(|_| Vec::new(), |event| Events::cells(&event, now))
    }
}

fn length(text: &str, name: &str, most: usize, errors: &mut Errors) {
    if text.len() > most {
        let detail = format!("can have at most {most} characters");
        errors.push(FieldError::invalid(&Path::new(name), "", detail));
    }
}

fn series(object: &Event, errors: &mut Errors) {
    if let Some(series) = &object.series
        && series.count < 2
    {
        errors.push(FieldError::invalid(
            &Path::new("series").child("count"),
            "",
            "should be at least 2",
        ));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::kind::{Kind, Part, Refusal};
    use crate::kinds;
    use serde_json::{Value, json};

    fn kind() -> &'static dyn Kind {
        kinds::by_kind("events.k8s.io/v1", "Event").unwrap()
    }

    fn shown(stored: Value) -> Value {
        (kind().form().unwrap().show)(stored)
    }

    fn event() -> Value {
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": "x", "namespace": "default", "uid": "u"},
            "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "Because", "action": "Doing",
            "note": "it happened", "reportingController": "example.com/c", "reportingInstance": "c-1",
            "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        })
    }

    fn fields(refusal: Refusal) -> Vec<String> {
        match refusal {
            Refusal::Invalid(errors) => errors.into_iter().map(|error| error.field).collect(),
            Refusal::Malformed(text) => vec![text],
        }
    }

    #[test]
    fn it_is_stored_as_the_core_groups_event_and_shown_as_it_was_sent() {
        let stored = kind().create(event()).unwrap().object;
        assert_eq!(stored["apiVersion"], "v1");
        assert_eq!(stored["message"], "it happened");
        assert_eq!(stored["involvedObject"]["name"], "p");
        assert_eq!(stored["reportingComponent"], "example.com/c");
        let core = kinds::by_kind("v1", "Event").unwrap();
        assert_eq!(core.unknown_fields(&stored).unwrap(), Vec::<String>::new());
        let shown = shown(stored.clone());
        for (name, value) in event().as_object().unwrap() {
            if name != "metadata" {
                assert_eq!(&shown[name], value, "{name}");
            }
        }
        assert_eq!(
            kind().fields(&stored)[3],
            ("regarding.name", "p".to_owned())
        );
        assert_eq!(
            kind().cells(&shown, "2026-01-01T00:00:09Z".parse().unwrap()),
            core.cells(&stored, "2026-01-01T00:00:09Z".parse().unwrap())
        );
    }

    #[test]
    fn new_ones_are_held_to_more() {
        let mut old = event();
        old["eventTime"] = Value::Null;
        old["type"] = "".into();
        old["deprecatedCount"] = 3.into();
        old["action"] = "x".repeat(129).into();
        let refusal = kind().create(old).unwrap_err();
        assert_eq!(fields(refusal), ["action", "eventTime", "type", "count"]);
    }

    #[test]
    fn only_the_series_changes() {
        let stored = kind().create(event()).unwrap().object;
        let mut next = shown(stored.clone());
        next["series"] = json!({"count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"});
        let admitted = kind().update(next.clone(), &stored, Part::Main).unwrap();
        assert_eq!(admitted.object["series"]["count"], 2);
        next["note"] = "something else".into();
        next["series"]["count"] = 1.into();
        let refusal = kind().update(next, &stored, Part::Main).unwrap_err();
        assert_eq!(fields(refusal), ["series.count", "message"]);
    }
}
