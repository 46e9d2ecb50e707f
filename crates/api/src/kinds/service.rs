//! Service: one name and address for many pods.

use super::duration::age;
use super::typed::{Definition, selectable, spec_and_status};
use crate::kind::{Column, Descriptor, Scope, Subresource, Verb};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use serde_json::Value;

pub(super) struct Services;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "",
    version: "v1",
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[Subresource::status("Service")],
    columns: &[
        Column::NAME,
        Column::text("Type", "Its type."),
        Column::text("Cluster-IP", "Address inside the cluster."),
        Column::text("External-IP", "Addresses reachable from outside."),
        Column::text("Port(s)", "Its ports."),
        Column::AGE,
        Column::text("Selector", "Labels of the pods it selects.").wide(),
    ],
};

impl Definition for Services {
    type Object = Service;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;

    spec_and_status!();

    selectable! {
        "spec.clusterIP" => "/spec/clusterIP",
        "spec.type" => "/spec/type",
    }

    fn cells(object: &Service, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            age(&object.metadata, now),
        ]
    }
}
