//! What admission makes of pods.

use crate::suite::front::{Change, Place};
use crate::suite::stage::{Stage, pod};
use serde_json::json;

fn pods() -> Place {
    Place::core("pods", "default")
}

pub async fn a_pod_is_given_what_kubernetes_admission_gives(stage: Stage) {
    let made = stage.made(&pods(), pod("x")).await;
    let spec = &made["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(spec["serviceAccount"], "default");
    assert_eq!(spec["priority"], 0);
    assert_eq!(spec["preemptionPolicy"], "PreemptLowerPriority");
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!(spec["tolerations"][1]["tolerationSeconds"], 300);
    assert!(spec.get("volumes").is_none());

    let mut sent = made.clone();
    for member in ["priority", "preemptionPolicy", "tolerations"] {
        sent["spec"].as_object_mut().unwrap().remove(member);
    }
    let replaced = stage.front.update(&pods(), "x", "", &sent).await.unwrap();
    assert_eq!(replaced["spec"], made["spec"]);
    let label = Change::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let patched = stage.front.patch(&pods(), "x", "", &label).await.unwrap();
    assert_eq!(patched["spec"], made["spec"]);
}

pub async fn a_pods_classes_say_its_priority_and_overhead_or_refuse_it(stage: Stage) {
    let classes = Place {
        group: "node.k8s.io",
        ..Place::core("runtimeclasses", "")
    };
    let class = json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "vm"}, "handler": "vm",
        "overhead": {"podFixed": {"memory": "64Mi"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]},
    });
    stage.made(&classes, class).await;
    let mut body = pod("x");
    body["spec"]["runtimeClassName"] = json!("vm");
    body["spec"]["priorityClassName"] = json!("system-cluster-critical");
    let made = stage.made(&pods(), body).await;
    assert_eq!(made["spec"]["priority"], 2_000_000_000);
    assert_eq!(made["spec"]["overhead"], json!({"memory": "64Mi"}));
    assert_eq!(made["spec"]["nodeSelector"], json!({"vm": "yes"}));
    assert_eq!(made["spec"]["tolerations"][0]["key"], "vm");

    for (member, value, expected) in [
        (
            "priorityClassName",
            json!("high"),
            "pods \"y\" is forbidden: no PriorityClass with name high was found",
        ),
        (
            "runtimeClassName",
            json!("nope"),
            "pods \"y\" is forbidden: pod rejected: RuntimeClass \"nope\" not found",
        ),
        (
            "overhead",
            json!({"cpu": "1"}),
            "pods \"y\" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
    ] {
        let mut body = pod("y");
        body["spec"][member] = value;
        let refused = stage.front.create(&pods(), "", "", &body, false).await;
        let refused = refused.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (403, expected));
    }
}
