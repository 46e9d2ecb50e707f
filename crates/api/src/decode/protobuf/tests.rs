#![allow(clippy::unwrap_used)]

use super::schema::{SCHEMA, Schema, Type};
use super::*;
use crate::kind::Refusal;
use crate::kinds;
use encoder::{body, sample};
use proptest::prelude::*;
use serde_json::json;

mod captured;
mod encoder;
mod openapi;

fn read(bytes: &[u8]) -> Value {
    protobuf(bytes).unwrap().value
}

fn refusal(bytes: &[u8]) -> String {
    protobuf(bytes).unwrap_err().0
}

/// A body with `raw` as a ConfigMap's bytes.
fn config_map(raw: &[u8]) -> Vec<u8> {
    encoder::envelope("v1", "ConfigMap", raw)
}

#[test]
fn every_kind_that_is_served_can_be_sent_in_protobuf() {
    for kind in kinds::all() {
        let found = kind.descriptor();
        assert!(
            SCHEMA.root(&found.api_version(), found.kind).is_some(),
            "{}",
            found.kind
        );
    }
}

#[test]
fn the_schema_has_no_cycles_so_that_depth_is_bounded() {
    fn depth(schema: &Schema, message: usize, above: &mut Vec<usize>) -> usize {
        assert!(!above.contains(&message), "message {message} holds itself");
        above.push(message);
        let inner = schema.messages[message]
            .fields
            .iter()
            .map(|field| match field.kind {
                Type::Message(inner) => depth(schema, inner, above),
                _ => 1,
            });
        let deepest = 1 + inner.max().unwrap_or(0);
        above.pop();
        deepest
    }
    for (_, kind, root) in &SCHEMA.kinds {
        assert!(depth(&SCHEMA, *root, &mut Vec::new()) < 16, "{kind}");
    }
}

#[test]
fn field_numbers_and_names_are_unique_in_their_message() {
    for message in &SCHEMA.messages {
        for (index, field) in message.fields.iter().enumerate() {
            let rest = &message.fields[index + 1..];
            assert!(
                rest.iter().all(|other| other.number != field.number),
                "{field:?}"
            );
            assert!(
                field.name.is_none() || rest.iter().all(|other| other.name != field.name),
                "{field:?}"
            );
        }
    }
}

#[test]
fn an_object_with_every_field_set_comes_back_whole() {
    for (version, kind, root) in &SCHEMA.kinds {
        let version = if *version == "*" { "v1" } else { version };
        let object = sample(version, kind, *root);
        assert_eq!(read(&body(&object)), object, "{kind}");
    }
}

#[test]
fn the_bodies_of_the_golden_cases_mean_the_same_in_protobuf() {
    let mut compared = 0;
    for line in include_str!("../../../testdata/golden-api.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let object = &case["body"];
        let (version, name) = (object["apiVersion"].as_str(), object["kind"].as_str());
        let (Some(version), Some(name)) = (version, name) else {
            continue;
        };
        let Some(kind) = kinds::by_kind(version, name) else {
            continue;
        };
        let by_json = kind.create(object.clone());
        // What Go could not have decoded, it could not have sent.
        if matches!(by_json, Err(Refusal::Malformed(_))) {
            continue;
        }
        let by_protobuf = kind.create(read(&body(object)));
        match (by_json, by_protobuf) {
            (Ok(by_json), Ok(by_protobuf)) => {
                compared += 1;
                assert_eq!(by_json.object, by_protobuf.object, "{}", case["case"]);
            }
            (Err(by_json), Err(by_protobuf)) => {
                compared += 1;
                assert_eq!(
                    format!("{by_json:?}"),
                    format!("{by_protobuf:?}"),
                    "{}",
                    case["case"]
                );
            }
            (by_json, by_protobuf) => {
                panic!(
                    "{}: {:?} and {:?}",
                    case["case"],
                    by_json.is_ok(),
                    by_protobuf.is_ok()
                );
            }
        }
    }
    assert!(compared > 40, "{compared}");
}

#[test]
fn zero_values_are_left_out_where_go_leaves_them_out_and_kept_behind_pointers() {
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "", "generation": 0, "creationTimestamp": null},
        "spec": {
            "replicas": 0, "minReadySeconds": 0, "paused": false,
            "template": {"spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "", "image": "", "tty": false, "ports": [{"containerPort": 0, "hostPort": 0}]}],
            }},
        },
    });
    let expected = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {},
        "spec": {
            "replicas": 0,
            "template": {"spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "", "ports": [{"containerPort": 0}]}],
            }},
        },
    });
    assert_eq!(read(&body(&deployment)), expected);
}

#[test]
fn times_have_the_precision_of_their_type() {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"deletionTimestamp": "2026-01-02T03:04:05.678Z"},
        "spec": {"renewTime": "2026-01-02T03:04:05.678Z"},
    });
    let found = read(&body(&lease));
    assert_eq!(
        found["metadata"]["deletionTimestamp"],
        "2026-01-02T03:04:05Z"
    );
    assert_eq!(found["spec"]["renewTime"], "2026-01-02T03:04:05.678000Z");
}

#[test]
fn delete_options_are_known_in_every_group() {
    let options = json!({
        "apiVersion": "apps/v1", "kind": "DeleteOptions",
        "gracePeriodSeconds": 0, "propagationPolicy": "Orphan", "preconditions": {"uid": "u"}, "dryRun": ["All"],
    });
    assert_eq!(read(&body(&options)), options);
}

#[test]
fn an_unknown_field_is_told_of_if_it_says_something() {
    // Field 1023 as an empty text, then as the number 7.
    let silent = config_map(&[0xfa, 0x3f, 0]);
    assert_eq!(
        read(&silent),
        json!({"apiVersion": "v1", "kind": "ConfigMap"})
    );
    let loud = read(&config_map(&[0xf8, 0x3f, 7]));
    let kind = kinds::by_kind("v1", "ConfigMap").unwrap();
    assert_eq!(kind.unknown_fields(&loud).unwrap(), ["protobuf field 1023"]);
}

#[test]
fn a_message_that_comes_in_parts_is_merged() {
    let named = encoder::field(1, &encoder::field(1, b"a"));
    let labelled = encoder::field(1, &encoder::field(3, b"ns"));
    let found = read(&config_map(&[named, labelled].concat()));
    assert_eq!(found["metadata"], json!({"name": "a", "namespace": "ns"}));
}

#[test]
fn packed_and_single_numbers_are_the_same() {
    let security = |groups: &[u8]| {
        let pod = encoder::field(2, &encoder::field(14, groups));
        read(&encoder::envelope("v1", "Pod", &pod))["spec"]["securityContext"]["supplementalGroups"]
            .clone()
    };
    assert_eq!(security(&[0x20, 5, 0x20, 6]), json!([5, 6]));
    assert_eq!(security(&[0x22, 2, 5, 6]), json!([5, 6]));
}

#[test]
fn what_cannot_be_read_is_refused_in_words() {
    assert!(refusal(b"{}").contains("magic"));
    assert!(refusal(b"k8s\0").contains("no kind"));
    assert!(refusal(&encoder::envelope("v1", "Gadget", b"")).contains("no kind \"Gadget\""));
    assert!(refusal(&config_map(&[0x0a, 5])).contains("end too early"));
    assert!(refusal(&config_map(&[0x08, 5])).contains("metadata: has another wire type"));
    assert!(refusal(&config_map(&[0x0b])).contains("unknown wire type"));
    assert!(
        refusal(&config_map(&encoder::field(1, &encoder::field(1, &[0xff]))))
            .contains("name: is not UTF-8")
    );
    assert!(refusal(&config_map(&[0xff; 11])).contains("too l"));
    let zipped = [MAGIC.to_vec(), encoder::field(3, b"gzip")].concat();
    assert!(refusal(&zipped).contains("\"gzip\" is not supported"));
}

#[test]
fn a_small_body_cannot_become_a_large_value() {
    let container = encoder::field(2, &[0x12, 0].repeat(PROTOBUF_VALUES));
    assert!(refusal(&encoder::envelope("v1", "Pod", &container)).contains("more than"));
}

proptest! {
    #[test]
    fn no_bytes_panic(raw in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..18_usize) {
        let (version, kind, _) = SCHEMA.kinds[kind % SCHEMA.kinds.len()];
        let _ = protobuf(&raw);
        let _ = protobuf(&encoder::envelope(version, kind, &raw));
    }

    #[test]
    fn no_damage_panics(kind in 0..18_usize, places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let (version, kind, root) = SCHEMA.kinds[kind % SCHEMA.kinds.len()];
        let mut bytes = body(&sample(version, kind, root));
        for (place, byte) in places {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let _ = protobuf(&bytes);
        let cut = bytes.len() / 2;
        let _ = protobuf(&bytes[..cut]);
    }
}
