//! Pods placed per second on one core, and what one call costs as the cluster grows.
//!
//! Prints one line per measurement: rates in time on the core, costs of single calls by the clock. `cargo bench -p pontoon-scheduler`
#![allow(missing_docs)]

use k8s_openapi::api::core::v1::{Node, Pod};
use pontoon_scheduler::{Cluster, Decision, PendingPod, invariant, schedule};
use serde_json::json;
use std::time::{Duration, Instant};

const PODS: usize = 50_000;

/// Time this thread spent on a core: what others do on the machine stays out of it, but for the
/// caches they share.
fn on_core() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")
        .expect("Linux counts time per thread");
    let nanos = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.expect("the first field is nanoseconds"))
}

fn node(at: usize) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": format!("node-{at:06}"), "labels": {
            "kubernetes.io/hostname": format!("node-{at:06}"),
            "topology.kubernetes.io/zone": format!("zone-{}", at % 3),
            "kubernetes.io/os": "linux",
            "disk": if at.is_multiple_of(10) { "ssd" } else { "hdd" },
        }},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"cpu": "32", "memory": "128Gi", "pods": "110", "ephemeral-storage": "100Gi"},
        },
    }))
    .expect("a node")
}

/// A pod of one of `owners` ReplicaSets.
fn pod(at: usize, owners: usize, spec: &serde_json::Value) -> Pod {
    let owner = at % owners;
    let mut pod = json!({
        "metadata": {
            "namespace": format!("ns-{}", owner % 50), "name": format!("pod-{at}"), "uid": format!("uid-{at}"),
            "labels": {"app": format!("app-{owner}"), "pod-template-hash": "abc"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": format!("rs-{owner}"), "controller": true}],
        },
        "spec": {
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ],
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}}],
        },
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][key] = value.clone();
    }
    serde_json::from_value(pod).expect("a pod")
}

fn cluster(nodes: usize) -> Cluster {
    let mut cluster = Cluster::new(7);
    for at in 0..nodes {
        cluster.set_node(&node(at));
    }
    cluster
}

fn rate(count: usize, took: Duration) -> u128 {
    count as u128 * 1_000_000_000 / took.as_nanos().max(1)
}

/// Places pods in batches of `batch`, and prints pods per second of reading and of placing.
fn place(name: &str, nodes: usize, owners: usize, batch: usize, spec: &serde_json::Value) {
    let mut cluster = cluster(nodes);
    let pods: Vec<_> = (0..PODS).map(|at| pod(at, owners, spec)).collect();
    let start = on_core();
    let pending: Vec<PendingPod> = pods.iter().filter_map(|pod| cluster.pending(pod)).collect();
    let reading = on_core() - start;
    let start = on_core();
    let mut bound = 0;
    for batch in pending.chunks(batch) {
        let decisions = schedule(&mut cluster, batch);
        bound += decisions
            .iter()
            .filter(|one| matches!(one, Decision::Bind { .. }))
            .count();
    }
    let placing = on_core() - start;
    assert!(
        invariant::over_commitments(&cluster).is_empty(),
        "no node is over-committed"
    );
    println!(
        "{name}: {nodes} nodes, {owners} owners, batches of {batch}: {bound} of {PODS} bound; placing {} pods/s, with reading {} pods/s",
        rate(PODS, placing),
        rate(PODS, placing + reading),
    );
}

/// The cost of single changes in a cluster that holds `objects` nodes and as many pods.
fn costs(objects: usize) {
    let mut cluster = cluster(objects);
    for at in 0..objects {
        let mut pod = pod(at, objects / 50, &json!({}));
        if let Some(spec) = &mut pod.spec {
            spec.node_name = Some(format!("node-{at:06}"));
        }
        cluster.set_pod(&pod);
    }
    let rounds = 1000;
    let time = |what: &str, mut work: Box<dyn FnMut(usize) + '_>| {
        let start = Instant::now();
        (0..rounds).for_each(&mut work);
        println!(
            "{objects} nodes and pods: {what} {} ns",
            start.elapsed().as_nanos() / rounds as u128
        );
    };
    let fresh: Vec<_> = (objects..objects + rounds)
        .map(|at| pod(at, objects / 50, &json!({})))
        .collect();
    let pending: Vec<_> = fresh
        .iter()
        .filter_map(|pod| cluster.pending(pod))
        .collect();
    time(
        "a call that places one pod",
        Box::new(|at| drop(schedule(&mut cluster, &pending[at..=at]))),
    );
    time(
        "a pod's end",
        Box::new(|at| {
            cluster.remove_pod(pending[at].key());
        }),
    );
    let again: Vec<_> = (0..rounds).map(node).collect();
    time(
        "a node without change",
        Box::new(|at| {
            cluster.set_node(&again[at]);
        }),
    );
    let mut cordoned = again.clone();
    for node in &mut cordoned {
        node.spec.get_or_insert_default().unschedulable = Some(true);
    }
    time(
        "a node cordoned",
        Box::new(|at| {
            cluster.set_node(&cordoned[at]);
        }),
    );
}

fn main() {
    let plain = json!({});
    place("plain", 5000, 500, 1000, &plain);
    place("plain", 5000, 500, PODS, &plain);
    place("every pod another owner", 5000, PODS, 1000, &plain);
    place(
        "selector of one node in ten",
        5000,
        500,
        1000,
        &json!({"nodeSelector": {"disk": "ssd"}}),
    );
    let skew = |app: &str, when: &str| {
        json!({"topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": when,
            "labelSelector": {"matchLabels": {"pod-template-hash": app}},
        }]})
    };
    place(
        "zones, ScheduleAnyway",
        5000,
        500,
        1000,
        &skew("abc", "ScheduleAnyway"),
    );
    place(
        "zones, DoNotSchedule",
        5000,
        500,
        1000,
        &skew("abc", "DoNotSchedule"),
    );
    let huge = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "16", "memory": "1Gi"}}}]});
    place("until full", 5000, 500, 1000, &huge);
    place("plain", 1000, 500, 1000, &plain);
    place("plain", 100_000, 500, 1000, &plain);
    costs(1000);
    costs(100_000);
}
