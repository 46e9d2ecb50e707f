//! Pod: containers that share one address and one fate.

use super::duration::age;
use super::typed::{Definition, selectable, spec_and_status};
use crate::kind::{Column, Descriptor, Scope, Subresource, Verb};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

pub(super) struct Pods;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "",
    version: "v1",
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[
        Subresource::new("attach", "PodAttachOptions", &[Verb::Create, Verb::Get]),
        Subresource::new("binding", "Binding", &[Verb::Create]),
        Subresource::new("ephemeralcontainers", "Pod", Verb::STATUS),
        Subresource::of("eviction", "Eviction", "policy", "v1", &[Verb::Create]),
        Subresource::new("exec", "PodExecOptions", &[Verb::Create, Verb::Get]),
        Subresource::new("log", "Pod", &[Verb::Get]),
        Subresource::new(
            "portforward",
            "PodPortForwardOptions",
            &[Verb::Create, Verb::Get],
        ),
        Subresource::status("Pod"),
    ],
    columns: &[
        Column::NAME,
        Column::text("Ready", "How many are ready, of how many."),
        Column::text("Status", "The state it is in."),
        Column::text(
            "Restarts",
            "How often its containers restarted, and when last.",
        ),
        Column::AGE,
        Column::text("IP", "Its address.").wide(),
        Column::text("Node", "Where it runs.").wide(),
        Column::text("Nominated Node", "Where room is being made for it.").wide(),
        Column::text("Readiness Gates", "Conditions met, of those asked for.").wide(),
    ],
};

impl Definition for Pods {
    type Object = Pod;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
    const GENERATION: bool = true;

    spec_and_status!();

    selectable! {
        "spec.nodeName" => "/spec/nodeName",
        "spec.restartPolicy" => "/spec/restartPolicy",
        "spec.schedulerName" => "/spec/schedulerName",
        "spec.serviceAccountName" => "/spec/serviceAccountName",
        "spec.hostNetwork" => "/spec/hostNetwork" or "false",
        "status.phase" => "/status/phase",
        "status.podIP" => "/status/podIP",
        "status.nominatedNodeName" => "/status/nominatedNodeName",
    }

    fn cells(object: &Pod, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            age(&object.metadata, now),
        ]
    }
}
