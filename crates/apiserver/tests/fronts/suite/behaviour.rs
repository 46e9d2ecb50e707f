//! The behaviour of the verbs: one test each, run over both fronts.

use super::front::{Change, Front, Place, Query, Seen, Watching};
use futures::StreamExt as _;
use pontoon_api::Revision;
use pontoon_state::{Command, Replica as _, Solo};
use serde_json::{Value, json};
use std::sync::Arc;

/// A front and the store behind it.
pub struct Stage {
    pub front: Box<dyn Front>,
    pub store: Arc<Solo>,
}

fn maps() -> Place {
    Place::core("configmaps", "default")
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

fn labelled(name: &str, value: &str) -> Value {
    let mut map = map(name);
    map["metadata"]["labels"] = json!({"tier": value});
    map
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "host", "command": ["sleep", "1"]}]},
    })
}

fn service(name: &str, spec: Value) -> Value {
    let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    for (member, value) in spec.as_object().unwrap() {
        service["spec"][member] = value.clone();
    }
    service
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "host", "command": ["sleep", "1"]}]},
            },
        },
    })
}

impl Stage {
    async fn made(&self, place: &Place, body: Value) -> Value {
        self.front
            .create(place, "", "", &body, false)
            .await
            .unwrap_or_else(|error| panic!("{}", error.status))
    }

    fn revision(&self) -> u64 {
        self.store.view().revision().0
    }
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

async fn next(watching: &mut Watching) -> Seen {
    let next = tokio::time::timeout(std::time::Duration::from_secs(10), watching.next()).await;
    next.expect("an event comes")
        .expect("the watch goes on")
        .unwrap_or_else(|error| panic!("{}", error.status))
}

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

pub async fn services_get_addresses_and_ports_that_nobody_has(stage: Stage) {
    let services = Place::core("services", "default");
    let kubernetes = stage.front.get(&services, "kubernetes", "").await.unwrap();
    assert_eq!(kubernetes["spec"]["clusterIP"], "10.96.0.1");
    let one = stage.made(&services, service("one", json!({}))).await;
    let other = stage.made(&services, service("other", json!({}))).await;
    let address = one["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(address.starts_with("10.96."), "{address}");
    assert_ne!(one["spec"]["clusterIP"], other["spec"]["clusterIP"]);
    assert_eq!(one["spec"]["clusterIPs"], json!([address]));
    let clash = stage
        .front
        .create(
            &services,
            "",
            "",
            &service("clash", json!({"clusterIP": address})),
            false,
        )
        .await
        .unwrap_err();
    assert_eq!(clash.code(), 422);
    assert!(
        clash.message().contains("provided IP is already allocated"),
        "{}",
        clash.message()
    );
    let outside = service("outside", json!({"clusterIP": "192.0.2.7"}));
    assert_eq!(
        stage
            .front
            .create(&services, "", "", &outside, false)
            .await
            .unwrap_err()
            .code(),
        422
    );
    stage
        .front
        .delete(&services, "one", &json!({}))
        .await
        .unwrap();
    stage
        .made(&services, service("clash", json!({"clusterIP": address})))
        .await;
    let headless = stage
        .made(&services, service("headless", json!({"clusterIP": "None"})))
        .await;
    assert_eq!(headless["spec"]["clusterIP"], "None");

    let ports = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]});
    let taken = stage
        .made(&services, service("ported", ports.clone()))
        .await;
    assert_eq!(taken["spec"]["ports"][0]["nodePort"], 30080);
    let clash = stage
        .front
        .create(&services, "", "", &service("ported2", ports), false)
        .await
        .unwrap_err();
    assert_eq!(clash.code(), 422);
    assert_eq!(
        clash.status["details"]["causes"][0]["field"],
        "spec.ports[0].nodePort"
    );
    let back = Change::Merge(json!({"spec": {"type": "ClusterIP"}}));
    let back = stage
        .front
        .patch(&services, "ported", "", &back)
        .await
        .unwrap();
    assert_eq!(back["spec"]["ports"][0].get("nodePort"), None, "{back}");
    assert_eq!(back["spec"]["clusterIP"], taken["spec"]["clusterIP"]);
    let again = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]});
    stage.made(&services, service("ported3", again)).await;
    let mut blind = service("ported", json!({}));
    blind["spec"]["ports"] = json!([{"port": 81}]);
    let kept = stage
        .front
        .update(&services, "ported", "", &blind)
        .await
        .unwrap();
    assert_eq!(
        kept["spec"]["clusterIP"], taken["spec"]["clusterIP"],
        "what was allocated is kept"
    );
}

pub async fn racing_services_never_share_a_port(stage: Stage) {
    let services = Place::core("services", "default");
    let racing = (0..8).map(|index| {
        let front = &stage.front;
        let services = services.clone();
        async move {
            let body = service(
                &format!("s{index}"),
                json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30500}]}),
            );
            front.create(&services, "", "", &body, false).await.is_ok()
        }
    });
    let won = futures::future::join_all(racing)
        .await
        .into_iter()
        .filter(|won| *won)
        .count();
    assert_eq!(won, 1);
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

/// Makes a test of each behaviour for a front.
#[macro_export]
macro_rules! behaviours {
    ($make:path: $($name:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                suite::behaviour::$name($make().await).await;
            }
        )+
    };
    ($make:path) => {
        $crate::behaviours!($make:
            an_object_lives_from_create_to_delete,
            an_update_that_changes_nothing_keeps_the_revision,
            an_update_never_creates_nor_renames,
            names_are_generated,
            nothing_is_created_in_a_namespace_that_is_missing_or_going,
            a_dry_run_answers_and_stores_nothing,
            selectors_choose_by_labels_and_fields,
            pages_show_one_revision_until_it_is_compacted,
            a_forgotten_revision_is_410_with_a_way_on,
            a_watch_sees_every_change_in_order,
            finalizers_hold_a_deleted_object,
            a_deletion_obeys_its_preconditions,
            a_bound_pod_gets_its_grace_and_an_unbound_one_goes_at_once,
            a_collection_is_deleted_by_selector,
            status_and_spec_are_written_apart,
            a_workload_is_scaled_through_its_subresource,
            patches_of_each_type_apply_or_say_why_not,
            racing_patches_all_land,
            services_get_addresses_and_ports_that_nobody_has,
            racing_services_never_share_a_port,
            what_is_not_served_is_404,
        );
    };
}
