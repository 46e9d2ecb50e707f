//! Node: a machine that runs pods.

use super::duration::age;
use super::typed::{Definition, selectable};
use crate::kind::Part;
use crate::kind::{Column, Descriptor, Scope, Subresource, Verb};
use crate::validation::{self, Errors, FieldError, Path, format};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Taint};
use serde_json::Value;

/// Labels that name a node's roles.
const ROLE_PREFIX: &str = "node-role.kubernetes.io/";

pub(super) struct Nodes;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "",
    version: "v1",
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verb::ALL,
    subresources: &[Subresource::status("Node")],
    columns: &[
        Column::NAME,
        Column::text("Status", "The state it is in."),
        Column::text("Roles", "The roles it is labelled with."),
        Column::AGE,
        Column::text("Version", "Version of the node agent."),
        Column::text("Internal-IP", "Address inside the cluster.").wide(),
        Column::text("External-IP", "Addresses reachable from outside.").wide(),
        Column::text("OS-Image", "Its operating system.").wide(),
        Column::text("Kernel-Version", "Its kernel.").wide(),
        Column::text("Container-Runtime", "Its runtime and version.").wide(),
    ],
};

impl Definition for Nodes {
    type Object = Node;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;

    selectable! {
        "spec.unschedulable" => "/spec/unschedulable" or "false",
    }

    fn default(object: &mut Node) {
        object.spec.get_or_insert_default();
        // A node registers itself with its status, so that it is not cleared at creation.
        let status = object.status.get_or_insert_default();
        status
            .daemon_endpoints
            .get_or_insert_default()
            .kubelet_endpoint
            .get_or_insert_default();
        status.node_info.get_or_insert_default();
    }

    fn prepare_update(object: &mut Node, old: &Node, part: Part) {
        match part {
            Part::Main => object.status.clone_from(&old.status),
            Part::Status => object.spec.clone_from(&old.spec),
        }
    }

    fn validate(object: &Node, errors: &mut Errors) {
        let Some(spec) = &object.spec else { return };
        let path = Path::new("spec");
        taints(
            spec.taints.as_deref().unwrap_or_default(),
            &path.child("taints"),
            errors,
        );
    }

    fn validate_update(new: &Node, old: &Node, part: Part, errors: &mut Errors) {
        let (Some(new), Some(old), Part::Main) = (&new.spec, &old.spec, part) else {
            return;
        };
        let path = Path::new("spec");
        if old.provider_id.is_some() && new.provider_id != old.provider_id {
            let detail = "node updates may not change providerID except from \"\" to valid";
            errors.push(FieldError::forbidden(&path.child("providerID"), detail));
        }
        if old.pod_cidrs.is_some() && new.pod_cidrs != old.pod_cidrs {
            let detail = "node updates may not change podCIDR except from \"\" to valid";
            errors.push(FieldError::forbidden(&path.child("podCIDRs"), detail));
        }
    }

    fn cells(object: &Node, now: Timestamp) -> Vec<Value> {
        let empty_spec = NodeSpec::default();
        let empty_status = NodeStatus::default();
        let status = object.status.as_ref().unwrap_or(&empty_status);
        let info = status.node_info.clone().unwrap_or_default();
        let shown = |text: String| {
            if text.is_empty() {
                "<unknown>".to_owned()
            } else {
                text
            }
        };
        vec![
            object.metadata.name.clone().into(),
            condition(object.spec.as_ref().unwrap_or(&empty_spec), status).into(),
            roles(object).into(),
            age(&object.metadata, now),
            info.kubelet_version.clone().into(),
            address(status, "InternalIP").into(),
            address(status, "ExternalIP").into(),
            shown(info.os_image).into(),
            shown(info.kernel_version).into(),
            shown(info.container_runtime_version).into(),
        ]
    }
}

fn taints(taints: &[Taint], path: &Path<'_>, errors: &mut Errors) {
    for (index, taint) in taints.iter().enumerate() {
        let path = path.index(index);
        validation::each(
            errors,
            &path.child("key"),
            &taint.key,
            format::qualified_name(&taint.key),
        );
        let value = taint.value.as_deref().unwrap_or("");
        validation::each(
            errors,
            &path.child("value"),
            value,
            format::label_value(value),
        );
        let known = ["NoExecute", "NoSchedule", "PreferNoSchedule"];
        if taint.effect.is_empty() {
            errors.push(FieldError::required(&path.child("effect"), ""));
        } else if !known.contains(&taint.effect.as_str()) {
            errors.push(FieldError::not_supported(
                &path.child("effect"),
                &taint.effect,
                &known,
            ));
        }
        let same = |other: &Taint| other.key == taint.key && other.effect == taint.effect;
        if taints[..index].iter().any(same) {
            errors.push(FieldError::duplicate(&path, taint));
        }
    }
}

fn condition(spec: &NodeSpec, status: &NodeStatus) -> String {
    let ready = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready");
    let mut text = match ready {
        None => "Unknown",
        Some(condition) if condition.status == "True" => "Ready",
        Some(_) => "NotReady",
    }
    .to_owned();
    if spec.unschedulable == Some(true) {
        text.push_str(",SchedulingDisabled");
    }
    text
}

fn roles(node: &Node) -> String {
    let labels = node.metadata.labels.iter().flatten();
    let mut roles: Vec<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => Some(role),
            None => (key == "kubernetes.io/role").then_some(value),
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.join(",")
    }
}

fn address(status: &NodeStatus, kind: &str) -> String {
    let found = status
        .addresses
        .iter()
        .flatten()
        .find(|address| address.type_ == kind);
    found.map_or_else(|| "<none>".to_owned(), |found| found.address.clone())
}
