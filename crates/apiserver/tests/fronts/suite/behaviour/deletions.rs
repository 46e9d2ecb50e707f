//! Deletions: finalizers, preconditions, grace, collections.

use crate::suite::front::{Change, Place, Query};
use crate::suite::stage::{Stage, labelled, map, maps, pod};
use serde_json::json;

pub async fn finalizers_hold_a_deleted_object(stage: Stage) {
    let mut held = map("x");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    stage.made(&maps(), held).await;
    stage
        .front
        .delete(&maps(), "x", &json!({"propagationPolicy": "Foreground"}))
        .await
        .unwrap();
    let going = stage.front.get(&maps(), "x", "").await.unwrap();
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(
        going["metadata"]["finalizers"],
        json!(["example.com/hold", "foregroundDeletion"])
    );
    stage
        .front
        .delete(&maps(), "x", &json!({"propagationPolicy": "Orphan"}))
        .await
        .unwrap();
    let orphaning = stage.front.get(&maps(), "x", "").await.unwrap();
    assert_eq!(
        orphaning["metadata"]["finalizers"],
        json!(["example.com/hold", "orphan"])
    );
    let free = Change::Json(json!([{"op": "remove", "path": "/metadata/finalizers"}]));
    stage.front.patch(&maps(), "x", "", &free).await.unwrap();
    assert_eq!(
        stage.front.get(&maps(), "x", "").await.unwrap_err().code(),
        404
    );
}

pub async fn a_deletion_obeys_its_preconditions(stage: Stage) {
    let created = stage.made(&maps(), map("x")).await;
    let wrong = stage
        .front
        .delete(&maps(), "x", &json!({"preconditions": {"uid": "nope"}}))
        .await
        .unwrap_err();
    assert_eq!((wrong.code(), wrong.reason()), (409, "Conflict"));
    assert!(
        wrong
            .message()
            .contains("Precondition failed: UID in precondition: nope"),
        "{}",
        wrong.message()
    );
    let old = json!({"preconditions": {"resourceVersion": "1"}});
    assert_eq!(
        stage
            .front
            .delete(&maps(), "x", &old)
            .await
            .unwrap_err()
            .code(),
        409
    );
    let right = json!({"preconditions": {"uid": created["metadata"]["uid"], "resourceVersion": created["metadata"]["resourceVersion"]}});
    stage.front.delete(&maps(), "x", &right).await.unwrap();
}

pub async fn a_bound_pod_gets_its_grace_and_an_unbound_one_goes_at_once(stage: Stage) {
    let pods = Place::core("pods", "default");
    stage.made(&pods, pod("free")).await;
    stage.front.delete(&pods, "free", &json!({})).await.unwrap();
    assert_eq!(
        stage.front.get(&pods, "free", "").await.unwrap_err().code(),
        404
    );
    let created = stage.made(&pods, pod("bound")).await;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "n1"}});
    stage
        .front
        .create(&pods, "bound", "binding", &binding, false)
        .await
        .unwrap();
    let twice = stage
        .front
        .create(&pods, "bound", "binding", &binding, false)
        .await
        .unwrap_err();
    assert_eq!(twice.code(), 409);
    assert!(
        twice
            .message()
            .contains("is already assigned to node \"n1\""),
        "{}",
        twice.message()
    );
    stage
        .front
        .delete(&pods, "bound", &json!({}))
        .await
        .unwrap();
    let going = stage.front.get(&pods, "bound", "").await.unwrap();
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(going["metadata"]["uid"], created["metadata"]["uid"]);
    assert_eq!(going["spec"]["nodeName"], "n1");
    let scheduled = going["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .any(|found| found["type"] == "PodScheduled");
    assert!(scheduled, "{going}");
    let before = stage.revision();
    stage
        .front
        .delete(&pods, "bound", &json!({"gracePeriodSeconds": 60}))
        .await
        .unwrap();
    assert_eq!(
        stage.revision(),
        before,
        "a deletion is hurried, not slowed"
    );
    stage
        .front
        .delete(&pods, "bound", &json!({"gracePeriodSeconds": 5}))
        .await
        .unwrap();
    assert_eq!(
        stage.front.get(&pods, "bound", "").await.unwrap()["metadata"]["deletionGracePeriodSeconds"],
        5
    );
    stage
        .front
        .delete(&pods, "bound", &json!({"gracePeriodSeconds": 0}))
        .await
        .unwrap();
    assert_eq!(
        stage
            .front
            .get(&pods, "bound", "")
            .await
            .unwrap_err()
            .code(),
        404
    );
    stage.made(&pods, pod("evicted")).await;
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "evicted"}});
    stage
        .front
        .create(&pods, "evicted", "eviction", &eviction, false)
        .await
        .unwrap();
    assert_eq!(
        stage
            .front
            .get(&pods, "evicted", "")
            .await
            .unwrap_err()
            .code(),
        404
    );
}

pub async fn a_collection_is_deleted_by_selector(stage: Stage) {
    for (name, tier) in [("a", "web"), ("b", "db"), ("c", "web")] {
        stage.made(&maps(), labelled(name, tier)).await;
    }
    assert_eq!(
        stage.front.delete_all(&maps(), "tier=web").await.unwrap(),
        2
    );
    assert_eq!(
        stage
            .front
            .list(&maps(), &Query::default())
            .await
            .unwrap()
            .names(),
        ["b"]
    );
}
