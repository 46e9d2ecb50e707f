#![allow(clippy::unwrap_used)]

use crate::kind::{Admitted, Kind, Part, Refusal};
use crate::kinds::by_plural;
use serde_json::{Value, json};

fn services() -> &'static dyn Kind {
    by_plural("", "v1", "services").unwrap()
}

fn created(spec: Value) -> Value {
    let body = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "default"}, "spec": spec});
    services().create(body).unwrap().object
}

fn errors(result: Result<Admitted, Refusal>) -> Vec<String> {
    match result.unwrap_err() {
        Refusal::Invalid(errors) => errors
            .iter()
            .map(|error| format!("{}: {}", error.field, error.message))
            .collect(),
        Refusal::Malformed(text) => vec![text],
    }
}

/// As the allocator leaves it.
fn allocated(spec: Value) -> Value {
    let mut service = created(spec);
    service["spec"]["clusterIP"] = "10.96.0.5".into();
    service["spec"]["clusterIPs"] = json!(["10.96.0.5"]);
    service
}

#[test]
fn a_minimal_service_gets_kubernetes_defaults() {
    let service = created(json!({"selector": {"app": "a"}, "ports": [{"port": 80}]}));
    assert_eq!(
        service["spec"],
        json!({"selector": {"app": "a"}, "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"})
    );
    assert_eq!(service["status"], json!({"loadBalancer": {}}));
}

#[test]
fn a_headless_service_needs_no_ports() {
    let service = created(json!({"clusterIP": "None", "selector": {"app": "a"}}));
    assert_eq!(service["spec"]["clusterIPs"], json!(["None"]));
}

#[test]
fn client_affinity_lasts_three_hours_unless_told_otherwise() {
    let service = created(json!({"sessionAffinity": "ClientIP", "ports": [{"port": 80}]}));
    assert_eq!(
        service["spec"]["sessionAffinityConfig"],
        json!({"clientIP": {"timeoutSeconds": 10800}})
    );
}

#[test]
fn an_update_keeps_the_address_and_cannot_change_it() {
    let service = allocated(json!({"ports": [{"port": 80}]}));
    let mut body = service.clone();
    body["spec"] = json!({"ports": [{"port": 81}]});
    let updated = services()
        .update(body, &service, Part::Main)
        .unwrap()
        .object;
    assert_eq!(updated["spec"]["clusterIP"], "10.96.0.5");
    assert_eq!(updated["spec"]["clusterIPs"], json!(["10.96.0.5"]));
    let mut body = service.clone();
    body["spec"]["clusterIP"] = "10.96.0.6".into();
    assert_eq!(
        errors(services().update(body, &service, Part::Main)),
        [r#"spec.clusterIPs[0]: Invalid value: ["10.96.0.6"]: may not change once set"#]
    );
}

#[test]
fn node_ports_are_kept_while_the_type_has_them_and_dropped_after() {
    let mut service = allocated(json!({"type": "NodePort", "ports": [{"port": 80}]}));
    service["spec"]["ports"][0]["nodePort"] = 30080.into();
    let mut body = service.clone();
    body["spec"]["ports"] = json!([{"port": 80}]);
    let updated = services()
        .update(body.clone(), &service, Part::Main)
        .unwrap()
        .object;
    assert_eq!(updated["spec"]["ports"][0]["nodePort"], 30080);
    body["spec"]["ports"] = service["spec"]["ports"].clone();
    body["spec"]["type"] = "ClusterIP".into();
    let updated = services()
        .update(body, &service, Part::Main)
        .unwrap()
        .object;
    assert_eq!(updated["spec"]["ports"][0].get("nodePort"), None);
    assert_eq!(updated["spec"].get("externalTrafficPolicy"), None);
}

#[test]
fn becoming_an_external_name_gives_the_address_back() {
    let service = allocated(json!({"ports": [{"port": 80}]}));
    let mut body = service.clone();
    body["spec"]["type"] = "ExternalName".into();
    body["spec"]["externalName"] = "example.com".into();
    let updated = services()
        .update(body, &service, Part::Main)
        .unwrap()
        .object;
    assert_eq!(updated["spec"].get("clusterIP"), None);
}

#[test]
fn cells_read_as_kubectl_prints_them() {
    let now = "2026-01-01T01:00:00Z".parse().unwrap();
    let row = |mut service: Value| {
        service["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        let cells = services().cells(&service, now);
        cells
            .iter()
            .map(|cell| cell.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let service = allocated(
        json!({"selector": {"b": "2", "a": "1"}, "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 53, "protocol": "UDP"}]}),
    );
    assert_eq!(
        row(service),
        "s ClusterIP 10.96.0.5 <none> 80/TCP,53/UDP 60m a=1,b=2"
    );
    assert_eq!(
        row(created(json!({"clusterIP": "None"}))),
        "s ClusterIP None <none> <none> 60m <none>"
    );
    let external = created(json!({"type": "ExternalName", "externalName": "example.com"}));
    assert_eq!(
        row(external),
        "s ExternalName <none> example.com <none> 60m <none>"
    );
    let balanced =
        created(json!({"type": "LoadBalancer", "ports": [{"port": 80, "nodePort": 30080}]}));
    assert_eq!(
        row(balanced),
        "s LoadBalancer <none> <pending> 80:30080/TCP 60m <none>"
    );
}
