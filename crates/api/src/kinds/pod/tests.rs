#![allow(clippy::unwrap_used)]

use crate::kind::{Kind, Part, Refusal};
use crate::kinds::by_plural;
use serde_json::{Value, json};

fn pods() -> &'static dyn Kind {
    by_plural("", "v1", "pods").unwrap()
}

fn body(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": spec})
}

fn created(spec: Value) -> Value {
    pods().create(body(spec)).unwrap().object
}

fn errors(result: Result<crate::Admitted, Refusal>) -> Vec<String> {
    match result.unwrap_err() {
        Refusal::Invalid(errors) => errors
            .iter()
            .map(|error| format!("{} {}", error.kind.as_str(), error.field))
            .collect(),
        Refusal::Malformed(text) => vec![text],
    }
}

#[test]
fn a_minimal_pod_gets_kubernetes_defaults() {
    let pod = created(json!({"containers": [{"name": "c", "image": "app:1"}]}));
    assert_eq!(
        pod["spec"],
        json!({"containers": [{"name": "c", "image": "app:1", "resources": {}, "imagePullPolicy": "IfNotPresent",
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "securityContext": {}, "schedulerName": "default-scheduler", "enableServiceLinks": true})
    );
    assert_eq!(
        pod["status"],
        json!({"phase": "Pending", "qosClass": "BestEffort"})
    );
    assert_eq!(pod["metadata"]["generation"], 1);
}

#[test]
fn defaulting_is_idempotent_and_an_equal_update_changes_nothing() {
    let pod = created(
        json!({"containers": [{"name": "c", "image": "app", "ports": [{"containerPort": 80}],
            "livenessProbe": {"httpGet": {"port": "http"}}, "resources": {"limits": {"cpu": "0.5"}},
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}],
        "volumes": [{"name": "a"}, {"name": "b", "configMap": {"name": "x"}}, {"name": "c", "hostPath": {"path": "/x"}}]}),
    );
    let again = pods().update(pod.clone(), &pod, Part::Main).unwrap().object;
    assert_eq!(again, pod);
    assert_eq!(
        pod["spec"]["containers"][0]["resources"]["requests"]["cpu"],
        "500m"
    );
    assert_eq!(
        pod["spec"]["volumes"][2]["hostPath"],
        json!({"path": "/x", "type": ""})
    );
}

#[test]
fn zero_values_that_kubernetes_leaves_out_are_the_same_as_none() {
    let plain = created(json!({"containers": [{"name": "c", "image": "app:1"}]}));
    let spelled = created(
        json!({"hostNetwork": false, "nodeName": "", "volumes": [], "nodeSelector": {}, "tolerations": null,
        "containers": [{"name": "c", "image": "app:1", "stdin": false, "env": [], "workingDir": "", "command": null}]}),
    );
    assert_eq!(plain, spelled);
}

#[test]
fn quality_of_service_follows_requests_and_limits() {
    let quality = |resources: Value| {
        created(json!({"containers": [{"name": "c", "image": "a", "resources": resources}]}))["status"]["qosClass"].clone()
    };
    assert_eq!(quality(json!({})), "BestEffort");
    assert_eq!(quality(json!({"requests": {"cpu": "1"}})), "Burstable");
    assert_eq!(quality(json!({"limits": {"cpu": "1"}})), "Burstable");
    assert_eq!(
        quality(json!({"limits": {"cpu": "1", "memory": "1Gi"}})),
        "Guaranteed"
    );
    assert_eq!(
        quality(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})),
        "Burstable"
    );
}

#[test]
fn of_a_pods_spec_only_images_and_a_few_others_may_change() {
    let pod = created(json!({"containers": [{"name": "c", "image": "app:1"}]}));
    let change = |pointer: &str, value: Value| {
        let mut body = pod.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[name] = value;
        pods().update(body, &pod, Part::Main)
    };
    let changed = change("/spec/containers/0/image", json!("app:2"))
        .unwrap()
        .object;
    assert_eq!(changed["metadata"]["generation"], 2);
    change("/spec/activeDeadlineSeconds", json!(5)).unwrap();
    change(
        "/spec/tolerations",
        json!([{"key": "a", "operator": "Exists"}]),
    )
    .unwrap();
    assert_eq!(
        errors(change("/spec/containers/0/args", json!(["x"]))),
        ["FieldValueForbidden spec"]
    );
    assert_eq!(
        errors(change("/spec/nodeName", json!("n"))),
        ["FieldValueForbidden spec"]
    );
    let two = json!([{"name": "c", "image": "app:1"}, {"name": "d", "image": "app:1"}]);
    assert_eq!(
        errors(change("/spec/containers", two)),
        ["FieldValueForbidden spec.containers"]
    );
}

#[test]
fn a_status_write_leaves_the_spec_and_a_spec_write_leaves_the_status() {
    let pod = created(json!({"containers": [{"name": "c", "image": "app:1"}]}));
    let mut body = pod.clone();
    body["status"]["phase"] = "Running".into();
    body["spec"]["containers"][0]["image"] = "other:1".into();
    let status = pods()
        .update(body.clone(), &pod, Part::Status)
        .unwrap()
        .object;
    assert_eq!(status["status"]["phase"], "Running");
    assert_eq!(status["spec"], pod["spec"]);
    assert_eq!(status["metadata"]["generation"], 1);
    let main = pods().update(body, &pod, Part::Main).unwrap().object;
    assert_eq!(main["status"], pod["status"]);
    assert_eq!(main["spec"]["containers"][0]["image"], "other:1");
}

#[test]
fn identity_is_carried_over_and_cannot_change() {
    let mut pod = created(json!({"containers": [{"name": "c", "image": "app:1"}]}));
    pod["metadata"]["uid"] = "u".into();
    pod["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    let mut body = pod.clone();
    body["metadata"].as_object_mut().unwrap().remove("uid");
    body["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("creationTimestamp");
    let same = pods()
        .update(body.clone(), &pod, Part::Main)
        .unwrap()
        .object;
    assert_eq!(same, pod);
    body["metadata"]["uid"] = "v".into();
    assert_eq!(
        errors(pods().update(body, &pod, Part::Main)),
        ["FieldValueInvalid metadata.uid"]
    );
}

#[test]
fn fields_without_effect_are_named() {
    let admitted = pods()
        .create(body(
            json!({"hostPID": true, "volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}],
            "containers": [{"name": "c", "image": "a", "securityContext": {"privileged": true}}]}),
        ))
        .unwrap();
    let fields: Vec<&str> = admitted
        .warnings
        .iter()
        .filter_map(|text| text.split(':').next())
        .collect();
    assert_eq!(
        fields,
        [
            "spec.hostPID",
            "spec.containers[0].securityContext.privileged",
            "spec.volumes[0].nfs"
        ]
    );
}

#[test]
fn every_mistake_is_reported_at_once() {
    let found = errors(pods().create(body(json!({"restartPolicy": "Sometimes", "containers": [
        {"name": "A", "ports": [{"containerPort": 80, "hostPort": 1}, {"containerPort": 81, "hostPort": 1}]}],
        "volumes": [{"name": "v", "secret": {}}]}))));
    assert_eq!(
        found,
        [
            "FieldValueRequired spec.volumes[0].secret.secretName",
            "FieldValueInvalid spec.containers[0].name",
            "FieldValueRequired spec.containers[0].image",
            "FieldValueDuplicate spec.containers[0].ports[1].hostPort",
            "FieldValueNotSupported spec.restartPolicy",
        ]
    );
}

/// A pod with a field of its spec, or of its only container, set otherwise; and what is wrong with it.
fn mistakes(pointer: &str, value: Value) -> Vec<String> {
    let mut sent =
        body(json!({"containers": [{"name": "c", "image": "app:1"}], "volumes": [{"name": "v"}]}));
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = match parent.strip_prefix("/c") {
        Some(rest) => format!("/spec/containers/0{rest}"),
        None => format!("/spec{parent}"),
    };
    sent.pointer_mut(&parent).unwrap()[name] = value;
    match pods().create(sent) {
        Ok(_) => Vec::new(),
        Err(Refusal::Invalid(errors)) => errors.iter().map(ToString::to_string).collect(),
        Err(Refusal::Malformed(text)) => vec![text],
    }
}

#[test]
fn mistakes_are_told_in_kubernetes_words() {
    for (pointer, value, expected) in [
        (
            "/c/resources",
            json!({"requests": {"cpu": "-1"}}),
            r#"spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0"#,
        ),
        (
            "/c/resources",
            json!({"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}),
            r#"spec.containers[0].resources.requests[memory]: Invalid value: "2Gi": must be less than or equal to memory limit of 1Gi"#,
        ),
        (
            "/c/resources",
            json!({"requests": {"example.com/gpu": "1"}}),
            "spec.containers[0].resources.limits[example.com/gpu]: Required value: Limit must be set for non overcommitable resources",
        ),
        (
            "/c/env",
            json!([{"name": "", "value": "x"}]),
            "spec.containers[0].env[0].name: Required value",
        ),
        (
            "/c/env",
            json!([{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
            r#"spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty"#,
        ),
        (
            "/c/env",
            json!([{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.gpu"}}}]),
            r#"spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gpu": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory""#,
        ),
        (
            "/c/env",
            json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": ""}}}]),
            "spec.containers[0].env[0].valueFrom.secretKeyRef.key: Required value",
        ),
        (
            "/c/envFrom",
            json!([{}]),
            r#"spec.containers[0].envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or `secretRef`"#,
        ),
        (
            "/c/livenessProbe",
            json!({}),
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
        ),
        (
            "/c/livenessProbe",
            json!({"exec": {"command": ["x"]}, "tcpSocket": {"port": 1}}),
            "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
        ),
        (
            "/c/readinessProbe",
            json!({"httpGet": {"port": 0}}),
            "spec.containers[0].readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            "/c/readinessProbe",
            json!({"exec": {"command": ["x"]}, "periodSeconds": -1}),
            "spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "/c/lifecycle",
            json!({"preStop": {"sleep": {"seconds": 31}}}),
            "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
        ),
        (
            "/c/volumeMounts",
            json!([{"name": "v", "mountPath": "/v", "subPath": "../x"}]),
            r#"spec.containers[0].volumeMounts[0].subPath: Invalid value: "../x": must not contain '..'"#,
        ),
        (
            "/volumes",
            json!([{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]),
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            "/volumes",
            json!([{"name": "v"}, {"name": "v"}]),
            r#"spec.volumes[1].name: Duplicate value: "v""#,
        ),
        (
            "/volumes",
            json!([{"name": "v", "configMap": {"name": "m", "defaultMode": 512}}]),
            "spec.volumes[0].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
        ),
        (
            "/volumes",
            json!([{"name": "v", "configMap": {"name": "m", "items": [{"key": "k", "path": "/x"}]}}]),
            r#"spec.volumes[0].configMap.items[0].path: Invalid value: "/x": must be a relative path"#,
        ),
        (
            "/volumes",
            json!([{"name": "v", "hostPath": {"path": "/x", "type": "Door"}}]),
            r#"spec.volumes[0].hostPath.type: Unsupported value: "Door": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket""#,
        ),
        (
            "/affinity",
            json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}),
            "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty",
        ),
        (
            "/tolerations",
            json!([{"operator": "Equal"}]),
            r#"spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys""#,
        ),
        (
            "/topologySpreadConstraints",
            json!([{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]),
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
        ),
        (
            "/dnsPolicy",
            json!("None"),
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            "/hostname",
            json!("A"),
            "spec.hostname: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ),
        (
            "/securityContext",
            json!({"runAsUser": -1}),
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            "/terminationGracePeriodSeconds",
            json!(-1),
            "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "/hostAliases",
            json!([{"ip": "x"}]),
            r#"spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#,
        ),
        (
            "/schedulingGates",
            json!([{"name": "a"}, {"name": "a"}]),
            r#"spec.schedulingGates[1]: Duplicate value: "a""#,
        ),
    ] {
        assert_eq!(mistakes(pointer, value), [expected], "{pointer}");
    }
}
