//! Events, which are one object in two groups.

use crate::suite::front::{Place, Query};
use crate::suite::stage::{Stage, next};
use serde_json::json;

fn newer() -> Place {
    Place {
        group: "events.k8s.io",
        ..Place::core("events", "default")
    }
}

pub async fn an_event_of_one_group_is_one_of_the_other(stage: Stage) {
    let watched = Query {
        fields: "regarding.name=p",
        ..Query::default()
    };
    let mut watching = stage.front.watch(&newer(), &watched, 0).await;
    let old = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "old"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "message": "it began", "reason": "Began",
    });
    stage.made(&Place::core("events", "default"), old).await;
    let shown = stage.front.get(&newer(), "old", "").await.unwrap();
    assert_eq!(shown["apiVersion"], "events.k8s.io/v1");
    assert_eq!(shown["note"], "it began");
    assert_eq!(shown["regarding"]["name"], "p");
    let seen = loop {
        let seen = next(&mut watching).await;
        if seen.kind == "ADDED" {
            break seen;
        }
    };
    assert_eq!(seen.object, shown);

    let new = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "new"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "Went", "action": "Going",
        "note": "it went on", "reportingController": "example.com/c", "reportingInstance": "c-1",
        "regarding": {"kind": "Pod", "name": "q", "namespace": "default"},
    });
    let made = stage.made(&newer(), new).await;
    assert_eq!(made["note"], "it went on");
    let core = Place::core("events", "default");
    let stored = stage.front.get(&core, "new", "").await.unwrap();
    assert_eq!(stored["apiVersion"], "v1");
    assert_eq!(stored["message"], "it went on");
    assert_eq!(stored["involvedObject"]["name"], "q");

    let mut next_one = made;
    next_one["series"] = json!({"count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"});
    let updated = stage.front.update(&newer(), "new", "", &next_one).await;
    assert_eq!(updated.unwrap()["series"]["count"], 2);
    let listed = stage.front.list(&newer(), &Query::default()).await.unwrap();
    assert_eq!(listed.names(), ["new", "old"]);
    assert!(listed.items.iter().all(|event| event["note"].is_string()));
    stage
        .front
        .delete(&newer(), "new", &json!({}))
        .await
        .unwrap();
    let gone = stage.front.get(&core, "new", "").await.unwrap_err();
    assert_eq!(gone.code(), 404);
}

pub async fn a_new_event_of_the_newer_group_is_held_to_more(stage: Stage) {
    let body = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "x"},
        "regarding": {"kind": "Pod", "name": "q", "namespace": "default"}, "note": "it went on",
    });
    let refused = stage.front.create(&newer(), "", "", &body, false).await;
    let refused = refused.unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (422, "Invalid"));
    assert!(refused.message().contains("eventTime: Required value"));
}
