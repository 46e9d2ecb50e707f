//! What holds for every kind, and the rules of the smaller ones.

#![allow(clippy::unwrap_used)]

use crate::kind::{Admitted, Kind, Part, Refusal, Scope};
use crate::kinds;
use proptest::prelude::*;
use serde_json::{Value, json};

fn kind(name: &str) -> &'static dyn Kind {
    kinds::all()
        .iter()
        .copied()
        .find(|kind| kind.descriptor().plural == name)
        .unwrap()
}

/// A body of a kind with the fields given.
fn body(kind: &dyn Kind, fields: Value) -> Value {
    let found = kind.descriptor();
    let mut body =
        json!({"apiVersion": found.api_version(), "kind": found.kind, "metadata": {"name": "x"}});
    if found.scope == Scope::Namespaced {
        body["metadata"]["namespace"] = "default".into();
    }
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn create(name: &str, fields: Value) -> Result<Admitted, Refusal> {
    kind(name).create(body(kind(name), fields))
}

/// Changes one created object by a JSON merge and updates it.
fn update(name: &str, fields: Value, change: Value) -> Result<Admitted, Refusal> {
    let current = create(name, fields).unwrap().object;
    let mut changed = current.clone();
    json_patch::merge(&mut changed, &change);
    kind(name).update(changed, &current, Part::Main)
}

fn errors(result: Result<Admitted, Refusal>) -> Vec<String> {
    match result.unwrap_err() {
        Refusal::Invalid(errors) => errors.iter().map(ToString::to_string).collect(),
        Refusal::Malformed(text) => vec![text],
    }
}

fn cells(name: &str, object: &Value) -> Vec<Value> {
    let mut object = object.clone();
    object["metadata"]["creationTimestamp"] = "2026-01-01T00:50:00Z".into();
    kind(name).cells(&object, "2026-01-01T01:00:00Z".parse().unwrap())
}

fn template(labels: Value) -> Value {
    json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "app:1"}]}})
}

fn workload() -> Value {
    json!({"spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template(json!({"app": "a"}))}})
}

/// A good object of each kind.
fn samples() -> Vec<(&'static str, Value)> {
    vec![
        (
            "configmaps",
            json!({"data": {"a": ""}, "binaryData": {"b": "eA=="}}),
        ),
        (
            "endpoints",
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]}),
        ),
        (
            "events",
            json!({"involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "Started"}),
        ),
        ("namespaces", json!({})),
        (
            "nodes",
            json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}),
        ),
        (
            "pods",
            json!({"spec": {"containers": [{"name": "c", "image": "app"}]}}),
        ),
        ("secrets", json!({"stringData": {"a": "b"}})),
        ("serviceaccounts", json!({})),
        ("services", json!({"spec": {"ports": [{"port": 80}]}})),
        ("deployments", workload()),
        ("replicasets", workload()),
        (
            "leases",
            json!({"spec": {"holderIdentity": "h", "renewTime": "2026-01-01T00:00:00.000001Z"}}),
        ),
        ("runtimeclasses", json!({"handler": "process"})),
        (
            "endpointslices",
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]}),
        ),
    ]
}

#[test]
fn a_good_object_of_every_kind_is_admitted_and_an_equal_update_changes_nothing() {
    assert_eq!(samples().len(), kinds::all().len());
    for (name, fields) in samples() {
        let object = create(name, fields).unwrap().object;
        assert_eq!(kind(name).unknown_fields(&object), Ok(Vec::new()), "{name}");
        for part in [Part::Main, Part::Status] {
            let again = kind(name)
                .update(object.clone(), &object, part)
                .unwrap()
                .object;
            assert_eq!(again, object, "{name} {part:?}");
        }
        assert_eq!(
            cells(name, &object).len(),
            kind(name).descriptor().columns.len(),
            "{name}"
        );
        let fields: Vec<&str> = kind(name)
            .fields(&object)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(fields, kind(name).field_names(), "{name}");
    }
}

#[test]
fn what_only_the_server_sets_is_cleared_at_creation() {
    let mut sent = body(kind("deployments"), workload());
    sent["metadata"]["generation"] = 7.into();
    sent["metadata"]["resourceVersion"] = "7".into();
    sent["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    sent["status"] = json!({"replicas": 3});
    let object = kind("deployments").create(sent).unwrap().object;
    assert_eq!(
        object["metadata"],
        json!({"name": "x", "namespace": "default", "generation": 1})
    );
    assert_eq!(object["status"], json!({}));
}

#[test]
fn metadata_rules_hold_for_every_kind() {
    let mut sent = body(kind("configmaps"), json!({}));
    sent["metadata"] = json!({"name": "Bad_Name", "namespace": "default", "labels": {"a b": "x", "c": "-"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}], "finalizers": ["mine"]});
    let found = errors(kind("configmaps").create(sent));
    let fields: Vec<&str> = found
        .iter()
        .filter_map(|text| text.split(':').next())
        .collect();
    assert_eq!(
        fields,
        [
            "metadata.name",
            "metadata.labels",
            "metadata.labels",
            "metadata.ownerReferences.uid",
            "metadata.finalizers[0]"
        ]
    );
    let mut sent = body(kind("nodes"), json!({}));
    sent["metadata"]["namespace"] = "default".into();
    assert_eq!(
        errors(kind("nodes").create(sent)),
        ["metadata.namespace: Forbidden: not allowed on this type"]
    );
}

#[test]
fn an_object_being_deleted_gets_no_finalizer_more() {
    let mut current = create("configmaps", json!({})).unwrap().object;
    current["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    current["metadata"]["finalizers"] = json!(["a.b/c", "a.b/d"]);
    let mut sent = current.clone();
    sent["metadata"]["finalizers"] = json!(["a.b/c"]);
    kind("configmaps")
        .update(sent.clone(), &current, Part::Main)
        .unwrap();
    sent["metadata"]["finalizers"] = json!(["a.b/c", "a.b/e"]);
    assert_eq!(
        errors(kind("configmaps").update(sent, &current, Part::Main)),
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a.b/e\"}"
        ]
    );
}

#[test]
fn a_wrong_type_is_malformed_and_says_where() {
    let found = errors(create("deployments", json!({"spec": {"replicas": "3"}})));
    assert_eq!(
        found,
        [
            "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        ]
    );
}

#[test]
fn a_deployment_gets_kubernetes_defaults() {
    let object = create("deployments", workload()).unwrap().object;
    let spec = &object["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    assert_eq!(spec["template"]["spec"].get("enableServiceLinks"), None);
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
}

#[test]
fn a_deployments_generation_counts_its_spec_and_annotations_and_not_its_labels() {
    let generation = |change: Value| {
        update("deployments", workload(), change).unwrap().object["metadata"]["generation"].clone()
    };
    assert_eq!(generation(json!({"metadata": {"labels": {"a": "b"}}})), 1);
    assert_eq!(
        generation(json!({"metadata": {"annotations": {"a": "b"}}})),
        2
    );
    assert_eq!(generation(json!({"spec": {"replicas": 2}})), 2);
    assert_eq!(generation(json!({"spec": {"paused": false}})), 1);
}

#[test]
fn the_selector_of_a_workload_is_immutable() {
    for name in ["deployments", "replicasets"] {
        let change = json!({"spec": {"selector": {"matchLabels": {"app": "b"}}, "template": template(json!({"app": "b"}))}});
        let found = errors(update(name, workload(), change));
        assert_eq!(
            found,
            [r#"spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable"#]
        );
    }
}

#[test]
fn a_workload_restarts_its_pods_always() {
    let found = errors(update(
        "deployments",
        workload(),
        json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
    ));
    assert_eq!(
        found,
        [
            r#"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#
        ]
    );
}

#[test]
fn an_immutable_config_map_and_secret_stay_as_they_are() {
    for (name, data) in [
        ("configmaps", json!({"a": "b"})),
        ("secrets", json!({"a": "Yg=="})),
    ] {
        let fields = json!({"immutable": true, "data": data});
        let found = errors(update(name, fields.clone(), json!({"data": {"a": "eA=="}})));
        assert_eq!(
            found,
            ["data: Forbidden: field is immutable when `immutable` is set"],
            "{name}"
        );
        let found = errors(update(name, fields.clone(), json!({"immutable": null})));
        assert_eq!(
            found,
            ["immutable: Forbidden: field is immutable when `immutable` is set"],
            "{name}"
        );
        update(name, fields, json!({"metadata": {"labels": {"a": "b"}}})).unwrap();
    }
}

#[test]
fn data_is_limited_to_a_mebibyte() {
    let fits = "x".repeat(1 << 20);
    create("configmaps", json!({"data": {"a": fits}})).unwrap();
    let found = errors(create("configmaps", json!({"data": {"a": fits, "b": "x"}})));
    assert_eq!(found, [": Too long: may not be more than 1048576 bytes"]);
}

#[test]
fn a_secrets_texts_become_bytes_and_its_type_stays() {
    let object = create(
        "secrets",
        json!({"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"b": "z"}}),
    )
    .unwrap()
    .object;
    assert_eq!(object["data"], json!({"a": "eA==", "b": "eg=="}));
    assert_eq!(object.get("stringData"), None);
    let found = errors(update(
        "secrets",
        json!({}),
        json!({"type": "example.com/other"}),
    ));
    assert_eq!(
        found,
        [r#"type: Invalid value: "example.com/other": field is immutable"#]
    );
    let found = errors(create("secrets", json!({"type": "kubernetes.io/ssh-auth"})));
    assert_eq!(found, ["data[ssh-privatekey]: Required value"]);
}

#[test]
fn a_namespaces_finalizers_and_status_change_only_through_their_subresources() {
    let object = update(
        "namespaces",
        json!({}),
        json!({"spec": {"finalizers": []}, "status": {"phase": "Terminating"}}),
    );
    let object = object.unwrap().object;
    assert_eq!(object["spec"], json!({"finalizers": ["kubernetes"]}));
    assert_eq!(object["status"], json!({"phase": "Active"}));
}

#[test]
fn a_node_registers_with_its_status() {
    let object = create("nodes", json!({"status": {"capacity": {"cpu": "2000m"}}}))
        .unwrap()
        .object;
    assert_eq!(object["status"]["capacity"], json!({"cpu": "2"}));
}

#[test]
fn the_handler_of_a_runtime_class_is_immutable() {
    let found = errors(update(
        "runtimeclasses",
        json!({"handler": "a"}),
        json!({"handler": "b"}),
    ));
    assert_eq!(
        found,
        [r#"handler: Invalid value: "b": field is immutable"#]
    );
}

#[test]
fn an_event_lives_in_the_namespace_of_what_it_is_about() {
    let involved = json!({"involvedObject": {"kind": "Pod", "name": "p", "namespace": "other"}});
    let found = errors(create("events", involved));
    assert_eq!(
        found,
        [r#"involvedObject.namespace: Invalid value: "other": does not match event.namespace"#]
    );
    create(
        "events",
        json!({"involvedObject": {"kind": "Node", "name": "n"}}),
    )
    .unwrap();
}

#[test]
fn cells_of_the_smaller_kinds_read_as_kubectl_prints_them() {
    let row = |name: &str, fields: Value| {
        let mut object = create(name, fields.clone()).unwrap().object;
        if let Some(status) = fields.get("status") {
            object["status"] = status.clone();
        }
        let cells = cells(name, &object).into_iter().map(|cell| match cell {
            Value::String(text) => text,
            other => other.to_string(),
        });
        cells.collect::<Vec<_>>().join("|")
    };
    assert_eq!(
        row(
            "configmaps",
            json!({"data": {"a": "b"}, "binaryData": {"c": "eA=="}})
        ),
        "x|2|10m"
    );
    assert_eq!(
        row("secrets", json!({"stringData": {"a": "b"}})),
        "x|Opaque|1|10m"
    );
    assert_eq!(row("namespaces", json!({})), "x|Active|10m");
    assert_eq!(row("serviceaccounts", json!({})), "x|10m");
    assert_eq!(
        row("leases", json!({"spec": {"holderIdentity": "h"}})),
        "x|h|10m"
    );
    assert_eq!(
        row("runtimeclasses", json!({"handler": "process"})),
        "x|process|10m"
    );
    let status =
        json!({"readyReplicas": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1});
    let mut fields = workload();
    fields["status"] = status;
    fields["spec"]["replicas"] = 3.into();
    assert_eq!(
        row("deployments", fields.clone()),
        "x|1/3|2|1|10m|c|app:1|app=a"
    );
    assert_eq!(row("replicasets", fields), "x|3|2|1|10m|c|app:1|app=a");
}

#[test]
fn cells_of_endpoints_name_three_addresses_and_count_the_rest() {
    let subset = |count: u8| {
        let addresses: Vec<Value> = (1..=count)
            .map(|last| json!({"ip": format!("10.0.0.{last}")}))
            .collect();
        json!({"subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]})
    };
    let shown =
        |fields: Value| cells("endpoints", &create("endpoints", fields).unwrap().object)[1].clone();
    assert_eq!(shown(json!({})), "<none>");
    assert_eq!(shown(subset(2)), "10.0.0.1:80,10.0.0.2:80");
    assert_eq!(
        shown(subset(5)),
        "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more..."
    );
    let slice = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]});
    let row = cells(
        "endpointslices",
        &create("endpointslices", slice).unwrap().object,
    );
    assert_eq!(row, ["x", "IPv4", "80", "10.0.0.1", "10m"]);
    let empty = create("endpointslices", json!({"addressType": "IPv4"}))
        .unwrap()
        .object;
    assert_eq!(
        cells("endpointslices", &empty)[2..4],
        ["<unset>", "<unset>"]
    );
}

#[test]
fn cells_of_nodes_show_condition_and_roles() {
    let node = |ready: &str, cordoned: bool| {
        let mut fields = json!({"spec": {"unschedulable": cordoned}, "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Debian"}}});
        fields["metadata"] =
            json!({"name": "x", "labels": {"node-role.kubernetes.io/control-plane": ""}});
        cells("nodes", &create("nodes", fields).unwrap().object)
    };
    assert_eq!(
        node("True", false),
        [
            "x",
            "Ready",
            "control-plane",
            "10m",
            "v1.36.0",
            "10.0.0.1",
            "<none>",
            "Debian",
            "<unknown>",
            "<unknown>"
        ]
    );
    assert_eq!(node("Unknown", true)[1], "NotReady,SchedulingDisabled");
    assert_eq!(
        cells("nodes", &create("nodes", json!({})).unwrap().object)[1..3],
        ["Unknown", "<none>"]
    );
}

#[test]
fn cells_of_events_show_when_and_how_often() {
    let fields = json!({"type": "Warning", "reason": "BackOff", "message": "again\n", "count": 3,
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default", "fieldPath": "spec.containers{c}"},
        "source": {"component": "agent", "host": "n"},
        "firstTimestamp": "2026-01-01T00:50:00Z", "lastTimestamp": "2026-01-01T00:59:00Z"});
    let row = cells("events", &create("events", fields).unwrap().object);
    assert_eq!(
        Value::from(row),
        json!([
            "60s",
            "Warning",
            "BackOff",
            "pod/p",
            "spec.containers{c}",
            "agent, n",
            "again",
            "10m",
            3,
            "x"
        ])
    );
}

/// Any JSON, a few levels deep, with names that occur in objects.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-5i64..70_000).prop_map(Value::from),
        "[a-zA-Z0-9%/.: -]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "TCP",
            "None",
            "ClusterIP",
            "ExternalName",
            "Always",
            "25%",
            "10.0.0.1",
            "1Gi",
            "In"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(NAMES.to_vec()), inner), 0..6).prop_map(
                |fields| Value::Object(
                    fields
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect()
                )
            ),
        ]
    })
}

const NAMES: &[&str] = &[
    "name",
    "containers",
    "image",
    "ports",
    "port",
    "containerPort",
    "hostPort",
    "protocol",
    "targetPort",
    "type",
    "clusterIP",
    "clusterIPs",
    "selector",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "template",
    "metadata",
    "labels",
    "spec",
    "replicas",
    "strategy",
    "rollingUpdate",
    "maxSurge",
    "volumes",
    "configMap",
    "items",
    "env",
    "valueFrom",
    "fieldRef",
    "resources",
    "limits",
    "cpu",
    "livenessProbe",
    "httpGet",
    "tolerations",
    "effect",
    "subsets",
    "addresses",
    "ip",
    "endpoints",
    "conditions",
    "taints",
    "status",
    "data",
    "app",
];

/// Lays `noise` over an object: its fields replace and extend those of the object, here and there.
fn overlay(object: &mut Value, noise: &Value) {
    match (object, noise) {
        (Value::Object(fields), Value::Object(noise)) => {
            for (name, value) in noise {
                match fields.get_mut(name) {
                    Some(field) if field.is_object() || field.is_array() => overlay(field, value),
                    _ => {
                        fields.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(items), noise) => items.iter_mut().for_each(|item| overlay(item, noise)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_body_makes_a_kind_panic_and_what_is_admitted_is_stable(index in 0usize..14, noise in any_json(), part in any::<bool>()) {
        let (name, fields) = samples().swap_remove(index);
        let kind = kind(name);
        let mut sent = body(kind, fields);
        overlay(&mut sent["spec"], &noise);
        overlay(&mut sent, &noise);
        let _ = kind.unknown_fields(&sent);
        let _ = kind.cells(&sent, "2026-01-01T01:00:00Z".parse().unwrap());
        let _ = kind.fields(&sent);
        if let Ok(Admitted { object, .. }) = kind.create(sent) {
            let part = if part { Part::Main } else { Part::Status };
            let again = kind.update(object.clone(), &object, part);
            prop_assert_eq!(again.map(|again| again.object), Ok(object));
        }
    }
}
