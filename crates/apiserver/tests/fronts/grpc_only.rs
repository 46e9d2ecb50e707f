//! What only the gRPC front has: the atomic apply, kinds, cluster status, health without a certificate.

use crate::suite::grpc::{Grpc, channel, failure};
use crate::suite::{admin, server, server_on};
use pontoon_state::{Replica as _, Solo};
use pontoon_wire::pontoon::v1 as wire;
use serde_json::{Value, json};
use tonic::Code;
use wire::applied::Action;

fn request(objects: &[Value]) -> wire::ApplyRequest {
    wire::ApplyRequest {
        objects: objects
            .iter()
            .map(|object| object.to_string().into())
            .collect(),
        default_namespace: String::new(),
        options: None,
    }
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn map(namespace: &str, name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data})
}

#[tokio::test]
async fn a_plan_tells_what_apply_would_do_and_what_becomes_of_pods_and_writes_nothing() {
    let store = Solo::new();
    let mut client = Grpc::new(server_on(store.clone()).await, admin()).objects;
    let before = store.view().revision();
    let all = [namespace("shop"), map("shop", "a", &json!({"k": "1"}))];
    let planned = client.plan(request(&all)).await.unwrap().into_inner();
    assert_eq!(planned.results.len(), 2);
    assert!(
        planned
            .results
            .iter()
            .all(|result| result.action() == Action::Created)
    );
    assert_eq!(planned.pods.len(), 2);
    let pod = &planned.pods[1];
    assert_eq!(
        (&*pod.namespace, &*pod.name, pod.change()),
        ("shop", "a", wire::planned_pod::Change::Made)
    );
    assert_eq!((&*pod.node, &*pod.reason), ("", "none fits"));
    assert!(planned.complete);
    assert_eq!(planned.revision, before.0);
    assert_eq!(store.view().revision(), before);

    client.apply(request(&all)).await.unwrap();
    let again = client.plan(request(&all)).await.unwrap().into_inner();
    assert!(again.pods.is_empty() && again.complete);

    let mut broken = namespace("shop");
    broken["metadata"]["name"] = json!("Not A Name");
    let refused = client.plan(request(&[broken])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}

#[tokio::test]
async fn an_apply_of_many_objects_is_one_revision_or_nothing() {
    let store = Solo::new();
    let mut client = Grpc::new(server_on(store.clone()).await, admin()).objects;
    let before = store.view().revision();
    let all = [
        map("shop", "a", &json!({"k": "1", "l": "2"})),
        namespace("shop"),
        map("shop", "b", &json!({"k": "1"})),
    ];
    let applied = client.apply(request(&all)).await.unwrap().into_inner();
    let actions = |applied: &wire::ApplyResponse| {
        applied
            .results
            .iter()
            .map(wire::Applied::action)
            .collect::<Vec<_>>()
    };
    assert_eq!(actions(&applied), [Action::Created; 3]);
    assert_eq!(
        applied.revision,
        before.0 + 1,
        "three objects, one revision"
    );

    let again = client.apply(request(&all)).await.unwrap().into_inner();
    assert_eq!(actions(&again), [Action::Unchanged; 3]);
    assert_eq!(store.view().revision().0, applied.revision);

    let changed = [
        map("shop", "a", &json!({"k": "3"})),
        map("shop", "c", &json!({})),
    ];
    let changed = client.apply(request(&changed)).await.unwrap().into_inner();
    assert_eq!(actions(&changed), [Action::Configured, Action::Created]);
    let a: Value =
        serde_json::from_slice(&changed.results[0].object.as_ref().unwrap().json).unwrap();
    assert_eq!(
        a["data"],
        json!({"k": "3"}),
        "what is no longer applied is removed"
    );

    let before = store.view().revision();
    let bad = [
        map("shop", "d", &json!({"k": "v"})),
        map("shop", "Not a name", &json!({})),
    ];
    let refused = client.apply(request(&bad)).await.unwrap_err();
    assert_eq!(
        (refused.code(), failure(&refused).code()),
        (Code::InvalidArgument, 422)
    );
    assert_eq!(store.view().revision(), before, "nothing is changed");
    let unknown = json!({"apiVersion": "v1", "kind": "Widget", "metadata": {"name": "x"}});
    assert_eq!(
        client.apply(request(&[unknown])).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let nowhere = client
        .apply(request(&[map("nowhere", "x", &json!({}))]))
        .await
        .unwrap_err();
    assert_eq!(nowhere.code(), Code::NotFound);
}

#[tokio::test]
async fn an_apply_keeps_what_others_set_and_removes_dropped_containers() {
    let mut client = Grpc::new(server().await, admin()).objects;
    let deployment = |containers: Value| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}},
            },
        })
    };
    let two = json!([{"name": "a", "image": "host", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}, {"name": "b", "image": "host"}]);
    client.apply(request(&[deployment(two)])).await.unwrap();
    let patch = wire::PatchRequest {
        target: Some(wire::Target {
            group: "apps".into(),
            resource: "deployments".into(),
            namespace: "default".into(),
            name: "web".into(),
            subresource: "scale".into(),
            ..Default::default()
        }),
        r#type: wire::patch_request::Type::Merge.into(),
        patch: json!({"spec": {"replicas": 5}}).to_string().into(),
        options: None,
    };
    client.patch(patch).await.unwrap();
    let one = json!([{"name": "a", "image": "host", "env": [{"name": "Y", "value": "3"}]}]);
    let applied = client
        .apply(request(&[deployment(one)]))
        .await
        .unwrap()
        .into_inner();
    let object: Value =
        serde_json::from_slice(&applied.results[0].object.as_ref().unwrap().json).unwrap();
    assert_eq!(
        object["spec"]["replicas"], 5,
        "a field the file does not have is another's"
    );
    let containers = object["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    assert_eq!(containers.len(), 1, "{containers:?}");
    assert_eq!(containers[0]["env"], json!([{"name": "Y", "value": "3"}]));
}

#[tokio::test]
async fn kinds_and_the_clusters_status_are_told() {
    let server = server().await;
    let mut objects = Grpc::new(server.clone(), admin()).objects;
    let kinds = objects
        .kinds(wire::KindsRequest {})
        .await
        .unwrap()
        .into_inner()
        .kinds;
    assert!(
        kinds
            .iter()
            .any(|kind| kind.kind == "Deployment" && kind.group == "apps" && kind.namespaced)
    );
    let mut cluster = wire::cluster_client::ClusterClient::new(channel(server, Some(admin())));
    let status = cluster
        .status(wire::StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!((status.cluster_id.as_str(), status.leader_id), ("test", 1));
    assert!(status.kubernetes_version.starts_with("v1.36"));
}

#[tokio::test]
async fn nobody_sees_anything_but_health() {
    let server = server().await;
    let mut objects = wire::objects_client::ObjectsClient::new(channel(server.clone(), None));
    let refused = objects.kinds(wire::KindsRequest {}).await.unwrap_err();
    assert_eq!(
        (refused.code(), failure(&refused).code()),
        (Code::Unauthenticated, 401)
    );
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel(server, None));
    let request = tonic_health::pb::HealthCheckRequest {
        service: String::new(),
    };
    assert_eq!(health.check(request).await.unwrap().into_inner().status, 1);
}

#[tokio::test]
async fn a_bad_object_is_refused_before_the_verbs() {
    let mut client = Grpc::new(server().await, admin()).objects;
    let target = Some(wire::Target {
        resource: "configmaps".into(),
        namespace: "default".into(),
        ..Default::default()
    });
    for (json, code, reason) in [
        ("{".to_owned(), Code::InvalidArgument, "BadRequest"),
        (String::new(), Code::InvalidArgument, "BadRequest"),
        (
            r#"{"metadata":{"name":"x"},"datta":1}"#.into(),
            Code::InvalidArgument,
            "BadRequest",
        ),
        (
            format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000)),
            Code::InvalidArgument,
            "BadRequest",
        ),
        (
            "x".repeat(4 << 20),
            Code::ResourceExhausted,
            "RequestEntityTooLarge",
        ),
    ] {
        let request = wire::CreateRequest {
            target: target.clone(),
            json: json.into(),
            options: None,
        };
        let error = client.create(request).await.unwrap_err();
        assert_eq!((error.code(), failure(&error).reason()), (code, reason));
    }
    let request = wire::GetRequest {
        target: None,
        at_revision: 0,
    };
    assert_eq!(
        client.get(request).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}
