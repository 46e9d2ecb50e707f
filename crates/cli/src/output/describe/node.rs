//! Nodes.

use super::{Related, Sheet, annotations, lines, map, moment};
use crate::fields;
use jiff::Timestamp;
use pontoon_api::{kinds::duration::since, quantity::Quantity};
use serde_json::Value;

pub(super) fn describe(sheet: &mut Sheet, node: &Value, related: &Related, now: Timestamp) {
    sheet.field(0, "Name", fields::name(node));
    sheet.field(0, "Roles", &roles(node));
    map(sheet, 0, "Labels", node, "/metadata/labels", "=");
    annotations(sheet, node);
    sheet.field(
        0,
        "CreationTimestamp",
        &moment(node, "/metadata/creationTimestamp"),
    );
    let taints: Vec<String> = fields::list(node, "/spec/taints")
        .iter()
        .map(taint)
        .collect();
    lines(sheet, 0, "Taints", &taints);
    sheet.field(
        0,
        "Unschedulable",
        &fields::is_true(node, "/spec/unschedulable").to_string(),
    );
    conditions(sheet, node);
    sheet.line(0, "Addresses:");
    for address in fields::list(node, "/status/addresses") {
        sheet.field(
            1,
            fields::text(address, "/type"),
            fields::text(address, "/address"),
        );
    }
    for (label, pointer) in [
        ("Capacity", "/status/capacity"),
        ("Allocatable", "/status/allocatable"),
    ] {
        sheet.line(0, &format!("{label}:"));
        for (resource, amount) in fields::entries(node, pointer) {
            sheet.field(1, resource, &fields::plain(amount));
        }
    }
    system(sheet, node);
    for (label, pointer) in [("PodCIDR", "/spec/podCIDR"), ("PodCIDRs", "/spec/podCIDRs")] {
        let ranges: Vec<String> = match node.pointer(pointer) {
            Some(Value::Array(list)) => list.iter().map(fields::plain).collect(),
            other => other.map(fields::plain).into_iter().collect(),
        };
        if !ranges.is_empty() {
            sheet.field(0, label, &ranges.join(","));
        }
    }
    pods(sheet, node, &related.pods, now);
    allocated(sheet, node, &related.pods);
}

fn conditions(sheet: &mut Sheet, node: &Value) {
    sheet.line(0, "Conditions:");
    sheet.line(
        1,
        "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage",
    );
    sheet.line(
        1,
        "----\t------\t-----------------\t------------------\t------\t-------",
    );
    for condition in fields::list(node, "/status/conditions") {
        sheet.line(
            1,
            &format!(
                "{} \t{} \t{} \t{} \t{} \t{}",
                fields::text(condition, "/type"),
                fields::text(condition, "/status"),
                moment(condition, "/lastHeartbeatTime"),
                moment(condition, "/lastTransitionTime"),
                fields::text(condition, "/reason"),
                fields::text(condition, "/message")
            ),
        );
    }
}

fn roles(node: &Value) -> String {
    let roles: Vec<&str> = fields::entries(node, "/metadata/labels")
        .into_iter()
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.join(",")
    }
}

fn taint(taint: &Value) -> String {
    let (key, effect) = (fields::text(taint, "/key"), fields::text(taint, "/effect"));
    match fields::text(taint, "/value") {
        "" => format!("{key}:{effect}"),
        value => format!("{key}={value}:{effect}"),
    }
}

fn system(sheet: &mut Sheet, node: &Value) {
    sheet.line(0, "System Info:");
    for (label, field) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        sheet.field(
            1,
            label,
            fields::text(node, &format!("/status/nodeInfo/{field}")),
        );
    }
}

/// Pods that still use something.
fn live(pods: &[Value]) -> impl Iterator<Item = &Value> {
    pods.iter()
        .filter(|pod| !matches!(fields::text(pod, "/status/phase"), "Succeeded" | "Failed"))
}

fn pods(sheet: &mut Sheet, node: &Value, pods: &[Value], now: Timestamp) {
    sheet.line(
        0,
        &format!("Non-terminated Pods:\t({} in total)", live(pods).count()),
    );
    sheet.line(
        1,
        "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge",
    );
    sheet.line(
        1,
        "---------\t----\t\t------------\t----------\t---------------\t-------------\t---",
    );
    for pod in live(pods) {
        let share =
            |part, resource| share(node, total(std::iter::once(pod), part, resource), resource);
        sheet.line(
            1,
            &format!(
                "{}\t{}\t\t{}\t{}\t{}\t{}\t{}",
                fields::namespace(pod),
                fields::name(pod),
                share("requests", "cpu"),
                share("limits", "cpu"),
                share("requests", "memory"),
                share("limits", "memory"),
                since(fields::time(pod, "/metadata/creationTimestamp"), now)
            ),
        );
    }
}

/// What pods' containers ask for together.
fn total<'p>(
    pods: impl Iterator<Item = &'p Value>,
    part: &str,
    resource: &str,
) -> Option<Quantity> {
    let pointer = format!("/resources/{part}/{resource}");
    pods.flat_map(|pod| fields::list(pod, "/spec/containers"))
        .filter_map(|container| fields::text(container, &pointer).parse::<Quantity>().ok())
        .reduce(|sum, next| sum.plus(&next))
}

/// An amount, and how much of what the node has that is.
fn share(node: &Value, amount: Option<Quantity>, resource: &str) -> String {
    let Some(amount) = amount else {
        return "0 (0%)".to_owned();
    };
    let capacity =
        fields::text(node, &format!("/status/allocatable/{resource}")).parse::<Quantity>();
    let capacity = capacity.map_or(0, |capacity| capacity.millis());
    let percent = i128::from(amount.millis()) * 100 / i128::from(capacity.max(1));
    format!("{amount} ({percent}%)")
}

fn allocated(sheet: &mut Sheet, node: &Value, pods: &[Value]) {
    sheet.line(0, "Allocated resources:");
    sheet.line(
        1,
        "(Total limits may be over 100 percent, i.e., overcommitted.)",
    );
    sheet.line(1, "Resource\tRequests\tLimits");
    sheet.line(1, "--------\t--------\t------");
    for resource in ["cpu", "memory", "ephemeral-storage"] {
        let column = |part: &str| share(node, total(live(pods), part, resource), resource);
        sheet.line(
            1,
            &format!("{resource}\t{}\t{}", column("requests"), column("limits")),
        );
    }
}
