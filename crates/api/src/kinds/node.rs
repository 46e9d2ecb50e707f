//! Node: a machine that runs pods.

use super::duration::age;
use super::typed::{Definition, selectable, spec_and_status};
use crate::kind::{Column, Descriptor, Scope, Subresource, Verb};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use serde_json::Value;

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

    spec_and_status!();

    selectable! {
        "spec.unschedulable" => "/spec/unschedulable" or "false",
    }

    fn cells(object: &Node, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            age(&object.metadata, now),
        ]
    }
}
