//! What behaviours stand on: a front and the store behind it, and objects to use.

use super::front::{Front, Place, Seen, Watching};
use futures::StreamExt as _;
use pontoon_state::{Replica as _, Solo};
use serde_json::{Value, json};
use std::sync::Arc;

/// A front and the store behind it.
pub struct Stage {
    pub front: Box<dyn Front>,
    pub store: Arc<Solo>,
}

pub fn maps() -> Place {
    Place::core("configmaps", "default")
}

pub fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

pub fn labelled(name: &str, value: &str) -> Value {
    let mut map = map(name);
    map["metadata"]["labels"] = json!({"tier": value});
    map
}

pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "host", "command": ["sleep", "1"]}]},
    })
}

pub fn service(name: &str, spec: Value) -> Value {
    let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    for (member, value) in spec.as_object().unwrap() {
        service["spec"][member] = value.clone();
    }
    service
}

pub fn deployment(name: &str) -> Value {
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
    pub async fn made(&self, place: &Place, body: Value) -> Value {
        self.front
            .create(place, "", "", &body, false)
            .await
            .unwrap_or_else(|error| panic!("{}", error.status))
    }

    pub fn revision(&self) -> u64 {
        self.store.view().revision().0
    }
}

pub fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

pub async fn next(watching: &mut Watching) -> Seen {
    let next = tokio::time::timeout(std::time::Duration::from_secs(10), watching.next()).await;
    next.expect("an event comes")
        .expect("the watch goes on")
        .unwrap_or_else(|error| panic!("{}", error.status))
}
