//! What deleting an object means: gone at once, or marked and waiting for finalizers or a node.
//!
//! Follows Kubernetes' `rest.BeforeDelete` and the garbage collector's finalizers (API concepts: "Deletion",
//! "Finalizers", "Use cascading deletion").

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// The finalizer of a foreground deletion: dependents go first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an orphaning deletion: dependents lose their owner reference first.
pub const ORPHAN: &str = "orphan";

/// What becomes of the objects an object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Propagation {
    /// The owner goes first, dependents are collected after.
    Background,
    /// Dependents that block their owner go first.
    Foreground,
    /// Dependents stay.
    Orphan,
}

impl Propagation {
    /// Reads `propagationPolicy`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "Background" => Some(Self::Background),
            "Foreground" => Some(Self::Foreground),
            "Orphan" => Some(Self::Orphan),
            _ => None,
        }
    }
}

/// How an object is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Seconds; pods default to their own grace period, everything else to 0.
    pub grace_seconds: Option<i64>,
    /// Unset keeps the finalizers the object has.
    pub propagation: Option<Propagation>,
}

/// What a deletion comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Deletion {
    /// Nothing holds the object: remove it.
    Remove,
    /// It stays, marked, until what holds it lets go.
    Mark(Value),
    /// It is already marked just so.
    Unchanged,
}

/// Decides the deletion of `object` (of `kind`) at `now`.
#[must_use]
pub fn decide(kind: &str, object: &Value, options: Options, now: Timestamp) -> Deletion {
    let mut marked = object.clone();
    set_propagation(&mut marked, options.propagation);
    let grace = if kind == "Pod" {
        pod_grace(object, options.grace_seconds)
    } else {
        0
    };
    let held = holds(kind, &marked);
    if grace == 0 && !held {
        return Deletion::Remove;
    }
    mark(kind, &mut marked, grace, now);
    if marked == *object {
        Deletion::Unchanged
    } else {
        Deletion::Mark(marked)
    }
}

/// Whether a marked object has nothing left that holds it, so that an update that reaches this state removes it.
#[must_use]
pub fn is_released(kind: &str, object: &Value) -> bool {
    let deleting = object.pointer("/metadata/deletionTimestamp").is_some();
    let grace = object
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    deleting && grace == 0 && !holds(kind, object)
}

fn holds(kind: &str, object: &Value) -> bool {
    let any = |path: &str| {
        object
            .pointer(path)
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
    };
    any("/metadata/finalizers") || (kind == "Namespace" && any("/spec/finalizers"))
}

fn set_propagation(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else {
        return;
    };
    let wanted = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let mut finalizers: Vec<Value> = metadata
        .get("finalizers")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    finalizers.retain(|finalizer| *finalizer != FOREGROUND && *finalizer != ORPHAN);
    finalizers.extend(wanted.map(Value::from));
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), Value::Array(finalizers));
    }
}

/// Seconds a pod gets. One that never started, or has ended, needs none; a second deletion may only shorten it.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let phase = pod
        .pointer("/status/phase")
        .and_then(Value::as_str)
        .unwrap_or("Pending");
    let unbound = pod
        .pointer("/spec/nodeName")
        .and_then(Value::as_str)
        .unwrap_or("")
        .is_empty();
    if unbound || matches!(phase, "Succeeded" | "Failed") {
        return 0;
    }
    let own = pod
        .pointer("/spec/terminationGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(30);
    let wanted = asked.unwrap_or(own).max(0);
    match pod
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
    {
        Some(given) => wanted.min(given),
        None => wanted,
    }
}

fn mark(kind: &str, object: &mut Value, grace: i64, now: Timestamp) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let given = metadata
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64);
    let first = !metadata.contains_key("deletionTimestamp");
    if first || given.is_some_and(|given| grace < given) {
        let at = now
            .saturating_add(SignedDuration::from_secs(grace))
            .unwrap_or(now);
        metadata.insert(
            "deletionTimestamp".into(),
            json!(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        );
        metadata.insert("deletionGracePeriodSeconds".into(), json!(grace));
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
            metadata.insert("generation".into(), json!(generation + 1));
        }
    }
    if kind == "Namespace" {
        object["status"]["phase"] = json!("Terminating");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn running_pod() -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}, "status": {"phase": "Running"}})
    }

    #[test]
    fn an_object_that_nothing_holds_goes_at_once() {
        assert_eq!(
            decide(
                "ConfigMap",
                &json!({"metadata": {"name": "c"}}),
                Options::default(),
                now()
            ),
            Deletion::Remove
        );
    }

    #[test]
    fn a_running_pod_is_marked_with_its_grace_and_a_second_deletion_only_shortens_it() {
        let Deletion::Mark(marked) = decide("Pod", &running_pod(), Options::default(), now())
        else {
            panic!("not marked")
        };
        assert_eq!(
            marked["metadata"]["deletionTimestamp"],
            "2026-01-01T00:00:30Z"
        );
        let longer = Options {
            grace_seconds: Some(60),
            ..Options::default()
        };
        assert_eq!(decide("Pod", &marked, longer, now()), Deletion::Unchanged);
        let shorter = Options {
            grace_seconds: Some(5),
            ..Options::default()
        };
        let Deletion::Mark(again) = decide("Pod", &marked, shorter, now()) else {
            panic!("not marked")
        };
        assert_eq!(again["metadata"]["deletionGracePeriodSeconds"], 5);
        let at_once = Options {
            grace_seconds: Some(0),
            ..Options::default()
        };
        assert_eq!(decide("Pod", &marked, at_once, now()), Deletion::Remove);
    }

    #[test]
    fn a_pod_without_a_node_or_at_its_end_goes_at_once() {
        let mut pod = running_pod();
        pod["status"]["phase"] = json!("Succeeded");
        assert_eq!(
            decide("Pod", &pod, Options::default(), now()),
            Deletion::Remove
        );
        assert_eq!(
            decide(
                "Pod",
                &json!({"metadata": {"name": "p"}, "spec": {}}),
                Options::default(),
                now()
            ),
            Deletion::Remove
        );
    }

    #[test]
    fn finalizers_and_policies_hold_an_object() {
        let object = json!({"metadata": {"name": "d"}});
        for (propagation, finalizer) in [
            (Propagation::Foreground, FOREGROUND),
            (Propagation::Orphan, ORPHAN),
        ] {
            let options = Options {
                propagation: Some(propagation),
                ..Options::default()
            };
            let Deletion::Mark(marked) = decide("Deployment", &object, options, now()) else {
                panic!("not marked")
            };
            assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
            assert!(!is_released("Deployment", &marked));
        }
    }

    #[test]
    fn a_namespace_waits_for_its_content() {
        let namespace = json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
        let Deletion::Mark(mut marked) = decide("Namespace", &namespace, Options::default(), now())
        else {
            panic!("not marked")
        };
        assert_eq!(marked["status"]["phase"], "Terminating");
        assert!(!is_released("Namespace", &marked));
        marked["spec"]["finalizers"] = json!([]);
        assert!(is_released("Namespace", &marked));
    }
}
