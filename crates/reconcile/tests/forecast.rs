//! What a forecast says of pods, on a store in memory that is never written.
#![allow(clippy::unwrap_used, missing_docs)]

use jiff::Timestamp;
use pontoon_api::kinds;
use pontoon_controllers::catalog;
use pontoon_reconcile::forecast::{Fate, Forecast, Foresight};
use pontoon_state::{Key, Replica as _, Solo, Transaction, encode};
use serde_json::{Value, json};
use std::sync::Arc;

struct Today(Arc<Solo>);

impl Today {
    /// A namespace, and nodes of 4 processors each.
    async fn with_nodes(nodes: &[&str]) -> Self {
        let today = Self(Solo::new());
        today
            .put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}))
            .await;
        for name in nodes {
            let amounts = json!({"cpu": "4", "memory": "8Gi", "pods": "100"});
            today
                .put(json!({
                    "apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {},
                    "status": {
                        "allocatable": amounts, "capacity": amounts,
                        "conditions": [{"type": "Ready", "status": "True"}],
                    },
                }))
                .await;
        }
        today
    }

    async fn put(&self, object: Value) {
        let outcome = self.0.propose(write(object)).await.unwrap();
        outcome.committed().unwrap();
    }

    fn forecast(&self, object: Value) -> Forecast {
        self.forecast_while(object, &|| true)
    }

    fn forecast_while(&self, object: Value, in_time: &dyn Fn() -> bool) -> Forecast {
        let before = self.0.view().revision();
        let forecast = Foresight {
            view: &self.0.view(),
            controllers: &catalog::all(),
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            seed: 1,
            in_time,
        }
        .forecast(write(object));
        assert_eq!(self.0.view().revision(), before, "nothing is written");
        forecast
    }

    /// Makes a deployment and its pods of today, as a forecast of them says.
    async fn running(nodes: &[&str], deployment: Value) -> Self {
        let today = Self::with_nodes(nodes).await;
        let replicas = deployment["spec"]["replicas"].as_u64().unwrap();
        let template = deployment["spec"]["template"].clone();
        today.put(deployment).await;
        let revision = json!({"deployment.kubernetes.io/revision": "1"});
        let set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": "web-1", "namespace": "default", "annotations": revision,
                "labels": {"app": "web", "pod-template-hash": "1"},
                "ownerReferences": [owner("apps/v1", "Deployment", "web")],
            },
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "web", "pod-template-hash": "1"}}, "template": template,
            },
        });
        let mut set = set;
        set["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] = json!("1");
        today.put(set).await;
        for index in 0..replicas {
            let node = nodes[usize::try_from(index).unwrap() % nodes.len()];
            let name = format!("web-1-{index}");
            let mut spec = template["spec"].clone();
            spec["nodeName"] = json!(node);
            today
                .put(json!({
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": {
                        "name": name, "generateName": "web-1-", "namespace": "default",
                        "labels": {"app": "web", "pod-template-hash": "1"},
                        "ownerReferences": [owner("apps/v1", "ReplicaSet", "web-1")],
                    },
                    "spec": spec,
                    "status": {"phase": "Running", "conditions": [
                        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                    ]},
                }))
                .await;
        }
        today
    }
}

fn owner(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid(kind, name), "controller": true})
}

fn uid(kind: &str, name: &str) -> String {
    format!("uid-of-{kind}-{name}")
}

/// A write of a whole object, as the verb layer would make it.
fn write(mut object: Value) -> Transaction {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    let kind = kinds::by_kind(&text("/apiVersion"), &text("/kind")).unwrap();
    let name = text("/metadata/name");
    let status = object["status"].clone();
    object["metadata"]["uid"] = json!(uid(kind.descriptor().kind, &name));
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    let mut object = kind
        .create(object)
        .unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"))
        .object;
    if !status.is_null() {
        object["status"] = status;
    }
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let key = Key::new(&kind.descriptor().resource(), namespace, &name);
    Transaction::default().put(key, encode(&object).unwrap())
}

fn deployment(replicas: u64, image: &str, cpu: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [
                    {"name": "c", "image": image, "resources": {"requests": {"cpu": cpu}}},
                ]},
            },
        },
    })
}

/// One line for each pod, sorted.
fn lines(forecast: &Forecast) -> Vec<String> {
    assert!(forecast.complete, "{forecast:?}");
    let mut lines: Vec<String> = forecast
        .pods
        .iter()
        .map(|pod| match &pod.fate {
            Fate::Made(Ok(node)) => format!("+{} {node}", pod.name),
            Fate::Made(Err(reason)) => format!("+{} none: {reason}", pod.name),
            Fate::Placed(node) => format!("={} {node}", pod.name),
            Fate::Removed(node) => format!("-{} {}", pod.name, node.as_deref().unwrap_or("")),
        })
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_new_deployments_pods_are_told_with_the_nodes_they_would_get() {
    let today = Today::with_nodes(&["n1", "n2"]).await;
    let forecast = today.forecast(deployment(4, "v1", "1"));
    assert_eq!(
        lines(&forecast),
        ["+web-* n1", "+web-* n1", "+web-* n2", "+web-* n2"]
    );
    assert_eq!(forecast.warnings, [] as [&str; 0]);
}

#[tokio::test]
async fn pods_that_fit_nowhere_are_told_with_the_schedulers_reason() {
    let today = Today::with_nodes(&["n1"]).await;
    let lines = lines(&today.forecast(deployment(3, "v1", "2")));
    assert_eq!(lines[..2], ["+web-* n1", "+web-* n1"]);
    assert!(
        lines[2].starts_with("+web-* none: 0/1 nodes are available: 1 Insufficient cpu"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_rollout_is_followed_to_its_end() {
    let today = Today::running(&["n1", "n2"], deployment(3, "v1", "1")).await;
    let lines = lines(&today.forecast(deployment(3, "v2", "1")));
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(lines[..3].iter().all(|line| line.starts_with("+web-* n")));
    assert_eq!(lines[3..], ["-web-1-0 n1", "-web-1-1 n2", "-web-1-2 n1"]);
}

#[tokio::test]
async fn a_rollout_waits_out_min_ready_seconds_without_taking_them() {
    let today = Today::running(&["n1"], deployment(2, "v1", "1")).await;
    let mut slow = deployment(2, "v2", "1");
    slow["spec"]["minReadySeconds"] = json!(60);
    assert_eq!(
        lines(&today.forecast(slow)),
        ["+web-* n1", "+web-* n1", "-web-1-0 n1", "-web-1-1 n1"]
    );
}

#[tokio::test]
async fn scaling_down_makes_room_for_a_pod_that_waits() {
    let today = Today::running(&["n1"], deployment(2, "v1", "2")).await;
    let mut waiting = deployment(1, "v1", "2")["spec"]["template"].clone();
    waiting["apiVersion"] = json!("v1");
    waiting["kind"] = json!("Pod");
    waiting["metadata"] = json!({"name": "single", "namespace": "default"});
    today.put(waiting).await;
    let lines = lines(&today.forecast(deployment(1, "v1", "2")));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("-web-1-"));
    assert_eq!(lines[1], "=single n1");
}

#[tokio::test]
async fn what_changes_no_pod_foretells_nothing() {
    let today = Today::running(&["n1"], deployment(2, "v1", "1")).await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}});
    assert_eq!(lines(&today.forecast(map)), [] as [&str; 0]);
}

#[tokio::test]
async fn a_forecast_that_runs_out_of_time_says_so() {
    let today = Today::with_nodes(&["n1"]).await;
    let forecast = today.forecast_while(deployment(3, "v1", "1"), &|| false);
    assert!(!forecast.complete);
    assert_eq!(forecast.pods, []);
}
