//! Dropping zero values that Kubernetes' encoding leaves out (Go's `omitempty`).
//!
//! Only names whose Go field is a plain value are listed: behind a pointer, zero and absent differ.

use serde_json::{Map, Value};

/// Strings that are left out when empty.
const STRINGS: &[&str] = &[
    "clusterIP",
    "effect",
    "externalName",
    "externalTrafficPolicy",
    "generateName",
    "host",
    "hostIP",
    "hostname",
    "image",
    "imagePullPolicy",
    "key",
    "loadBalancerIP",
    "mountPropagation",
    "namespace",
    "nodeName",
    "operator",
    "path",
    "phase",
    "podIP",
    "priorityClassName",
    "protocol",
    "providerID",
    "reason",
    "resourceVersion",
    "scheme",
    "schedulerName",
    "selfLink",
    "serviceAccount",
    "serviceAccountName",
    "sessionAffinity",
    "subPath",
    "subPathExpr",
    "subdomain",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "uid",
    "value",
    "workingDir",
    "dnsPolicy",
    "medium",
];

/// Flags that are left out when false.
const FLAGS: &[&str] = &[
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "paused",
    "publishNotReadyAddresses",
    "readOnly",
    "stdin",
    "stdinOnce",
    "tty",
    "unschedulable",
];

/// Numbers that are left out when zero.
const NUMBERS: &[&str] = &[
    "failureThreshold",
    "hostPort",
    "initialDelaySeconds",
    "minReadySeconds",
    "nodePort",
    "periodSeconds",
    "successThreshold",
    "generation",
];

/// Maps that are left out when empty: the rest of the empty objects are structures that were set on purpose.
const MAPS: &[&str] = &[
    "annotations",
    "binaryData",
    "data",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "requests",
    "selector",
    "stringData",
];

/// Maps whose entries are the user's own: nothing in them is dropped.
const OPAQUE: &[&str] = &[
    "annotations",
    "binaryData",
    "data",
    "fieldsV1",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "requests",
    "stringData",
    "capacity",
    "allocatable",
];

/// Drops zero values from an object; tells whether there were any.
pub(super) fn zero_values(value: &mut Value) -> bool {
    match value {
        Value::Object(fields) => in_fields(fields),
        Value::Array(items) => items
            .iter_mut()
            .fold(false, |any, item| zero_values(item) | any),
        _ => false,
    }
}

fn in_fields(fields: &mut Map<String, Value>) -> bool {
    let before = fields.len();
    fields.retain(|name, value| !is_zero(name, value));
    let mut dropped = fields.len() != before;
    for (name, value) in fields.iter_mut() {
        if !OPAQUE.contains(&name.as_str()) {
            dropped |= zero_values(value);
        }
    }
    dropped
}

fn is_zero(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() && STRINGS.contains(&name),
        Value::Bool(flag) => !flag && FLAGS.contains(&name),
        Value::Number(number) => number.as_i64() == Some(0) && NUMBERS.contains(&name),
        // The endpoints of a slice are written even when there are none.
        Value::Array(items) => items.is_empty() && name != "endpoints",
        Value::Object(fields) => fields.is_empty() && MAPS.contains(&name),
    }
}
