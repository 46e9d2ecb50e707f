//! Objects from creation to change: names, namespaces, dry runs.

use crate::suite::front::{Change, Place};
use crate::suite::stage::{Stage, map, maps, version};
use serde_json::{Value, json};

pub async fn an_object_lives_from_create_to_delete(stage: Stage) {
    let created = stage.made(&maps(), map("x")).await;
    assert!(!created["metadata"]["uid"].as_str().unwrap().is_empty());
    assert_eq!(created["metadata"]["namespace"], "default");
    assert_eq!(stage.front.get(&maps(), "x", "").await.unwrap(), created);
    let again = stage
        .front
        .create(&maps(), "", "", &map("x"), false)
        .await
        .unwrap_err();
    assert_eq!(
        (again.code(), again.reason(), again.message()),
        (409, "AlreadyExists", "configmaps \"x\" already exists")
    );
    let mut changed = created.clone();
    changed["data"]["k"] = json!("w");
    let updated = stage
        .front
        .update(&maps(), "x", "", &changed)
        .await
        .unwrap();
    assert!(version(&updated) > version(&created));
    let stale = stage
        .front
        .update(&maps(), "x", "", &changed)
        .await
        .unwrap_err();
    assert_eq!((stale.code(), stale.reason()), (409, "Conflict"));
    assert!(
        stale
            .message()
            .ends_with("please apply your changes to the latest version and try again")
    );
    stage.front.delete(&maps(), "x", &json!({})).await.unwrap();
    let gone = stage.front.get(&maps(), "x", "").await.unwrap_err();
    assert_eq!(
        (gone.code(), gone.message()),
        (404, "configmaps \"x\" not found")
    );
    assert_eq!(
        stage
            .front
            .delete(&maps(), "x", &json!({}))
            .await
            .unwrap_err()
            .code(),
        404
    );
}

pub async fn an_update_that_changes_nothing_keeps_the_revision(stage: Stage) {
    let created = stage.made(&maps(), map("x")).await;
    let updated = stage
        .front
        .update(&maps(), "x", "", &created)
        .await
        .unwrap();
    assert_eq!(updated, created);
    let mut blind = created.clone();
    blind["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    assert_eq!(
        stage.front.update(&maps(), "x", "", &blind).await.unwrap(),
        created
    );
    let same = Change::Merge(json!({"data": {"k": "v"}}));
    assert_eq!(
        stage.front.patch(&maps(), "x", "", &same).await.unwrap(),
        created
    );
    assert_eq!(stage.revision(), version(&created));
}

pub async fn an_update_never_creates_nor_renames(stage: Stage) {
    assert_eq!(
        stage
            .front
            .update(&maps(), "x", "", &map("x"))
            .await
            .unwrap_err()
            .code(),
        404
    );
    stage.made(&maps(), map("x")).await;
    let renamed = stage
        .front
        .update(&maps(), "x", "", &map("y"))
        .await
        .unwrap_err();
    assert_eq!(renamed.code(), 400);
    assert_eq!(
        renamed.message(),
        "the name of the object (y) does not match the name on the URL (x)"
    );
    let mut other = map("x");
    other["metadata"]["uid"] = json!("not-it");
    assert_eq!(
        stage
            .front
            .update(&maps(), "x", "", &other)
            .await
            .unwrap_err()
            .code(),
        409
    );
    let leases = Place {
        group: "coordination.k8s.io",
        version: "v1",
        resource: "leases",
        namespace: "default".into(),
    };
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}});
    stage.made(&leases, lease.clone()).await;
    let blind = stage
        .front
        .update(&leases, "l", "", &lease)
        .await
        .unwrap_err();
    assert_eq!(blind.code(), 422);
    assert!(
        blind.message().contains(
            "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
        )
    );
}

pub async fn names_are_generated(stage: Stage) {
    let mut body = map("x");
    body["metadata"] = json!({"generateName": "job-"});
    let (one, other) = (
        stage.made(&maps(), body.clone()).await,
        stage.made(&maps(), body).await,
    );
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(
        name(&one).starts_with("job-") && name(&one).len() == 9,
        "{one}"
    );
    assert_ne!(name(&one), name(&other));
}

pub async fn nothing_is_created_in_a_namespace_that_is_missing_or_going(stage: Stage) {
    let nowhere = Place::core("configmaps", "nowhere");
    let missing = stage
        .front
        .create(&nowhere, "", "", &map("x"), false)
        .await
        .unwrap_err();
    assert_eq!(
        (missing.code(), missing.message()),
        (404, "namespaces \"nowhere\" not found")
    );
    let namespaces = Place::core("namespaces", "");
    stage
        .made(
            &namespaces,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "going"}}),
        )
        .await;
    stage
        .front
        .delete(&namespaces, "going", &json!({}))
        .await
        .unwrap();
    let going = stage.front.get(&namespaces, "going", "").await.unwrap();
    assert_eq!(going["status"]["phase"], "Terminating");
    let refused = stage
        .front
        .create(
            &Place::core("configmaps", "going"),
            "",
            "",
            &map("x"),
            false,
        )
        .await
        .unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (403, "Forbidden"));
    assert_eq!(
        refused.status["details"]["causes"][0]["reason"],
        "NamespaceTerminating"
    );
    let immortal = stage
        .front
        .delete(&namespaces, "default", &json!({}))
        .await
        .unwrap_err();
    assert_eq!((immortal.code(), immortal.reason()), (403, "Forbidden"));
    let mut empty = going;
    empty["spec"]["finalizers"] = json!([]);
    stage
        .front
        .update(&namespaces, "going", "finalize", &empty)
        .await
        .unwrap();
    assert_eq!(
        stage
            .front
            .get(&namespaces, "going", "")
            .await
            .unwrap_err()
            .code(),
        404
    );
}

pub async fn a_dry_run_answers_and_stores_nothing(stage: Stage) {
    let before = stage.revision();
    let dry = stage
        .front
        .create(&maps(), "", "", &map("x"), true)
        .await
        .unwrap();
    assert_eq!(dry["metadata"]["name"], "x");
    assert_eq!(stage.revision(), before);
    stage.made(&maps(), map("x")).await;
    assert_eq!(
        stage
            .front
            .create(&maps(), "", "", &map("x"), true)
            .await
            .unwrap_err()
            .code(),
        409
    );
    stage
        .front
        .delete(&maps(), "x", &json!({"dryRun": ["All"]}))
        .await
        .unwrap();
    stage.front.get(&maps(), "x", "").await.unwrap();
}

pub async fn what_is_not_served_is_404(stage: Stage) {
    let nothing = Place::core("widgets", "default");
    assert_eq!(
        stage.front.get(&nothing, "x", "").await.unwrap_err().code(),
        404
    );
    assert_eq!(
        stage
            .front
            .get(&maps(), "x", "status")
            .await
            .unwrap_err()
            .code(),
        404
    );
}
