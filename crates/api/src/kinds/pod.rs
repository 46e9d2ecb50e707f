//! Pod: containers that share one address and one fate.

use super::typed::{Definition, selectable};
use super::without_effect::Patterns;
use crate::kind::{Column, Descriptor, Part, Scope, Subresource, Verb};
use crate::validation::{Errors, FieldError, Path};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use serde_json::Value;

mod containers;
pub(super) mod defaults;
mod env;
pub(super) mod placement;
mod probes;
pub(super) mod resources;
mod security;
pub(super) mod spec;
mod table;
mod update;
mod volumes;
mod without_effect;

pub(super) use without_effect::WITHOUT_EFFECT;

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
    const WITHOUT_EFFECT: &'static [Patterns] = &[("spec", WITHOUT_EFFECT)];

    fn default(object: &mut Pod) {
        defaults::pod(object);
    }

    fn prepare_create(object: &mut Pod) {
        let quality = object.spec.as_ref().map(resources::quality);
        object.status = Some(PodStatus {
            phase: Some("Pending".to_owned()),
            qos_class: quality.map(str::to_owned),
            ..Default::default()
        });
    }

    fn prepare_update(object: &mut Pod, old: &Pod, part: Part) {
        match part {
            Part::Main => object.status.clone_from(&old.status),
            Part::Status => {
                object.spec.clone_from(&old.spec);
                object
                    .metadata
                    .owner_references
                    .clone_from(&old.metadata.owner_references);
                object
                    .metadata
                    .deletion_timestamp
                    .clone_from(&old.metadata.deletion_timestamp);
                let status = object.status.get_or_insert_default();
                if status.qos_class.is_none() {
                    status.qos_class = old
                        .status
                        .as_ref()
                        .and_then(|status| status.qos_class.clone());
                }
            }
        }
    }

    fn spec_changed(new: &Pod, old: &Pod) -> bool {
        new.spec != old.spec
    }

    fn validate(object: &Pod, errors: &mut Errors) {
        let empty = PodSpec::default();
        let path = Path::new("spec");
        let pod_spec = object.spec.as_ref().unwrap_or(&empty);
        spec::validate(pod_spec, &path, errors);
        if pod_spec
            .ephemeral_containers
            .as_ref()
            .is_some_and(|list| !list.is_empty())
        {
            let detail = "cannot be set on create";
            errors.push(FieldError::forbidden(
                &path.child("ephemeralContainers"),
                detail,
            ));
        }
    }

    fn validate_update(new: &Pod, old: &Pod, part: Part, errors: &mut Errors) {
        if part == Part::Main {
            update::validate(new, old, errors);
        }
    }

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
        table::cells(object, now)
    }
}

#[cfg(test)]
mod tests;
