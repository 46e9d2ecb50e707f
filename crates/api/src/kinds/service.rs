//! Service: one name and address for many pods.

use super::duration::age;
use super::typed::{Definition, selectable};
use super::without_effect::Patterns;
use crate::kind::{Column, Descriptor, Part, Scope, Subresource, Verb};
use crate::validation::{Errors, format};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use serde_json::Value;

mod defaults;
mod rules;
mod table;

/// Fields of a service's spec that Pontoon accepts and does not act on.
const WITHOUT_EFFECT: &[&str] = &[
    "externalIPs",
    "externalTrafficPolicy=Local",
    "internalTrafficPolicy=Local",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "trafficDistribution",
];

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
    const WITHOUT_EFFECT: &'static [Patterns] = &[("spec", WITHOUT_EFFECT)];

    selectable! {
        "spec.clusterIP" => "/spec/clusterIP",
        "spec.type" => "/spec/type",
    }

    fn name(name: &str) -> Vec<String> {
        format::dns1035_label(name)
    }

    fn default(object: &mut Service) {
        defaults::service(object.spec.get_or_insert_default());
    }

    fn prepare_create(object: &mut Service) {
        let mut status = k8s_openapi::api::core::v1::ServiceStatus::default();
        status.load_balancer.get_or_insert_default();
        object.status = Some(status);
        defaults::cluster_ips(object.spec.get_or_insert_default(), None);
    }

    fn prepare_update(object: &mut Service, old: &Service, part: Part) {
        match part {
            Part::Main => {
                object.status.clone_from(&old.status);
                let empty = ServiceSpec::default();
                let old = old.spec.as_ref().unwrap_or(&empty);
                let spec = object.spec.get_or_insert_default();
                defaults::cluster_ips(spec, Some(old));
                defaults::keep_allocated(spec, old);
            }
            Part::Status => object.spec.clone_from(&old.spec),
        }
    }

    fn validate(object: &Service, errors: &mut Errors) {
        if let Some(spec) = &object.spec {
            rules::validate(spec, errors);
        }
    }

    fn validate_update(new: &Service, old: &Service, part: Part, errors: &mut Errors) {
        if let (Some(new), Some(old), Part::Main) = (&new.spec, &old.spec, part) {
            rules::validate_update(new, old, errors);
        }
    }

    fn cells(object: &Service, now: Timestamp) -> Vec<Value> {
        let empty = ServiceSpec::default();
        let spec = object.spec.as_ref().unwrap_or(&empty);
        vec![
            object.metadata.name.clone().into(),
            spec.type_.clone().into(),
            table::cluster_ip(spec).into(),
            table::external_ip(spec, object.status.as_ref()).into(),
            table::ports(spec).into(),
            age(&object.metadata, now),
            table::selector(spec).into(),
        ]
    }
}

/// Whether pods reach the service through an address of its own.
fn has_cluster_ip(spec: &ServiceSpec) -> bool {
    matches!(
        spec.type_.as_deref(),
        Some("ClusterIP" | "NodePort" | "LoadBalancer")
    )
}

fn has_node_ports(spec: &ServiceSpec) -> bool {
    match spec.type_.as_deref() {
        Some("NodePort") => true,
        Some("LoadBalancer") => spec.allocate_load_balancer_node_ports != Some(false),
        _ => false,
    }
}

fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref() == Some("None")
}

/// Whether it can be reached from outside the cluster.
fn is_external(spec: &ServiceSpec) -> bool {
    match spec.type_.as_deref() {
        Some("NodePort" | "LoadBalancer") => true,
        Some("ClusterIP") => spec
            .external_ips
            .as_ref()
            .is_some_and(|list| !list.is_empty()),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
