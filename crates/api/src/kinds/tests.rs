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
    let stored = kinds::all().iter().filter(|kind| kind.form().is_none());
    assert_eq!(samples().len(), stored.count());
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

/// A good body of each kind with as much in it as its rules look at.
fn rich(name: &str, plain: Value) -> Value {
    let pod = json!({"hostNetwork": false, "nodeSelector": {"a": "b"}, "activeDeadlineSeconds": null,
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]}},
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm":
                {"topologyKey": "a", "labelSelector": {"matchLabels": {"a": "b"}}}}]}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "ScheduleAnyway"}],
        "securityContext": {"runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}},
        "dnsConfig": {"nameservers": ["10.0.0.1"], "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}]},
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}],
        "volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "p", "mode": 256}]}},
            {"name": "w", "hostPath": {"path": "/x"}}, {"name": "d", "downwardAPI": {"items": [
                {"path": "p", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"name": "p", "projected": {"sources": [{"secret": {"name": "s"}}]}}],
        "initContainers": [{"name": "i", "image": "a", "restartPolicy": "Always"}],
        "containers": [{"name": "c", "image": "app:1", "stdin": true, "args": ["x"], "workingDir": "/",
            "ports": [{"name": "http", "containerPort": 80, "hostPort": 8080, "protocol": "TCP"}],
            "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}}],
            "envFrom": [{"prefix": "P", "configMapRef": {"name": "c"}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a", "readOnly": true}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}},
            "livenessProbe": {"httpGet": {"port": "http", "path": "/", "httpHeaders": [{"name": "a", "value": "b"}]}, "timeoutSeconds": 2},
            "readinessProbe": {"exec": {"command": ["x"]}}, "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
            "securityContext": {"privileged": true, "capabilities": {"add": ["X"]}}}]});
    match name {
        "pods" => json!({"spec": pod}),
        "deployments" | "replicasets" => {
            let mut fields = workload();
            fields["spec"]["template"]["spec"] = pod;
            fields["spec"]["template"]["spec"]["containers"][0]["restartPolicy"] = Value::Null;
            fields["spec"]["minReadySeconds"] = 1.into();
            if name == "deployments" {
                fields["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "50%"}});
            }
            fields
        }
        "services" => {
            json!({"spec": {"type": "NodePort", "selector": {"a": "b"}, "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1"], "sessionAffinity": "ClientIP", "externalTrafficPolicy": "Local",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}, "externalIPs": ["1.1.1.1"], "externalName": "a",
            "ports": [{"name": "a", "port": 80, "targetPort": "http", "nodePort": 30080, "protocol": "TCP"},
                {"name": "b", "port": 81, "targetPort": 81}]}})
        }
        _ => plain,
    }
}

/// The JSON pointers of everything inside a value.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.replace('/', "~1"), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        let pointer = format!("{at}/{name}");
        pointers(child, &pointer, found);
        found.push(pointer);
    }
}

/// A value to put where another belongs.
fn intruder() -> impl Strategy<Value = Value> {
    let words = [
        "",
        "TCP",
        "None",
        "ClusterIP",
        "ExternalName",
        "Always",
        "25%",
        "101%",
        "10.0.0.1",
        "::1",
        "1Gi",
        "In",
        "Equal",
        "a",
        "v",
        "../x",
        "/x",
        "-1",
        "Recreate",
        "Localhost",
    ];
    prop_oneof![
        2 => Just(Value::Null),
        2 => prop::sample::select(vec![-1i64, 0, 1, 80, 30_080, 70_000, i64::MAX]).prop_map(Value::from),
        4 => prop::sample::select(words.to_vec()).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => "\\PC{0,8}".prop_map(Value::from),
        1 => Just(json!({})),
        1 => Just(json!([])),
        1 => Just(json!([null])),
        1 => Just(json!({"a": "b"})),
    ]
}

proptest! {
    #[test]
    fn no_body_makes_a_kind_panic_and_what_is_admitted_is_stable(
        index in 0usize..14,
        changes in prop::collection::vec((any::<prop::sample::Index>(), intruder()), 0..4),
        part in any::<bool>(),
    ) {
        let (name, fields) = samples().swap_remove(index);
        let kind = kind(name);
        let mut sent = body(kind, rich(name, fields));
        for (place, value) in changes {
            let mut places = Vec::new();
            pointers(&sent, "", &mut places);
            let pointer: &String = place.get(&places);
            *sent.pointer_mut(pointer).unwrap() = value;
        }
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
