//! What a pod asks of a node, by Kubernetes' rule.
#![allow(clippy::unwrap_used, missing_docs)]

use k8s_openapi::api::core::v1::Pod;
use pontoon_scheduler::requests::{Amounts, Requests};
use serde_json::{Value, json};

fn requests(spec: Value) -> Requests {
    let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
    Requests::of(&pod, None)
}

fn container(requests: Value) -> Value {
    json!({"name": "c", "resources": {"requests": requests}})
}

fn sidecar(requests: Value) -> Value {
    json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": requests}})
}

#[test]
fn containers_add_up_in_their_own_units_rounded_up() {
    let sum = requests(json!({"containers": [
        container(json!({"cpu": "100.1m", "memory": "1Ki", "ephemeral-storage": "1500m", "example.com/gpu": "2"})),
        container(json!({"cpu": "0.5", "memory": "1k", "example.com/gpu": 1})),
    ]}));
    let amounts = [
        "cpu",
        "memory",
        "ephemeral-storage",
        "example.com/gpu",
        "pods",
    ]
    .map(|name| sum.amounts.get(name));
    assert_eq!(amounts, [601, 2024, 2, 3, 1]);
}

#[test]
fn init_containers_count_by_the_largest_beside_the_sidecars_started_before() {
    let sum = requests(json!({
        "initContainers": [
            container(json!({"cpu": "5"})),
            sidecar(json!({"cpu": "1", "memory": "10"})),
            container(json!({"cpu": "3", "memory": "100"})),
            sidecar(json!({"cpu": "2"})),
        ],
        "containers": [container(json!({"cpu": "1", "memory": "20"}))],
    }));
    // cpu: max(5, 1+3, 1+2+1); memory: max(10+100, 10+20).
    assert_eq!(
        (sum.amounts.get("cpu"), sum.amounts.get("memory")),
        (5000, 110)
    );
}

#[test]
fn sidecars_run_beside_the_containers() {
    let sum = requests(json!({
        "initContainers": [sidecar(json!({"cpu": "1"})), sidecar(json!({"cpu": "2"}))],
        "containers": [container(json!({"cpu": "1"}))],
    }));
    assert_eq!(sum.amounts.get("cpu"), 4000);
}

#[test]
fn the_pods_own_requests_stand_in_place_of_its_containers_and_overhead_comes_on_top() {
    let sum = requests(json!({
        "containers": [container(json!({"cpu": "1", "memory": "7"}))],
        "resources": {"requests": {"cpu": "3"}},
        "overhead": {"cpu": "250m", "memory": "1"},
    }));
    assert_eq!(
        (sum.amounts.get("cpu"), sum.amounts.get("memory")),
        (3250, 8)
    );
}

#[test]
fn overhead_that_the_pod_states_goes_before_that_of_its_class() {
    let class = Amounts([("cpu".to_owned(), 900)].into());
    let pod = |spec: Value| -> Pod { serde_json::from_value(json!({"spec": spec})).unwrap() };
    let stated = pod(json!({"containers": [], "overhead": {"cpu": "1m"}}));
    let silent = pod(json!({"containers": []}));
    assert_eq!(Requests::of(&stated, Some(&class)).amounts.get("cpu"), 1);
    assert_eq!(Requests::of(&silent, Some(&class)).amounts.get("cpu"), 900);
}

#[test]
fn scoring_assumes_something_of_containers_that_ask_for_nothing() {
    let sum = requests(
        json!({"containers": [container(json!({})), container(json!({"cpu": "1", "memory": "0"}))]}),
    );
    assert_eq!(
        (sum.scored_cpu, sum.scored_memory),
        (1100, 200 * 1024 * 1024)
    );
    assert_eq!(
        (sum.amounts.get("cpu"), sum.amounts.get("memory")),
        (1000, 0)
    );
}

#[test]
fn absurd_amounts_neither_overflow_nor_go_below_zero() {
    let sum = requests(json!({"containers": [
        container(json!({"cpu": "9E", "memory": "9E", "x": "-5"})),
        container(json!({"cpu": "9E", "memory": "9E", "x": "3", "y": "nonsense"})),
    ]}));
    assert_eq!(sum.amounts.get("memory"), i64::MAX);
    assert_eq!(sum.amounts.get("cpu"), i64::MAX);
    assert_eq!((sum.amounts.get("x"), sum.amounts.get("y")), (3, 0));
}
