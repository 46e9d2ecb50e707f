//! Changes of parts of an object: status, scale, patches.

use crate::suite::front::{Change, Place};
use crate::suite::stage::{Stage, deployment, map, maps};
use serde_json::{Value, json};

pub async fn status_and_spec_are_written_apart(stage: Stage) {
    let deployments = Place::apps("deployments", "default");
    let created = stage.made(&deployments, deployment("web")).await;
    assert_eq!(created["metadata"]["generation"], 1);
    let mut both = created.clone();
    both["status"] = json!({"replicas": 2, "observedGeneration": 1});
    both["spec"]["replicas"] = json!(7);
    let status = stage
        .front
        .update(&deployments, "web", "status", &both)
        .await
        .unwrap();
    assert_eq!(
        (&status["spec"]["replicas"], &status["status"]["replicas"]),
        (&json!(2), &json!(2)),
        "{status}"
    );
    assert_eq!(status["metadata"]["generation"], 1);
    let mut spec = status.clone();
    spec["spec"]["replicas"] = json!(3);
    spec["status"] = json!({"replicas": 9});
    let main = stage
        .front
        .update(&deployments, "web", "", &spec)
        .await
        .unwrap();
    assert_eq!(
        (&main["spec"]["replicas"], &main["status"]["replicas"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(main["metadata"]["generation"], 2);
}

pub async fn a_workload_is_scaled_through_its_subresource(stage: Stage) {
    let deployments = Place::apps("deployments", "default");
    stage.made(&deployments, deployment("web")).await;
    let scale = stage.front.get(&deployments, "web", "scale").await.unwrap();
    assert_eq!(
        (&scale["kind"], &scale["apiVersion"]),
        (&json!("Scale"), &json!("autoscaling/v1"))
    );
    assert_eq!(
        (&scale["spec"]["replicas"], &scale["status"]["selector"]),
        (&json!(2), &json!("app=web"))
    );
    let mut more = scale.clone();
    more["spec"]["replicas"] = json!(5);
    assert_eq!(
        stage
            .front
            .update(&deployments, "web", "scale", &more)
            .await
            .unwrap()["spec"]["replicas"],
        5
    );
    assert_eq!(
        stage
            .front
            .update(&deployments, "web", "scale", &more)
            .await
            .unwrap_err()
            .code(),
        409
    );
    let patch = Change::Merge(json!({"spec": {"replicas": 1}}));
    assert_eq!(
        stage
            .front
            .patch(&deployments, "web", "scale", &patch)
            .await
            .unwrap()["spec"]["replicas"],
        1
    );
    assert_eq!(
        stage.front.get(&deployments, "web", "").await.unwrap()["spec"]["replicas"],
        1
    );
    let negative = Change::Merge(json!({"spec": {"replicas": -1}}));
    assert_eq!(
        stage
            .front
            .patch(&deployments, "web", "scale", &negative)
            .await
            .unwrap_err()
            .code(),
        422
    );
}

pub async fn patches_of_each_type_apply_or_say_why_not(stage: Stage) {
    let deployments = Place::apps("deployments", "default");
    stage.made(&deployments, deployment("web")).await;
    let strategic = Change::Strategic(
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "host2"}, {"name": "d", "image": "host"}]}}}}),
    );
    let patched = stage
        .front
        .patch(&deployments, "web", "", &strategic)
        .await
        .unwrap();
    let containers = patched["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    assert_eq!(containers.len(), 2);
    let c = containers
        .iter()
        .find(|container| container["name"] == "c")
        .unwrap();
    assert_eq!(
        (&c["image"], &c["command"][0]),
        (&json!("host2"), &json!("sleep"))
    );
    let tested = Change::Json(json!([{"op": "test", "path": "/spec/replicas", "value": 99}]));
    let failed = stage
        .front
        .patch(&deployments, "web", "", &tested)
        .await
        .unwrap_err();
    assert_eq!((failed.code(), failed.reason()), (422, "Invalid"));
    let operations: Vec<Value> = (0..10_001)
        .map(|_| json!({"op": "test", "path": "/kind", "value": "Deployment"}))
        .collect();
    let long = stage
        .front
        .patch(&deployments, "web", "", &Change::Json(operations.into()))
        .await
        .unwrap_err();
    assert_eq!((long.code(), long.reason()), (413, "RequestEntityTooLarge"));
    let stale =
        Change::Merge(json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 4}}));
    assert_eq!(
        stage
            .front
            .patch(&deployments, "web", "", &stale)
            .await
            .unwrap_err()
            .code(),
        409
    );
    let mismatch =
        Change::Merge(json!({"spec": {"template": {"metadata": {"labels": {"app": "other"}}}}}));
    let refused = stage
        .front
        .patch(&deployments, "web", "", &mismatch)
        .await
        .unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (422, "Invalid"));
    assert_eq!(
        stage
            .front
            .patch(&maps(), "none", "", &Change::Merge(json!({})))
            .await
            .unwrap_err()
            .code(),
        404
    );
}

pub async fn racing_patches_all_land(stage: Stage) {
    stage.made(&maps(), map("x")).await;
    let patches = (0..4).map(|index| {
        let front = &stage.front;
        async move {
            let change = Change::Merge(json!({"data": {format!("k{index}"): "v"}}));
            front
                .patch(&maps(), "x", "", &change)
                .await
                .unwrap_or_else(|error| panic!("{}", error.status))
        }
    });
    futures::future::join_all(patches).await;
    let data = stage.front.get(&maps(), "x", "").await.unwrap()["data"].clone();
    assert_eq!(data.as_object().unwrap().len(), 5, "{data}");
}
