#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::json;

fn references() -> References {
    let map = json!({"kind": "ConfigMap", "metadata": {"name": "settings"},
        "data": {"colour": "blue", "bad name": "x", "SIZE": "9"}});
    let secret =
        json!({"kind": "Secret", "metadata": {"name": "keys"}, "data": {"token": "c2VjcmV0"}});
    let objects = [map, secret].map(|object| object.to_string().into());
    References::parse(&objects).unwrap()
}

fn built(
    container: serde_json::Value,
    services: &[Service],
) -> Result<BTreeMap<String, String>, ConfigError> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1",
            "labels": {"app": "web"}, "annotations": {"a/b": "c"}},
        "spec": {"nodeName": "n1", "serviceAccountName": "sa", "containers": [container]},
    }))
    .unwrap();
    let references = references();
    let (pod_ips, host_ips) = (
        ["10.1.0.5".parse().unwrap()],
        ["192.0.2.1".parse().unwrap()],
    );
    let facts = Facts {
        pod: &pod,
        references: &references,
        pod_ips: &pod_ips,
        host_ips: &host_ips,
        node_cpu_millis: 2_000,
        node_memory_bytes: 1 << 30,
        services,
    };
    let container = &pod.spec.as_ref().unwrap().containers[0];
    Ok(build(&facts, container)?.into_iter().collect())
}

#[test]
fn values_come_from_text_fields_resources_config_maps_and_secrets() {
    let env = built(
        json!({"name": "web", "resources": {"limits": {"cpu": "1500m"}},
            "envFrom": [{"prefix": "CFG_", "configMapRef": {"name": "settings"}},
                {"secretRef": {"name": "none", "optional": true}}],
            "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)-$$(A)-$(NONE)-$(CFG_SIZE)"},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "MILLIS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
            {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
            {"name": "GONE", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "x", "optional": true}}}]}),
        &[],
    )
    .unwrap();
    let expected = [
        ("A", "1"),
        ("B", "1-$(A)-$(NONE)-9"),
        ("CFG_SIZE", "9"),
        ("CFG_colour", "blue"),
        ("COLOUR", "blue"),
        ("CPU", "2"),
        ("HOST", "192.0.2.1"),
        ("IP", "10.1.0.5"),
        ("LABEL", "web"),
        ("MEM", "1024"),
        ("MILLIS", "1500"),
        ("NAME", "web"),
        ("TOKEN", "secret"),
    ];
    let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(env, BTreeMap::from(expected));
}

#[test]
fn what_is_missing_is_said_in_kubelets_words() {
    let refused = |variable: serde_json::Value| {
        let container = json!({"name": "web", "env": [{"name": "X", "valueFrom": variable}]});
        built(container, &[]).unwrap_err().message
    };
    let key = |map: &str, key: &str| json!({"name": map, "key": key});
    assert_eq!(
        refused(json!({"configMapKeyRef": key("none", "x")})),
        "configmap \"none\" not found"
    );
    assert_eq!(
        refused(json!({"configMapKeyRef": key("settings", "x")})),
        "couldn't find key x in ConfigMap shop/settings"
    );
    assert_eq!(
        refused(json!({"secretKeyRef": key("keys", "x")})),
        "couldn't find key x in Secret shop/keys"
    );
    let from = json!({"name": "web", "envFrom": [{"secretRef": {"name": "none"}}]});
    assert_eq!(
        built(from, &[]).unwrap_err().message,
        "secret \"none\" not found"
    );
}

#[test]
fn services_of_the_namespace_and_the_api_server_have_variables() {
    let service = |namespace: &str, name: &str| -> Service {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": "10.96.0.9", "ports": [{"name": "http-web", "port": 80}]}}))
        .unwrap()
    };
    let services = [
        service("default", "kubernetes"),
        service("shop", "my-db"),
        service("other", "hidden"),
    ];
    let env = built(json!({"name": "web"}), &services).unwrap();
    assert_eq!(env["KUBERNETES_SERVICE_HOST"], "10.96.0.9");
    assert_eq!(env["MY_DB_SERVICE_PORT_HTTP_WEB"], "80");
    assert_eq!(env["MY_DB_PORT"], "tcp://10.96.0.9:80");
    assert_eq!(env["MY_DB_PORT_80_TCP_ADDR"], "10.96.0.9");
    assert!(!env.keys().any(|name| name.starts_with("HIDDEN")));
}

#[test]
fn a_dollar_alone_stays() {
    let known = [("A".to_owned(), "1".to_owned())];
    for (text, wanted) in [
        ("$", "$"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("$$$(A)", "$1"),
        ("", ""),
        ("$(A)$(A)", "11"),
    ] {
        assert_eq!(expand(text, &known), wanted, "{text:?}");
    }
}
