#![allow(clippy::unwrap_used)]

use crate::kinds::by_plural;
use serde_json::{Value, json};

fn row(pod: Value) -> Vec<String> {
    let now = "2026-01-01T01:00:00Z".parse().unwrap();
    let mut pod = pod;
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = "p".into();
    pod["metadata"]["creationTimestamp"] = "2026-01-01T00:50:00Z".into();
    let cells = by_plural("", "v1", "pods").unwrap().cells(&pod, now);
    cells
        .into_iter()
        .map(|cell| cell.as_str().unwrap().to_owned())
        .collect()
}

fn short(pod: Value) -> String {
    row(pod)[1..4].join(" ")
}

#[test]
fn a_pod_that_waits_for_a_node_is_pending() {
    let cells =
        row(json!({"spec": {"containers": [{"name": "a"}]}, "status": {"phase": "Pending"}}));
    assert_eq!(
        cells,
        [
            "p", "0/1", "Pending", "0", "10m", "<none>", "<none>", "<none>", "<none>"
        ]
    );
}

#[test]
fn a_running_pod_shows_its_address_and_node() {
    let cells = row(
        json!({"spec": {"containers": [{"name": "a"}], "nodeName": "n",
            "readinessGates": [{"conditionType": "x"}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [{"type": "x", "status": "True"}],
            "containerStatuses": [{"name": "a", "ready": true, "state": {"running": {}}}]}}),
    );
    assert_eq!(
        cells,
        [
            "p", "1/1", "Running", "0", "10m", "10.0.0.1", "n", "<none>", "1/1"
        ]
    );
}

#[test]
fn init_containers_show_their_progress_and_their_failures() {
    let spec =
        json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]});
    let status = |state: Value| {
        json!({"phase": "Pending", "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "PodInitializing"}}}],
            "initContainerStatuses": [
                {"name": "i", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
                {"name": "j", "restartCount": 2, "state": state}]})
    };
    for (state, shown) in [
        (json!({"running": {}}), "0/1 Init:1/2 2"),
        (
            json!({"waiting": {"reason": "PodInitializing"}}),
            "0/1 Init:1/2 2",
        ),
        (
            json!({"waiting": {"reason": "CrashLoopBackOff"}}),
            "0/1 Init:CrashLoopBackOff 2",
        ),
        (
            json!({"terminated": {"exitCode": 1, "reason": "Error"}}),
            "0/1 Init:Error 2",
        ),
        (
            json!({"terminated": {"exitCode": 3}}),
            "0/1 Init:ExitCode:3 2",
        ),
        (
            json!({"terminated": {"exitCode": 137, "signal": 9}}),
            "0/1 Init:Signal:9 2",
        ),
    ] {
        assert_eq!(short(json!({"spec": spec, "status": status(state)})), shown);
    }
}

#[test]
fn a_crashing_container_shows_its_back_off_and_when_it_last_ended() {
    let pod = json!({"spec": {"containers": [{"name": "a"}]}, "status": {"phase": "Running", "containerStatuses": [
        {"name": "a", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
         "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:55:00Z"}}}]}});
    assert_eq!(short(pod), "0/1 CrashLoopBackOff 2 (5m ago)");
}

#[test]
fn ended_pods_say_how() {
    let pod = |phase: &str, state: Value| {
        json!({"spec": {"containers": [{"name": "a"}]}, "status": {"phase": phase,
            "containerStatuses": [{"name": "a", "state": {"terminated": state}}]}})
    };
    assert_eq!(
        short(pod(
            "Succeeded",
            json!({"exitCode": 0, "reason": "Completed"})
        )),
        "0/1 Completed 0"
    );
    assert_eq!(
        short(pod("Failed", json!({"exitCode": 1, "reason": "Error"}))),
        "0/1 Error 0"
    );
    assert_eq!(
        short(pod("Failed", json!({"exitCode": 2}))),
        "0/1 ExitCode:2 0"
    );
    let evicted = json!({"spec": {"containers": [{"name": "a"}]}, "status": {"phase": "Failed", "reason": "Evicted"}});
    assert_eq!(short(evicted), "0/1 Evicted 0");
}

#[test]
fn a_pod_with_a_completed_and_a_running_container_runs() {
    let pod = |ready: &str| {
        json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}, "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": ready}], "containerStatuses": [
                {"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
                {"name": "b", "ready": true, "state": {"running": {}}}]}})
    };
    assert_eq!(short(pod("True")), "1/2 Running 0");
    assert_eq!(short(pod("False")), "1/2 NotReady 0");
}

#[test]
fn a_pod_being_deleted_is_terminating_until_it_has_ended() {
    let pod = |phase: &str, reason: Option<&str>| {
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:59:00Z"}, "spec": {"containers": [{"name": "a"}]},
            "status": {"phase": phase, "reason": reason}})
    };
    assert_eq!(short(pod("Running", None)), "0/1 Terminating 0");
    assert_eq!(short(pod("Succeeded", None)), "0/1 Succeeded 0");
    assert_eq!(short(pod("Running", Some("NodeLost"))), "0/1 Unknown 0");
}

#[test]
fn sidecars_count_as_containers() {
    let pod = json!({"spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]},
        "status": {"phase": "Running",
            "initContainerStatuses": [{"name": "s", "ready": true, "started": true, "restartCount": 1, "state": {"running": {}}}],
            "containerStatuses": [{"name": "a", "ready": true, "restartCount": 2, "state": {"running": {}}}]}});
    assert_eq!(short(pod), "2/2 Running 3");
}

#[test]
fn a_gated_pod_says_so() {
    let pod = json!({"spec": {"containers": [{"name": "a"}]}, "status": {"phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}});
    assert_eq!(short(pod), "0/1 SchedulingGated 0");
}
