//! What Kubernetes' built-in admission plug-ins write into pods before defaulting: DefaultTolerationSeconds, Priority,
//! RuntimeClass and, of ServiceAccount, the name. Pods get it however they are made: by a client or by a controller.
//!
//! Absent: token volumes, and the check that the service account exists.

use crate::quantity::Quantity;
use k8s_openapi::api::core::v1::Toleration;
use serde_json::{Map, Value, json};

/// Why a pod is not admitted: the text behind `pods "x" is forbidden: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// How long a pod that says nothing of it stays on a node that is not ready or not reached
/// (`--default-not-ready-toleration-seconds`, `--default-unreachable-toleration-seconds`).
const TOLERATION_SECONDS: i64 = 300;

/// The taints of nodes that are not ready, and of nodes that are not reached.
const TAINTS: [&str; 2] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];

/// Priority classes that every cluster has. There is no kind PriorityClass yet, so these are all.
const PRIORITIES: [(&str, i64); 2] = [
    ("system-cluster-critical", 2_000_000_000),
    ("system-node-critical", 2_000_001_000),
];

const PREEMPTION: &str = "PreemptLowerPriority";

/// Admits a pod that is about to be created. `runtime_class` finds a RuntimeClass by its name. A pod without the shape of one
/// is left for its kind to refuse.
///
/// # Errors
/// Kubernetes' words for why it is forbidden.
pub fn create(
    pod: &mut Value,
    runtime_class: impl FnOnce(&str) -> Option<Value>,
) -> Result<(), Refused> {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    let named = |spec: &Map<String, Value>, member: &str| {
        let name = spec.get(member).and_then(Value::as_str).unwrap_or("");
        (!name.is_empty()).then(|| name.to_owned())
    };
    if named(spec, "serviceAccountName").is_none() && named(spec, "serviceAccount").is_none() {
        spec.insert("serviceAccountName".into(), "default".into());
    }
    let class =
        match named(spec, "runtimeClassName") {
            None => None,
            Some(name) => Some(runtime_class(&name).ok_or_else(|| {
                Refused(format!("pod rejected: RuntimeClass \"{name}\" not found"))
            })?),
        };
    priority(spec, named(spec, "priorityClassName").as_deref())?;
    overhead(spec, class.as_ref())?;
    if let Some(class) = &class {
        scheduling(spec, &class["scheduling"])?;
    }
    default_tolerations(spec);
    Ok(())
}

/// Admits a changed pod: what admission gave it at creation and the change leaves out stays.
pub fn update(pod: &mut Value, old: &Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    for member in ["priority", "preemptionPolicy"] {
        if let Some(value) = old["spec"].get(member)
            && spec.get(member).is_none_or(Value::is_null)
        {
            spec.insert(member.into(), value.clone());
        }
    }
    default_tolerations(spec);
}

fn priority(spec: &mut Map<String, Value>, class: Option<&str>) -> Result<(), Refused> {
    let computed = match class {
        None => 0,
        Some(name) => PRIORITIES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
            .ok_or_else(|| Refused(format!("no PriorityClass with name {name} was found")))?,
    };
    if let Some(given) = spec.get("priority").and_then(Value::as_i64)
        && given != computed
    {
        return Err(Refused(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {computed} from the given PriorityClass name"
        )));
    }
    if let Some(given) = spec.get("preemptionPolicy").and_then(Value::as_str)
        && given != PREEMPTION
    {
        return Err(Refused(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller \
             computed {PREEMPTION} from the given PriorityClass name"
        )));
    }
    spec.insert("priority".into(), computed.into());
    spec.insert("preemptionPolicy".into(), PREEMPTION.into());
    Ok(())
}

fn overhead(spec: &mut Map<String, Value>, class: Option<&Value>) -> Result<(), Refused> {
    let wanted = class.and_then(|class| class["overhead"]["podFixed"].as_object());
    let given = spec.get("overhead").and_then(Value::as_object);
    let text = match (wanted, given) {
        (None, None) => return Ok(()),
        (None, Some(_)) => {
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
        }
        (Some(wanted), Some(given)) if !same_amounts(wanted, given) => {
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
        }
        (Some(wanted), _) => {
            let wanted = wanted.clone();
            spec.insert("overhead".into(), wanted.into());
            return Ok(());
        }
    };
    Err(Refused(text.into()))
}

fn same_amounts(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    let amount = |value: &Value| Some(value.as_str()?.parse::<Quantity>().ok()?.nanos());
    one.len() == other.len()
        && one.iter().all(|(name, value)| {
            other
                .get(name)
                .is_some_and(|other| other == value || amount(other) == amount(value))
        })
}

/// Merges what a RuntimeClass says of where its pods can run.
fn scheduling(spec: &mut Map<String, Value>, class: &Value) -> Result<(), Refused> {
    if let Some(selector) = class["nodeSelector"].as_object() {
        let own = spec.entry("nodeSelector").or_insert_with(|| json!({}));
        if own.is_null() {
            *own = json!({});
        }
        for (key, value) in selector {
            let Some(own) = own.as_object_mut() else {
                break;
            };
            let given = own.entry(key).or_insert_with(|| value.clone());
            if given != value {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                return Err(Refused(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    text(value),
                    text(given)
                )));
            }
        }
    }
    if class["tolerations"].is_array()
        && let (Some(own), Some(more)) = (
            tolerations(spec.get("tolerations").unwrap_or(&Value::Null)),
            tolerations(&class["tolerations"]),
        )
    {
        let merged = merge(own.into_iter().chain(more).collect());
        spec.insert("tolerations".into(), json!(merged));
    }
    Ok(())
}

fn tolerations(list: &Value) -> Option<Vec<Toleration>> {
    match list {
        Value::Null => Some(Vec::new()),
        list => serde_json::from_value(list.clone()).ok(),
    }
}

/// Leaves out what another toleration covers; of equal ones the first stays.
fn merge(all: Vec<Toleration>) -> Vec<Toleration> {
    let mut merged: Vec<Toleration> = Vec::new();
    for (index, one) in all.iter().enumerate() {
        let covered = merged.iter().any(|other| covers(other, one))
            || all[index + 1..]
                .iter()
                .any(|other| other != one && covers(other, one));
        if !covered {
            merged.push(one.clone());
        }
    }
    merged
}

/// Whether what `one` tolerates is tolerated by `wide` too, for at least as long.
fn covers(wide: &Toleration, one: &Toleration) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let exists = text(&wide.operator) == "Exists";
    if wide == one {
        return true;
    }
    if text(&one.key) != text(&wide.key) && !(text(&wide.key).is_empty() && exists) {
        return false;
    }
    let effect = text(&wide.effect);
    if !effect.is_empty() && text(&one.effect) != effect {
        return false;
    }
    if effect == "NoExecute"
        && let Some(longest) = wide.toleration_seconds
        && one
            .toleration_seconds
            .is_none_or(|seconds| seconds > longest)
    {
        return false;
    }
    let equal = |operator: &str| operator.is_empty() || operator == "Equal";
    exists
        || (equal(&text(&wide.operator))
            && equal(&text(&one.operator))
            && text(&one.value) == text(&wide.value))
}

fn default_tolerations(spec: &mut Map<String, Value>) {
    let list = spec.entry("tolerations").or_insert_with(|| json!([]));
    if list.is_null() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else {
        return;
    };
    for taint in TAINTS {
        let known = list.iter().any(|toleration| {
            let text = |member: &str| toleration[member].as_str().unwrap_or("");
            (text("key") == taint || text("key").is_empty())
                && (text("effect") == "NoExecute" || text("effect").is_empty())
        });
        if !known {
            list.push(json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn admitted(spec: Value) -> Value {
        let mut pod = json!({"spec": spec});
        create(&mut pod, |_| None).unwrap();
        pod["spec"].take()
    }

    fn refused(spec: Value, class: Option<Value>) -> String {
        let mut pod = json!({"spec": spec});
        create(&mut pod, |_| class).unwrap_err().0
    }

    #[test]
    fn a_pod_that_says_nothing_gets_what_kubernetes_gives() {
        let spec = admitted(json!({}));
        assert_eq!(
            spec,
            json!({
                "serviceAccountName": "default", "priority": 0, "preemptionPolicy": "PreemptLowerPriority",
                "tolerations": [
                    {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                ],
            })
        );
        let mut again = json!({"spec": spec.clone()});
        create(&mut again, |_| None).unwrap();
        assert_eq!(again["spec"], spec);
    }

    #[test]
    fn what_a_pod_says_stays() {
        let all = json!([{"operator": "Exists"}]);
        let spec = admitted(json!({"serviceAccountName": "robot", "tolerations": all}));
        assert_eq!(spec["serviceAccountName"], "robot");
        assert_eq!(spec["tolerations"], all);
        let five = json!([{"key": TAINTS[0], "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]);
        let spec = admitted(json!({"serviceAccount": "old", "tolerations": five}));
        assert_eq!(spec["tolerations"][0], five[0]);
        assert_eq!(spec["tolerations"][1]["key"], TAINTS[1]);
        assert_eq!(spec.get("serviceAccountName"), None);
    }

    #[test]
    fn priority_comes_from_the_class_alone() {
        let spec = admitted(json!({"priorityClassName": "system-node-critical"}));
        assert_eq!(spec["priority"], 2_000_001_000);
        assert_eq!(
            refused(json!({"priorityClassName": "nope"}), None),
            "no PriorityClass with name nope was found"
        );
        assert!(refused(json!({"priority": 7}), None).contains(
            "(7) must not be provided in pod spec; priority admission controller computed 0"
        ));
        assert!(refused(json!({"preemptionPolicy": "Never"}), None).contains("(Never)"));
    }

    #[test]
    fn a_runtime_class_gives_overhead_and_scheduling() {
        let class = json!({
            "overhead": {"podFixed": {"memory": "64Mi"}},
            "scheduling": {
                "nodeSelector": {"vm": "yes"},
                "tolerations": [
                    {"key": "vm", "operator": "Exists"},
                    {"key": TAINTS[0], "operator": "Exists", "effect": "NoExecute"},
                ],
            },
        });
        let named = |more: Value| {
            let mut spec = json!({"runtimeClassName": "vm"});
            spec.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            spec
        };
        let mut pod = json!({"spec": named(json!({
            "overhead": {"memory": "65536Ki"}, "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "vm", "operator": "Equal", "value": "a", "effect": "NoSchedule"}],
        }))});
        create(&mut pod, |_| Some(class.clone())).unwrap();
        let spec = &pod["spec"];
        assert_eq!(spec["overhead"], json!({"memory": "64Mi"}));
        assert_eq!(spec["nodeSelector"], json!({"disk": "ssd", "vm": "yes"}));
        let keys: Vec<&str> = spec["tolerations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|toleration| toleration["key"].as_str().unwrap())
            .collect();
        assert_eq!(keys, ["vm", TAINTS[0], TAINTS[1]]);
        assert!(
            refused(
                named(json!({"overhead": {"memory": "1Gi"}})),
                Some(class.clone())
            )
            .contains("doesn't match")
        );
        assert_eq!(
            refused(named(json!({"nodeSelector": {"vm": "no"}})), Some(class)),
            "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no"
        );
        assert_eq!(
            refused(named(json!({})), None),
            "pod rejected: RuntimeClass \"vm\" not found"
        );
        assert!(refused(json!({"overhead": {"memory": "1Mi"}}), None).contains("without"));
    }

    #[test]
    fn an_update_keeps_what_admission_gave() {
        let old = json!({"spec": admitted(json!({}))});
        let mut new = json!({"spec": {}});
        update(&mut new, &old);
        assert_eq!(new["spec"]["priority"], 0);
        assert_eq!(new["spec"]["tolerations"], old["spec"]["tolerations"]);
    }

    #[test]
    fn what_is_no_pod_is_left_alone() {
        for body in [
            json!({}),
            json!({"spec": 5}),
            json!({"spec": {"tolerations": "x", "nodeSelector": 1}}),
        ] {
            let mut pod = body.clone();
            create(&mut pod, |_| {
                Some(json!({"scheduling": {"nodeSelector": {"a": "b"}}}))
            })
            .unwrap();
            update(&mut pod, &json!({}));
        }
    }
}
