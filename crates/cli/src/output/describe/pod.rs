//! Pods.

use super::{Sheet, annotations, container, controlled_by, identity, lines, map, moment, or_none};
use crate::fields;
use serde_json::Value;

pub(super) fn describe(sheet: &mut Sheet, pod: &Value) {
    identity(sheet, pod);
    let text = |pointer: &str| fields::text(pod, pointer);
    if let Some(priority) = fields::integer(pod, "/spec/priority") {
        sheet.field(0, "Priority", &priority.to_string());
    }
    for (label, pointer) in [
        ("Priority Class Name", "/spec/priorityClassName"),
        ("Runtime Class Name", "/spec/runtimeClassName"),
        ("Service Account", "/spec/serviceAccountName"),
    ] {
        if !text(pointer).is_empty() {
            sheet.field(0, label, text(pointer));
        }
    }
    let node = match text("/spec/nodeName") {
        "" => "<none>".to_owned(),
        node => format!("{node}/{}", text("/status/hostIP")),
    };
    sheet.field(0, "Node", &node);
    if !text("/status/startTime").is_empty() {
        sheet.field(0, "Start Time", &moment(pod, "/status/startTime"));
    }
    map(sheet, 0, "Labels", pod, "/metadata/labels", "=");
    annotations(sheet, pod);
    state(sheet, pod);
    controlled_by(sheet, pod);
    for (heading, spec, status) in [
        (
            "Init Containers",
            "/spec/initContainers",
            "/status/initContainerStatuses",
        ),
        (
            "Containers",
            "/spec/containers",
            "/status/containerStatuses",
        ),
    ] {
        container::list(
            sheet,
            0,
            heading,
            fields::list(pod, spec),
            fields::list(pod, status),
        );
    }
    conditions(sheet, pod);
    volumes(sheet, 0, fields::list(pod, "/spec/volumes"));
    sheet.field(0, "QoS Class", text("/status/qosClass"));
    map(sheet, 0, "Node-Selectors", pod, "/spec/nodeSelector", "=");
    tolerations(sheet, 0, pod);
}

/// What taints a pod (or one of a template) bears.
pub(super) fn tolerations(sheet: &mut Sheet, level: usize, pod: &Value) {
    let shown: Vec<String> = fields::list(pod, "/spec/tolerations")
        .iter()
        .map(toleration)
        .collect();
    lines(sheet, level, "Tolerations", &shown);
}

/// What it does, why, and its addresses.
fn state(sheet: &mut Sheet, pod: &Value) {
    let text = |pointer: &str| fields::text(pod, pointer);
    if text("/metadata/deletionTimestamp").is_empty() {
        sheet.field(0, "Status", text("/status/phase"));
    } else {
        sheet.field(
            0,
            "Status",
            &format!(
                "Terminating (until {})",
                moment(pod, "/metadata/deletionTimestamp")
            ),
        );
        let grace = fields::integer(pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(0);
        sheet.field(0, "Termination Grace Period", &format!("{grace}s"));
    }
    for (label, pointer) in [("Reason", "/status/reason"), ("Message", "/status/message")] {
        if !text(pointer).is_empty() {
            sheet.field(0, label, text(pointer));
        }
    }
    sheet.field(0, "IP", text("/status/podIP"));
    let addresses = fields::list(pod, "/status/podIPs");
    if addresses.is_empty() {
        sheet.field(0, "IPs", "<none>");
    } else {
        sheet.line(0, "IPs:");
        for address in addresses {
            sheet.field(1, "IP", fields::text(address, "/ip"));
        }
    }
}

fn conditions(sheet: &mut Sheet, pod: &Value) {
    let conditions = fields::list(pod, "/status/conditions");
    if conditions.is_empty() {
        return;
    }
    sheet.line(0, "Conditions:");
    sheet.line(1, "Type\tStatus");
    for condition in conditions {
        sheet.line(
            1,
            &format!(
                "{} \t{} ",
                fields::text(condition, "/type"),
                fields::text(condition, "/status")
            ),
        );
    }
}

pub(super) fn volumes(sheet: &mut Sheet, level: usize, volumes: &[Value]) {
    if volumes.is_empty() {
        sheet.field(level, "Volumes", "<none>");
        return;
    }
    sheet.line(level, "Volumes:");
    for volume in volumes {
        sheet.line(level + 1, &format!("{}:", fields::text(volume, "/name")));
        let Some((kind, source)) = volume
            .as_object()
            .into_iter()
            .flatten()
            .find(|(key, _)| *key != "name")
        else {
            continue;
        };
        let inner = level + 2;
        match kind.as_str() {
            "configMap" => {
                sheet.field(
                    inner,
                    "Type",
                    "ConfigMap (a volume populated by a ConfigMap)",
                );
                sheet.field(inner, "Name", fields::text(source, "/name"));
                sheet.field(
                    inner,
                    "Optional",
                    &fields::is_true(source, "/optional").to_string(),
                );
            }
            "secret" => {
                sheet.field(inner, "Type", "Secret (a volume populated by a Secret)");
                sheet.field(inner, "SecretName", fields::text(source, "/secretName"));
                sheet.field(
                    inner,
                    "Optional",
                    &fields::is_true(source, "/optional").to_string(),
                );
            }
            "emptyDir" => {
                sheet.field(
                    inner,
                    "Type",
                    "EmptyDir (a temporary directory that shares a pod's lifetime)",
                );
                sheet.field(inner, "Medium", fields::text(source, "/medium"));
                let limit = source
                    .get("sizeLimit")
                    .map(fields::plain)
                    .unwrap_or_default();
                sheet.field(
                    inner,
                    "SizeLimit",
                    if limit.is_empty() { "<unset>" } else { &limit },
                );
            }
            "hostPath" => {
                sheet.field(inner, "Type", "HostPath (bare host directory volume)");
                sheet.field(inner, "Path", fields::text(source, "/path"));
                sheet.field(inner, "HostPathType", fields::text(source, "/type"));
            }
            other => sheet.field(inner, "Type", other),
        }
    }
}

fn toleration(toleration: &Value) -> String {
    let (key, value) = (
        fields::text(toleration, "/key"),
        fields::text(toleration, "/value"),
    );
    let mut text = key.to_owned();
    if !value.is_empty() {
        text.push_str(&format!("={value}"));
    }
    if !fields::text(toleration, "/effect").is_empty() {
        text.push_str(&format!(":{}", fields::text(toleration, "/effect")));
    }
    if fields::text(toleration, "/operator") == "Exists" && value.is_empty() {
        text.push_str(" op=Exists");
    }
    if let Some(seconds) = fields::integer(toleration, "/tolerationSeconds") {
        text.push_str(&format!(" for {seconds}s"));
    }
    or_none(text.trim_start()).to_owned()
}
