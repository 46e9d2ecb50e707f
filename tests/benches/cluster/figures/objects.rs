//! The objects that figures are about, and getting many of them into a cluster.

use crate::{rest::Rest, server::Server};
use anyhow::{Context as _, Result};
use bytes::Bytes;
use pontoon_wire::pontoon::v1::WriteOptions;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Where everything goes.
pub const NAMESPACE: &str = "bench";

/// Objects in one transaction: the API's limit is 1,000.
const BATCH: usize = 1_000;

/// Controllers and scheduler have said all they have to say when nothing is written for so long.
const QUIET: Duration = Duration::from_secs(2);

/// A cluster that never falls quiet is measured all the same.
const QUIET_TIMEOUT: Duration = Duration::from_secs(60);

/// A ConfigMap with 256 bytes of data.
pub fn config_map(name: &str) -> Bytes {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {"value": "x".repeat(256)},
    });
    object.to_string().into()
}

/// A pod as a Deployment makes them, about 2 kB once defaulted and placed.
pub fn pod(name: &str) -> Value {
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": NAMESPACE,
            "labels": {"app": "bench", "pod-template-hash": "5d4f8c7b9", "tier": "front"},
        },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main", "image": "host", "command": ["sleep", "infinity"],
                "env": [{"name": "LEVEL", "value": "info"}, {"name": "PORT", "value": "8080"}],
                "ports": [{"name": "http", "containerPort": 8080}],
                "readinessProbe": probe,
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
            }],
        },
    })
}

/// A Ready node with room for 110 pods that no agent stands behind.
pub fn hollow_node(name: &str) -> Value {
    let room = json!({"cpu": "32", "memory": "128Gi", "pods": "110", "ephemeral-storage": "100Gi"});
    let now = jiff::Timestamp::now()
        .round(jiff::Unit::Second)
        .unwrap_or_default()
        .to_string();
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "status": {
            "capacity": room, "allocatable": room,
            "runtimeHandlers": [{"name": ""}, {"name": "process"}],
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Hollow", "message": "no agent",
                "lastHeartbeatTime": now, "lastTransitionTime": now,
            }],
        },
    })
}

/// The namespace, and the ServiceAccount that every namespace gets.
pub async fn namespace(rest: &mut Rest) -> Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    rest.post("/api/v1/namespaces", object.to_string().into())
        .await?;
    let account = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default");
    let start = Instant::now();
    while rest.get(&account).await.is_err() && start.elapsed() < QUIET_TIMEOUT {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Makes all objects, a thousand in a transaction, through gRPC's `Apply`.
pub async fn apply(server: &Server, objects: impl IntoIterator<Item = Value>) -> Result<()> {
    let client = server.grpc()?;
    let objects: Vec<Bytes> = objects
        .into_iter()
        .map(|object| object.to_string().into())
        .collect();
    for batch in objects.chunks(BATCH) {
        let applied = client
            .apply(batch.to_vec(), NAMESPACE, WriteOptions::default())
            .await;
        applied.context("the objects were not applied")?;
    }
    Ok(())
}

/// `count` pods that no node will take, as there is none.
pub async fn pods(server: &Server, from: usize, count: usize) -> Result<()> {
    apply(
        server,
        (from..from + count).map(|at| pod(&format!("pod-{at:06}"))),
    )
    .await
}

/// Waits until the cluster writes nothing of its own accord.
pub async fn quiet(rest: &mut Rest) -> Result<()> {
    let start = Instant::now();
    let (mut revision, mut since) = (String::new(), Instant::now());
    while since.elapsed() < QUIET && start.elapsed() < QUIET_TIMEOUT {
        let list: Value = serde_json::from_slice(&rest.get("/api/v1/namespaces").await?)?;
        let seen = list["metadata"]["resourceVersion"]
            .as_str()
            .context("a list has a revision")?;
        if seen != revision {
            (revision, since) = (seen.to_owned(), Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
