//! Deployment: a set of like pods that is changed step by step.

use super::duration::age;
use super::typed::Definition;
use super::without_effect::Patterns;
use super::{label_selector, pod, workload};
use crate::kind::{Column, Descriptor, Part, Subresource};
use crate::validation::{self, Errors, FieldError, Path, format};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

pub(super) struct Deployments;

static DESCRIPTOR: Descriptor = Descriptor {
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    subresources: &[Subresource::SCALE, Subresource::status("Deployment")],
    columns: &[
        Column::NAME,
        Column::text("Ready", "How many are ready, of how many."),
        Column::text("Up-to-date", "How many run the current template."),
        Column::text("Available", "How many have been ready for long enough."),
        Column::AGE,
        workload::CONTAINERS,
        workload::IMAGES,
        workload::SELECTOR,
    ],
    ..workload::DESCRIPTOR
};

impl Definition for Deployments {
    type Object = Deployment;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
    const GENERATION: bool = true;
    const WITHOUT_EFFECT: &'static [Patterns] = &[("spec.template.spec", pod::WITHOUT_EFFECT)];

    fn default(object: &mut Deployment) {
        let spec = object.spec.get_or_insert_default();
        pod::defaults::template(&mut spec.template);
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(10);
        spec.progress_deadline_seconds.get_or_insert(600);
        let strategy = spec.strategy.get_or_insert_default();
        if strategy.type_.as_deref().unwrap_or("").is_empty() {
            strategy.type_ = Some("RollingUpdate".to_owned());
        }
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let rolling = strategy.rolling_update.get_or_insert_default();
            let quarter = || IntOrString::String("25%".to_owned());
            rolling.max_unavailable.get_or_insert_with(quarter);
            rolling.max_surge.get_or_insert_with(quarter);
        }
    }

    fn prepare_create(object: &mut Deployment) {
        object.status = Some(Default::default());
    }

    fn prepare_update(object: &mut Deployment, old: &Deployment, part: Part) {
        match part {
            Part::Main => object.status.clone_from(&old.status),
            Part::Status => {
                object.spec.clone_from(&old.spec);
                object.metadata.labels.clone_from(&old.metadata.labels);
            }
        }
    }

    /// Annotations count too: rollouts copy them to ReplicaSets.
    fn spec_changed(new: &Deployment, old: &Deployment) -> bool {
        new.spec != old.spec || new.metadata.annotations != old.metadata.annotations
    }

    fn validate(object: &Deployment, errors: &mut Errors) {
        let Some(spec) = &object.spec else { return };
        let path = Path::new("spec");
        let field = path.child("replicas");
        validation::non_negative(errors, &field, spec.replicas.unwrap_or(0).into());
        workload::selector_and_template(&spec.selector, Some(&spec.template), "deployment", errors);
        if let Some(strategy) = &spec.strategy {
            self::strategy(strategy, &path.child("strategy"), errors);
        }
        numbers(spec, &path, errors);
    }

    fn validate_update(new: &Deployment, old: &Deployment, part: Part, errors: &mut Errors) {
        let (Some(new), Some(old), Part::Main) = (&new.spec, &old.spec, part) else {
            return;
        };
        let path = Path::new("spec");
        validation::immutable(
            errors,
            &path.child("selector"),
            &new.selector,
            &old.selector,
        );
    }

    fn cells(object: &Deployment, now: Timestamp) -> Vec<Value> {
        let status = object.status.clone().unwrap_or_default();
        let spec = object.spec.as_ref();
        let desired = spec.and_then(|spec| spec.replicas).unwrap_or(0);
        let (names, images) = workload::containers(spec.map(|spec| &spec.template));
        vec![
            object.metadata.name.clone().into(),
            format!("{}/{desired}", status.ready_replicas.unwrap_or(0)).into(),
            status.updated_replicas.unwrap_or(0).into(),
            status.available_replicas.unwrap_or(0).into(),
            age(&object.metadata, now),
            names.into(),
            images.into(),
            spec.map(|spec| label_selector::shown(&spec.selector))
                .into(),
        ]
    }
}

fn numbers(spec: &DeploymentSpec, path: &Path<'_>, errors: &mut Errors) {
    let ready = spec.min_ready_seconds.unwrap_or(0);
    validation::non_negative(errors, &path.child("minReadySeconds"), ready.into());
    let history = spec.revision_history_limit.unwrap_or(0);
    validation::non_negative(errors, &path.child("revisionHistoryLimit"), history.into());
    if let Some(deadline) = spec.progress_deadline_seconds {
        let field = path.child("progressDeadlineSeconds");
        validation::non_negative(errors, &field, deadline.into());
        if deadline <= ready {
            errors.push(FieldError::invalid(
                &field,
                deadline,
                "must be greater than minReadySeconds",
            ));
        }
    }
}

fn strategy(strategy: &DeploymentStrategy, path: &Path<'_>, errors: &mut Errors) {
    let rolling = path.child("rollingUpdate");
    match (
        strategy.type_.as_deref().unwrap_or(""),
        &strategy.rolling_update,
    ) {
        ("Recreate", Some(_)) => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            errors.push(FieldError::forbidden(&rolling, detail));
        }
        ("Recreate", None) => {}
        ("RollingUpdate", None) => {
            let detail = "this should be defaulted and never be nil";
            errors.push(FieldError::required(&rolling, detail));
        }
        ("RollingUpdate", Some(update)) => rolling_update(update, &rolling, errors),
        (other, _) => {
            let known = ["Recreate", "RollingUpdate"];
            errors.push(FieldError::not_supported(
                &path.child("type"),
                other,
                &known,
            ));
        }
    }
}

fn rolling_update(update: &RollingUpdateDeployment, path: &Path<'_>, errors: &mut Errors) {
    let zero = IntOrString::Int(0);
    let unavailable = update.max_unavailable.as_ref().unwrap_or(&zero);
    let surge = update.max_surge.as_ref().unwrap_or(&zero);
    let field = path.child("maxUnavailable");
    amount(unavailable, &field, errors);
    amount(surge, &path.child("maxSurge"), errors);
    let none = |value: &IntOrString| share(value) == Some(0) || *value == IntOrString::Int(0);
    if none(unavailable) && none(surge) {
        errors.push(FieldError::invalid(
            &field,
            unavailable,
            "may not be 0 when `maxSurge` is 0",
        ));
    }
    if share(unavailable).is_some_and(|share| share > 100) {
        errors.push(FieldError::invalid(
            &field,
            unavailable,
            "must not be greater than 100%",
        ));
    }
}

/// The number of a percentage.
fn share(value: &IntOrString) -> Option<u64> {
    match value {
        IntOrString::Int(_) => None,
        IntOrString::String(text) => text.strip_suffix('%')?.parse().ok(),
    }
}

fn amount(value: &IntOrString, field: &Path<'_>, errors: &mut Errors) {
    match value {
        IntOrString::Int(number) => validation::non_negative(errors, field, (*number).into()),
        IntOrString::String(text) => validation::each(errors, field, text, format::percent(text)),
    }
}
