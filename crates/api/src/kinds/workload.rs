//! What Deployments and ReplicaSets share: names, columns, a selector, a template, and their cells.

use super::pod::spec;
use super::{label_selector, metadata};
use crate::kind::{Column, Descriptor, Scope, Verb};
use crate::validation::{Errors, FieldError, Path};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// What the descriptors of workloads in `apps/v1` have in common; each fills in its own names.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    group: "apps",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short_names: &[],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[],
    columns: &[],
};

/// The wide columns of workloads.
pub(super) const CONTAINERS: Column = Column::text("Containers", "Names of its containers.").wide();
pub(super) const IMAGES: Column = Column::text("Images", "Images of its containers.").wide();
pub(super) const SELECTOR: Column =
    Column::text("Selector", "Labels of the pods it selects.").wide();

/// Checks a selector, and that it selects the pods of its own template.
pub(super) fn selector_and_template(
    selector: &LabelSelector,
    template: Option<&PodTemplateSpec>,
    what: &str,
    errors: &mut Errors,
) {
    let path = Path::new("spec");
    let field = path.child("selector");
    label_selector::validate(selector, &field, errors);
    if label_selector::is_empty(selector) {
        let detail = format!("empty selector is invalid for {what}");
        errors.push(FieldError::invalid(&field, selector, detail));
    }
    let empty = Default::default();
    let labels = template
        .and_then(|template| template.metadata.as_ref())
        .and_then(|metadata| metadata.labels.as_ref());
    let labels = labels.unwrap_or(&empty);
    let Some(matches) = label_selector::matches(selector, labels) else {
        errors.push(FieldError::invalid(
            &field,
            selector,
            "invalid label selector",
        ));
        return;
    };
    let field = path.child("template");
    let Some(template) = template else {
        errors.push(FieldError::required(&field, ""));
        return;
    };
    if !label_selector::is_empty(selector) && !matches {
        let field = field.child("metadata");
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&field.child("labels"), labels, detail));
    }
    self::template(template, &field, errors);
}

fn template(template: &PodTemplateSpec, path: &Path<'_>, errors: &mut Errors) {
    if let Some(metadata) = &template.metadata {
        let path = path.child("metadata");
        if let Some(labels) = &metadata.labels {
            metadata::labels(labels, &path.child("labels"), errors);
        }
        if let Some(annotations) = &metadata.annotations {
            metadata::annotations(annotations, &path.child("annotations"), errors);
        }
    }
    let empty = PodSpec::default();
    let pod = template.spec.as_ref().unwrap_or(&empty);
    let path = path.child("spec");
    spec::validate(pod, &path, errors);
    if let Some(policy) = pod
        .restart_policy
        .as_deref()
        .filter(|policy| *policy != "Always")
    {
        errors.push(FieldError::not_supported(
            &path.child("restartPolicy"),
            policy,
            &["Always"],
        ));
    }
    if pod.active_deadline_seconds.is_some() {
        let detail = "activeDeadlineSeconds in ReplicaSet is not Supported";
        errors.push(FieldError::forbidden(
            &path.child("activeDeadlineSeconds"),
            detail,
        ));
    }
}

/// Names and images of a template's containers, as tables show them.
pub(super) fn containers(template: Option<&PodTemplateSpec>) -> (String, String) {
    let containers = template
        .and_then(|template| template.spec.as_ref())
        .map(|spec| spec.containers.as_slice());
    let containers = containers.unwrap_or_default();
    let names: Vec<&str> = containers
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    let images: Vec<&str> = containers
        .iter()
        .map(|container| container.image.as_deref().unwrap_or(""))
        .collect();
    (names.join(","), images.join(","))
}
