//! What Kubernetes 1.36 answered, case by case (see `testdata/README.md`).
//!
//! A case belongs here if it carries an object as its body: creation is decided by the kind. What the
//! verb layer decides is listed in [`VERB_LAYER`]; kinds that are not served are listed in [`UNSERVED`].

#![allow(clippy::unwrap_used)]

use crate::kind::{Kind, Refusal, Scope};
use crate::kinds;
use serde_json::{Value, json};

/// Cases with an object as body that are decided outside the kind: by looking up other objects, or by the URL.
const VERB_LAYER: &[&str] = &[
    "Pod: priority class missing",
    "Pod: runtime class missing",
    "Pod: namespace mismatch",
];

/// Resources whose cases are left out because Pontoon does not serve them yet.
const UNSERVED: &[&str] = &[
    "cronjobs",
    "customresourcedefinitions",
    "daemonsets",
    "horizontalpodautoscalers",
    "ingresses",
    "jobs",
    "limitranges",
    "networkpolicies",
    "persistentvolumeclaims",
    "persistentvolumes",
    "poddisruptionbudgets",
    "priorityclasses",
    "replicationcontrollers",
    "resourcequotas",
    "rolebindings",
    "roles",
    "statefulsets",
];

fn cases() -> impl Iterator<Item = Value> {
    include_str!("../../testdata/golden-api.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
}

/// Group, version, plural and namespace of a collection's URL.
fn collection(path: &str) -> (String, String, String, Option<String>) {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = if parts[0] == "api" {
        ("", &parts[1..])
    } else {
        (parts[1], &parts[2..])
    };
    let (namespace, plural) = match rest {
        [_, "namespaces", namespace, plural] => (Some((*namespace).to_owned()), plural),
        [_, plural] => (None, plural),
        other => panic!("unexpected path {other:?}"),
    };
    (
        group.to_owned(),
        rest[0].to_owned(),
        (*plural).to_owned(),
        namespace,
    )
}

/// What the verb layer would answer: the code, the causes, and the object.
fn answer(kind: &dyn Kind, mut body: Value, namespace: Option<&str>) -> (u64, Vec<Value>, Value) {
    let metadata = body["metadata"].as_object_mut().unwrap();
    metadata.insert("uid".to_owned(), "u".into());
    metadata.insert(
        "creationTimestamp".to_owned(),
        "2026-01-01T00:00:00Z".into(),
    );
    if kind.descriptor().scope == Scope::Namespaced {
        metadata.insert("namespace".to_owned(), namespace.unwrap().into());
    }
    match kind.unknown_fields(&body) {
        Ok(unknown) if unknown.is_empty() => {}
        _ => return (400, Vec::new(), Value::Null),
    }
    match kind.create(body) {
        Ok(admitted) => (201, Vec::new(), admitted.object),
        Err(Refusal::Malformed(_)) => (400, Vec::new(), Value::Null),
        Err(Refusal::Invalid(errors)) => {
            let causes = errors
                .iter()
                .map(|error| json!({"reason": error.kind.as_str(), "field": error.field}))
                .collect();
            (422, causes, Value::Null)
        }
    }
}

/// Puts `*` where the recorded answer has it, so that the two can be compared.
fn mask(found: &mut Value, expected: &Value) {
    match (found, expected) {
        (found, Value::String(text)) if text == "*" => *found = "*".into(),
        (Value::Object(found), Value::Object(expected)) => {
            for (name, value) in found.iter_mut() {
                mask(value, expected.get(name).unwrap_or(&Value::Null));
            }
        }
        _ => {}
    }
}

#[test]
fn each_recorded_answer_of_kubernetes_is_ours() {
    let mut wrong = Vec::new();
    let mut run = 0;
    for case in cases().filter(|case| case["body"].is_object()) {
        let name = case["case"].as_str().unwrap();
        let (group, version, plural, namespace) = collection(case["path"].as_str().unwrap());
        if VERB_LAYER.contains(&name) || UNSERVED.contains(&plural.as_str()) {
            continue;
        }
        run += 1;
        let kind = kinds::by_plural(&group, &version, &plural)
            .unwrap_or_else(|| panic!("no kind for {name}"));
        let (code, causes, mut object) = answer(kind, case["body"].clone(), namespace.as_deref());
        let expected = case["causes"].as_array().cloned().unwrap_or_default();
        if code != case["code"] || causes != expected {
            wrong.push(format!(
                "{name}: got {code} {causes:?}, Kubernetes gives {} {expected:?}",
                case["code"]
            ));
        } else if let Some(expected) = case.get("answer") {
            mask(&mut object, expected);
            if object != *expected {
                wrong.push(format!(
                    "{name}:\n  got        {object}\n  Kubernetes {expected}"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {run} cases differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(run >= 70, "only {run} cases were selected");
}

#[test]
fn the_lists_of_cases_left_out_hold_no_kind_that_is_served() {
    for plural in UNSERVED {
        assert!(
            kinds::all()
                .iter()
                .all(|kind| kind.descriptor().plural != *plural),
            "{plural} is served"
        );
    }
    for name in VERB_LAYER {
        assert!(
            cases().any(|case| case["case"] == *name),
            "{name} is not a case"
        );
    }
}
