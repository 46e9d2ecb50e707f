#![allow(clippy::unwrap_used)]
use super::{Facts, explain};
use crate::output::describe::Related;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Reads one case: a YAML document with `object` and what stands around it.
fn facts(text: &str) -> Facts {
    let value = pontoon_api::decode::yaml(text.as_bytes()).unwrap().value;
    facts_of(&value)
}

fn facts_of(value: &Value) -> Facts {
    let list = |name: &str| {
        value
            .get(name)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    Facts {
        object: value.get("object").cloned().unwrap_or_default(),
        owners: list("owners"),
        node: value.get("node").cloned(),
        related: Related {
            events: list("events"),
            pods: list("pods"),
            replica_sets: list("replicaSets"),
            slices: list("slices"),
        },
    }
}

/// `testdata/why.txt`: a case is a title, facts, `----`, and the answer; `UPDATE_TESTDATA=1` writes the answers.
#[test]
fn each_case_of_the_script_is_told_as_written() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/why.txt");
    let script = std::fs::read_to_string(&path).unwrap();
    let now = "2026-01-02T03:10:00Z".parse().unwrap();
    let mut written = String::new();
    for case in script.split("\n\n\n") {
        let (asked, _) = case.split_once("----").unwrap_or((case, ""));
        let (title, facts_text) = asked.split_once('\n').unwrap();
        assert!(
            title.starts_with("# "),
            "a case begins with its title: {title:?}"
        );
        let answer = explain(&facts(facts_text), now);
        written.push_str(&format!("{asked}----\n{}\n\n\n", answer.trim_end()));
    }
    let written = format!("{}\n", written.trim_end());
    if std::env::var_os("UPDATE_TESTDATA").is_some() {
        std::fs::write(&path, written).unwrap();
    } else {
        assert_eq!(script, written, "UPDATE_TESTDATA=1 writes what is told");
    }
}

fn odd() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        "[a-zA-Z]{0,6}".prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 64, 4, |inner| {
        let key = prop_oneof![
            Just("status".to_owned()),
            Just("spec".to_owned()),
            Just("metadata".to_owned()),
            Just("conditions".to_owned()),
            Just("containerStatuses".to_owned()),
            Just("state".to_owned()),
            Just("waiting".to_owned()),
            Just("endpoints".to_owned()),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn objects_of_any_shape_are_explained(
        odd in odd(),
        kind in prop::sample::select(vec!["Pod", "Deployment", "ReplicaSet", "Service", "Node", "Lease"]),
    ) {
        let mut object = odd.clone();
        if !object.is_object() {
            object = json!({});
        }
        object["kind"] = kind.into();
        let value = json!({"object": object, "pods": [odd.clone()], "events": [odd.clone()], "slices": [odd.clone()], "node": odd});
        let told = explain(&facts_of(&value), "2026-01-02T03:10:00Z".parse().unwrap());
        prop_assert!(told.starts_with(kind));
    }
}
