//! Lists: selectors, pages, and revisions that are forgotten.

use crate::suite::front::{Place, Query};
use crate::suite::stage::{Stage, labelled, map, maps, pod};
use futures::StreamExt as _;
use pontoon_api::Revision;
use pontoon_state::{Command, Replica as _};
use serde_json::json;

pub async fn selectors_choose_by_labels_and_fields(stage: Stage) {
    for (name, tier) in [("a", "web"), ("b", "db"), ("c", "web")] {
        stage.made(&maps(), labelled(name, tier)).await;
    }
    stage.made(&maps(), map("d")).await;
    for (labels, fields, expected) in [
        ("tier=web", "", vec!["a", "c"]),
        ("tier in (db,cache)", "", vec!["b"]),
        ("!tier", "", vec!["d"]),
        ("tier!=web", "", vec!["b", "d"]),
        ("tier=web", "metadata.name=c", vec!["c"]),
        ("", "metadata.name!=a", vec!["b", "c", "d"]),
        ("", "metadata.namespace=other", vec![]),
    ] {
        let shown = stage
            .front
            .list(
                &maps(),
                &Query {
                    labels,
                    fields,
                    ..Query::default()
                },
            )
            .await
            .unwrap();
        assert_eq!(shown.names(), expected, "{labels} {fields}");
        let all = Place::core("configmaps", "");
        let shown = stage
            .front
            .list(
                &all,
                &Query {
                    labels,
                    fields,
                    ..Query::default()
                },
            )
            .await
            .unwrap();
        assert_eq!(
            shown.names(),
            expected,
            "{labels} {fields} in all namespaces"
        );
    }
    for (labels, fields) in [
        ("a b", ""),
        ("a in", ""),
        ("", "spec.nope=1"),
        ("", "metadata.name"),
    ] {
        let error = stage
            .front
            .list(
                &maps(),
                &Query {
                    labels,
                    fields,
                    ..Query::default()
                },
            )
            .await
            .unwrap_err();
        assert_eq!(
            (error.code(), error.reason()),
            (400, "BadRequest"),
            "{labels} {fields}"
        );
    }
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = json!("n1");
    let pods = Place::core("pods", "default");
    stage.made(&pods, bound).await;
    stage.made(&pods, pod("q")).await;
    for (fields, expected) in [
        ("spec.nodeName=n1", vec!["p"]),
        ("spec.nodeName=", vec!["q"]),
        ("status.phase=Pending", vec!["p", "q"]),
        ("spec.nodeName=n1,status.phase=Running", vec![]),
    ] {
        let shown = stage
            .front
            .list(
                &pods,
                &Query {
                    fields,
                    ..Query::default()
                },
            )
            .await
            .unwrap();
        assert_eq!(shown.names(), expected, "{fields}");
    }
}

pub async fn pages_show_one_revision_until_it_is_compacted(stage: Stage) {
    for name in ["a", "b", "c", "d", "e"] {
        stage.made(&maps(), labelled(name, "x")).await;
    }
    let first = stage
        .front
        .list(
            &maps(),
            &Query {
                limit: 2,
                ..Query::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(
        (first.names(), first.remaining),
        (vec!["a".into(), "b".into()], Some(3))
    );
    stage.front.delete(&maps(), "d", &json!({})).await.unwrap();
    stage.made(&maps(), map("bb")).await;
    let query = Query {
        limit: 2,
        token: first.token.clone(),
        ..Query::default()
    };
    let second = stage.front.list(&maps(), &query).await.unwrap();
    assert_eq!(
        (second.names(), second.revision, second.remaining),
        (vec!["c".into(), "d".into()], first.revision, Some(1))
    );
    let query = Query {
        limit: 2,
        token: second.token.clone(),
        ..Query::default()
    };
    let last = stage.front.list(&maps(), &query).await.unwrap();
    assert_eq!(
        (last.names(), last.token.as_str(), last.remaining),
        (vec!["e".into()], "", None)
    );
    let selected = Query {
        limit: 2,
        labels: "tier=x",
        ..Query::default()
    };
    assert_eq!(
        stage
            .front
            .list(&maps(), &selected)
            .await
            .unwrap()
            .remaining,
        None
    );

    let past = stage
        .front
        .list(
            &maps(),
            &Query {
                at: first.revision,
                ..Query::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(past.names(), ["a", "b", "c", "d", "e"]);
    let garbage = Query {
        token: "garbage".into(),
        ..Query::default()
    };
    assert_eq!(
        stage
            .front
            .list(&maps(), &garbage)
            .await
            .unwrap_err()
            .code(),
        400
    );
}

pub async fn a_forgotten_revision_is_410_with_a_way_on(stage: Stage) {
    for name in ["a", "b", "c"] {
        stage.made(&maps(), map(name)).await;
    }
    let old = stage.revision();
    // Another server's token: this one keeps no view for it.
    let token = {
        use base64::Engine as _;
        let token = json!({"rv": old, "ns": "default", "name": "a", "left": 2}).to_string();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token)
    };
    stage.made(&maps(), map("d")).await;
    let query = Query {
        limit: 1,
        token: token.clone(),
        ..Query::default()
    };
    assert_eq!(
        stage.front.list(&maps(), &query).await.unwrap().names(),
        ["b"]
    );
    stage
        .store
        .submit(Command::Compact(Revision(stage.revision())))
        .await
        .unwrap();
    let expired = stage.front.list(&maps(), &query).await.unwrap_err();
    assert_eq!((expired.code(), expired.reason()), (410, "Expired"));
    assert!(
        expired
            .message()
            .starts_with("The provided continue parameter is too old"),
        "{}",
        expired.message()
    );
    let onward = expired.status["metadata"]["continue"]
        .as_str()
        .unwrap()
        .to_owned();
    let rest = stage
        .front
        .list(
            &maps(),
            &Query {
                token: onward,
                ..Query::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(rest.names(), ["b", "c", "d"]);
    let exact = stage
        .front
        .list(
            &maps(),
            &Query {
                at: old,
                ..Query::default()
            },
        )
        .await
        .unwrap_err();
    assert_eq!((exact.code(), exact.reason()), (410, "Expired"));
    let mut watching = stage.front.watch(&maps(), &Query::default(), old).await;
    let ended = watching.next().await.unwrap().unwrap_err();
    assert_eq!((ended.code(), ended.reason()), (410, "Expired"));
    assert!(
        ended
            .message()
            .starts_with(&format!("too old resource version: {old}")),
        "{}",
        ended.message()
    );
}
