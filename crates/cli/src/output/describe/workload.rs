//! Deployments and ReplicaSets, and the pods they make.

use super::{
    Related, Sheet, annotations, container, controlled_by, identity, map, moment, or_none, pod,
    selector,
};
use crate::fields;
use serde_json::Value;

pub(super) fn deployment(sheet: &mut Sheet, deployment: &Value, related: &Related) {
    identity(sheet, deployment);
    sheet.field(
        0,
        "CreationTimestamp",
        &moment(deployment, "/metadata/creationTimestamp"),
    );
    map(sheet, 0, "Labels", deployment, "/metadata/labels", "=");
    annotations(sheet, deployment);
    sheet.field(0, "Selector", or_none(&selector(deployment)));
    let number = |pointer: &str| fields::integer(deployment, pointer).unwrap_or(0);
    sheet.field(
        0,
        "Replicas",
        &format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            fields::integer(deployment, "/spec/replicas").unwrap_or(1),
            number("/status/updatedReplicas"),
            number("/status/replicas"),
            number("/status/availableReplicas"),
            number("/status/unavailableReplicas")
        ),
    );
    sheet.field(
        0,
        "StrategyType",
        fields::text(deployment, "/spec/strategy/type"),
    );
    sheet.field(
        0,
        "MinReadySeconds",
        &number("/spec/minReadySeconds").to_string(),
    );
    if let Some(rolling) = deployment.pointer("/spec/strategy/rollingUpdate") {
        let part = |field: &str| rolling.get(field).map(fields::plain).unwrap_or_default();
        sheet.field(
            0,
            "RollingUpdateStrategy",
            &format!(
                "{} max unavailable, {} max surge",
                part("maxUnavailable"),
                part("maxSurge")
            ),
        );
    }
    sheet.line(0, "Pod Template:");
    template(
        sheet,
        1,
        deployment.pointer("/spec/template").unwrap_or(&Value::Null),
    );
    conditions(sheet, deployment);
    replica_sets(sheet, deployment, &related.replica_sets);
}

/// Which ReplicaSets are old, and which is the present one: that of the highest revision.
fn replica_sets(sheet: &mut Sheet, deployment: &Value, sets: &[Value]) {
    const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";
    let uid = fields::text(deployment, "/metadata/uid");
    let own = |set: &&Value| {
        fields::controller(set).is_some_and(|owner| fields::text(owner, "/uid") == uid)
    };
    let revision = |set: &Value| fields::text(set, REVISION).parse::<i64>().unwrap_or(0);
    let mut sets: Vec<&Value> = sets.iter().filter(own).collect();
    sets.sort_by_key(|set| revision(set));
    let present = sets.pop();
    let shown = |set: &Value| {
        let number = |pointer: &str| fields::integer(set, pointer).unwrap_or(0);
        format!(
            "{} ({}/{} replicas created)",
            fields::name(set),
            number("/status/replicas"),
            number("/spec/replicas")
        )
    };
    let old: Vec<String> = sets.into_iter().map(shown).collect();
    sheet.field(0, "OldReplicaSets", or_none(&old.join(", ")));
    sheet.field(
        0,
        "NewReplicaSet",
        or_none(&present.map(shown).unwrap_or_default()),
    );
}

pub(super) fn replica_set(sheet: &mut Sheet, set: &Value, related: &Related) {
    identity(sheet, set);
    sheet.field(0, "Selector", or_none(&selector(set)));
    map(sheet, 0, "Labels", set, "/metadata/labels", "=");
    annotations(sheet, set);
    controlled_by(sheet, set);
    let number = |pointer: &str| fields::integer(set, pointer).unwrap_or(0);
    sheet.field(
        0,
        "Replicas",
        &format!(
            "{} current / {} desired",
            number("/status/replicas"),
            number("/spec/replicas")
        ),
    );
    let count = |phase: &str| {
        related
            .pods
            .iter()
            .filter(|pod| fields::text(pod, "/status/phase") == phase)
            .count()
    };
    sheet.field(
        0,
        "Pods Status",
        &format!(
            "{} Running / {} Waiting / {} Succeeded / {} Failed",
            count("Running"),
            count("Pending"),
            count("Succeeded"),
            count("Failed")
        ),
    );
    sheet.line(0, "Pod Template:");
    template(
        sheet,
        1,
        set.pointer("/spec/template").unwrap_or(&Value::Null),
    );
    conditions(sheet, set);
}

/// A pod template.
pub(crate) fn template(sheet: &mut Sheet, level: usize, template: &Value) {
    map(sheet, level, "Labels", template, "/metadata/labels", "=");
    if template.pointer("/metadata/annotations").is_some() {
        map(
            sheet,
            level,
            "Annotations",
            template,
            "/metadata/annotations",
            ": ",
        );
    }
    for (label, pointer) in [
        ("Service Account", "/spec/serviceAccountName"),
        ("Runtime Class Name", "/spec/runtimeClassName"),
    ] {
        if !fields::text(template, pointer).is_empty() {
            sheet.field(level, label, fields::text(template, pointer));
        }
    }
    for (heading, pointer) in [
        ("Init Containers", "/spec/initContainers"),
        ("Containers", "/spec/containers"),
    ] {
        container::list(sheet, level, heading, fields::list(template, pointer), &[]);
    }
    pod::volumes(sheet, level, fields::list(template, "/spec/volumes"));
    map(
        sheet,
        level,
        "Node-Selectors",
        template,
        "/spec/nodeSelector",
        "=",
    );
    pod::tolerations(sheet, level, template);
}

fn conditions(sheet: &mut Sheet, object: &Value) {
    let conditions = fields::list(object, "/status/conditions");
    if conditions.is_empty() {
        return;
    }
    sheet.line(0, "Conditions:");
    sheet.line(1, "Type\tStatus\tReason");
    sheet.line(1, "----\t------\t------");
    for condition in conditions {
        sheet.line(
            1,
            &format!(
                "{}\t{}\t{}",
                fields::text(condition, "/type"),
                fields::text(condition, "/status"),
                fields::text(condition, "/reason")
            ),
        );
    }
}
