//! What differs between an object and what it would become.

use crate::{fields, output::yaml};
use serde_json::{Map, Value};
use similar::TextDiff;

/// Bookkeeping of the server, which every write changes.
const BOOKKEEPING: [&str; 6] = [
    "managedFields",
    "resourceVersion",
    "generation",
    "uid",
    "creationTimestamp",
    "selfLink",
];

/// What the last apply wrote, repeated.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A unified difference as YAML; none when a person would see none. `Null` stands for no object.
pub fn unified(before: &Value, after: &Value) -> Option<String> {
    let (mut before, mut after) = (shown(before), shown(after));
    mask(&mut before, &mut after);
    let text = |object: &Value| {
        if object.is_null() {
            String::new()
        } else {
            yaml::block(object)
        }
    };
    let (before, after) = (text(&before), text(&after));
    if before == after {
        return None;
    }
    let difference = TextDiff::from_lines(&before, &after);
    Some(difference.unified_diff().context_radius(3).to_string())
}

/// The object as far as people decide it.
fn shown(object: &Value) -> Value {
    let mut object = object.clone();
    let Some(map) = object.as_object_mut() else {
        return object;
    };
    map.remove("status");
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in BOOKKEEPING {
            metadata.remove(field);
        }
        let annotations = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut);
        if let Some(annotations) = annotations {
            annotations.remove(LAST_APPLIED);
        }
        if metadata
            .get("annotations")
            .and_then(Value::as_object)
            .is_some_and(Map::is_empty)
        {
            metadata.remove("annotations");
        }
    }
    object
}

/// A Secret's values are told apart, as kubectl does, and never shown.
fn mask(before: &mut Value, after: &mut Value) {
    if fields::text(after, "/kind") != "Secret" {
        return;
    }
    for field in ["data", "stringData"] {
        let old = before.get(field).cloned().unwrap_or_default();
        let new = after.get(field).cloned().unwrap_or_default();
        for (object, other, differs) in [
            (&mut *before, &new, "*** (before)"),
            (&mut *after, &old, "*** (after)"),
        ] {
            for (key, value) in object
                .get_mut(field)
                .and_then(Value::as_object_mut)
                .into_iter()
                .flatten()
            {
                let same = other.get(key).is_none_or(|other| other == value);
                *value = if same { "***" } else { differs }.into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_people_decide_differs() {
        let object = |version: &str, replicas: u32| {
            json!({"kind": "Deployment", "metadata": {"name": "web", "resourceVersion": version}, "spec": {"replicas": replicas},
                   "status": {"replicas": replicas}})
        };
        assert_eq!(unified(&object("1", 1), &object("2", 1)), None);
        let difference = unified(&object("1", 1), &object("2", 2)).unwrap();
        assert!(
            difference.contains("-  replicas: 1\n+  replicas: 2\n"),
            "{difference}"
        );
    }

    #[test]
    fn the_values_of_secrets_are_not_shown() {
        let secret = |value: &str| json!({"kind": "Secret", "data": {"password": value}});
        let difference = unified(&secret("aHVudGVyMg=="), &secret("b3RoZXI=")).unwrap();
        assert!(!difference.contains("aHVudGVyMg=="), "{difference}");
        assert!(
            difference.contains("+  password: '*** (after)'")
                || difference.contains("+  password: \"*** (after)\""),
            "{difference}"
        );
    }
}
