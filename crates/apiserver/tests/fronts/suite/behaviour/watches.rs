//! Watches.

use crate::suite::front::{Change, Query};
use crate::suite::stage::{Stage, labelled, map, maps, next, version};
use serde_json::json;

pub async fn a_watch_sees_every_change_in_order(stage: Stage) {
    stage.made(&maps(), labelled("a", "web")).await;
    stage.made(&maps(), map("other")).await;
    let web = Query {
        labels: "tier=web",
        ..Query::default()
    };
    let mut watching = stage.front.watch(&maps(), &web, 0).await;
    let first = next(&mut watching).await;
    assert_eq!(
        (first.kind.as_str(), &first.object["metadata"]["name"]),
        ("ADDED", &json!("a"))
    );
    let mark = next(&mut watching).await;
    assert_eq!(mark.kind, "BOOKMARK");
    let start = mark.revision;
    stage.made(&maps(), labelled("b", "web")).await;
    stage.made(&maps(), labelled("c", "db")).await;
    stage
        .front
        .patch(
            &maps(),
            "c",
            "",
            &Change::Merge(json!({"metadata": {"labels": {"tier": "web"}}})),
        )
        .await
        .unwrap();
    stage
        .front
        .patch(
            &maps(),
            "a",
            "",
            &Change::Merge(json!({"data": {"k": "w"}})),
        )
        .await
        .unwrap();
    stage
        .front
        .patch(
            &maps(),
            "b",
            "",
            &Change::Merge(json!({"metadata": {"labels": null}})),
        )
        .await
        .unwrap();
    stage.front.delete(&maps(), "a", &json!({})).await.unwrap();
    let expected = [
        ("ADDED", "b"),
        ("ADDED", "c"),
        ("MODIFIED", "a"),
        ("DELETED", "b"),
        ("DELETED", "a"),
    ];
    let mut resumed = stage.front.watch(&maps(), &web, start).await;
    for watching in [&mut watching, &mut resumed] {
        let mut last = start;
        for (kind, name) in expected {
            let seen = next(watching).await;
            assert_eq!(
                (seen.kind.as_str(), &seen.object["metadata"]["name"]),
                (kind, &json!(name))
            );
            assert!(seen.revision > last, "{} after {last}", seen.revision);
            assert_eq!(version(&seen.object), seen.revision);
            last = seen.revision;
        }
        assert_eq!(last, stage.revision());
    }
}
