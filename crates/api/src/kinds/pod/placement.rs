//! Where a pod may run: node selector, affinity, tolerations, spread.

use crate::kinds::{label_selector, metadata};
use crate::validation::{self, Errors, FieldError, Path, format};
use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, PodSpec,
    Toleration, TopologySpreadConstraint, WeightedPodAffinityTerm,
};

/// Checks the labels a node must carry.
pub(super) fn node_selector(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    if let Some(labels) = &spec.node_selector {
        metadata::labels(labels, &path.child("nodeSelector"), errors);
    }
}

/// Checks affinity to nodes and to other pods.
pub(super) fn affinity(affinity: &Affinity, path: &Path<'_>, errors: &mut Errors) {
    if let Some(node) = &affinity.node_affinity {
        node_affinity(node, &path.child("nodeAffinity"), errors);
    }
    if let Some(pods) = &affinity.pod_affinity {
        pod_terms(
            pods.required_during_scheduling_ignored_during_execution
                .as_deref(),
            pods.preferred_during_scheduling_ignored_during_execution
                .as_deref(),
            &path.child("podAffinity"),
            errors,
        );
    }
    if let Some(pods) = &affinity.pod_anti_affinity {
        pod_terms(
            pods.required_during_scheduling_ignored_during_execution
                .as_deref(),
            pods.preferred_during_scheduling_ignored_during_execution
                .as_deref(),
            &path.child("podAntiAffinity"),
            errors,
        );
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn node_affinity(affinity: &NodeAffinity, path: &Path<'_>, errors: &mut Errors) {
    if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
        let path = path.child(REQUIRED);
        let field = path.child("nodeSelectorTerms");
        if required.node_selector_terms.is_empty() {
            errors.push(FieldError::required(
                &field,
                "must have at least one node selector term",
            ));
        }
        for (index, term) in required.node_selector_terms.iter().enumerate() {
            node_term(term, &field.index(index), errors);
        }
    }
    let field = path.child(PREFERRED);
    let preferred = affinity
        .preferred_during_scheduling_ignored_during_execution
        .iter()
        .flatten();
    for (index, term) in preferred.enumerate() {
        let path = field.index(index);
        weight(term.weight, &path, errors);
        node_term(&term.preference, &path.child("preference"), errors);
    }
}

fn weight(weight: i32, path: &Path<'_>, errors: &mut Errors) {
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(
            &path.child("weight"),
            weight,
            "must be in the range 1-100",
        ));
    }
}

fn node_term(term: &NodeSelectorTerm, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("matchExpressions");
    for (index, requirement) in term.match_expressions.iter().flatten().enumerate() {
        node_requirement(requirement, &field.index(index), errors);
    }
    let field = path.child("matchFields");
    for (index, requirement) in term.match_fields.iter().flatten().enumerate() {
        node_field(requirement, &field.index(index), errors);
    }
}

fn node_requirement(requirement: &NodeSelectorRequirement, path: &Path<'_>, errors: &mut Errors) {
    let values = requirement.values.as_deref().unwrap_or_default();
    let field = path.child("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(&field, detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(&field, detail));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(FieldError::required(&field, detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.push(FieldError::invalid(
            &path.child("operator"),
            other,
            "not a valid selector operator",
        )),
    }
    validation::each(
        errors,
        &path.child("key"),
        &requirement.key,
        format::qualified_name(&requirement.key),
    );
}

/// Fields of a node that can be asked for: its name alone.
fn node_field(requirement: &NodeSelectorRequirement, path: &Path<'_>, errors: &mut Errors) {
    let values = requirement.values.as_deref().unwrap_or_default();
    if !["In", "NotIn"].contains(&requirement.operator.as_str()) {
        let detail = "not a valid selector operator";
        errors.push(FieldError::invalid(
            &path.child("operator"),
            &requirement.operator,
            detail,
        ));
    } else if values.len() != 1 {
        let detail =
            "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
        errors.push(FieldError::required(&path.child("values"), detail));
    }
    if requirement.key != "metadata.name" {
        let detail = "not a valid field selector key";
        errors.push(FieldError::invalid(
            &path.child("key"),
            &requirement.key,
            detail,
        ));
        return;
    }
    let field = path.child("values");
    for (index, value) in values.iter().enumerate() {
        validation::each(
            errors,
            &field.index(index),
            value,
            format::dns_subdomain(value),
        );
    }
}

fn pod_terms(
    required: Option<&[PodAffinityTerm]>,
    preferred: Option<&[WeightedPodAffinityTerm]>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let field = path.child(REQUIRED);
    for (index, term) in required.unwrap_or_default().iter().enumerate() {
        pod_term(term, &field.index(index), errors);
    }
    let field = path.child(PREFERRED);
    for (index, term) in preferred.unwrap_or_default().iter().enumerate() {
        let path = field.index(index);
        weight(term.weight, &path, errors);
        pod_term(
            &term.pod_affinity_term,
            &path.child("podAffinityTerm"),
            errors,
        );
    }
}

fn pod_term(term: &PodAffinityTerm, path: &Path<'_>, errors: &mut Errors) {
    if let Some(selector) = &term.label_selector {
        label_selector::validate(selector, &path.child("labelSelector"), errors);
    }
    if let Some(selector) = &term.namespace_selector {
        label_selector::validate(selector, &path.child("namespaceSelector"), errors);
    }
    let field = path.child("namespaces");
    for namespace in term.namespaces.iter().flatten() {
        validation::each(errors, &field, namespace, format::dns_label(namespace));
    }
    topology_key(&term.topology_key, &path.child("topologyKey"), errors);
}

fn topology_key(key: &str, field: &Path<'_>, errors: &mut Errors) {
    if key.is_empty() {
        errors.push(FieldError::required(field, "can not be empty"));
    } else {
        validation::each(errors, field, key, format::qualified_name(key));
    }
}

const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "PreferNoSchedule"];

/// Checks which taints a pod bears.
pub(in crate::kinds) fn tolerations(
    tolerations: &[Toleration],
    path: &Path<'_>,
    errors: &mut Errors,
) {
    for (index, toleration) in tolerations.iter().enumerate() {
        self::toleration(toleration, &path.index(index), errors);
    }
}

fn toleration(toleration: &Toleration, path: &Path<'_>, errors: &mut Errors) {
    let key = toleration.key.as_deref().unwrap_or("");
    let operator = toleration.operator.as_deref().unwrap_or("");
    let effect = toleration.effect.as_deref().unwrap_or("");
    let field = path.child("operator");
    if !key.is_empty() {
        validation::each(errors, &path.child("key"), key, format::qualified_name(key));
    } else if operator != "Exists" {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.push(FieldError::invalid(&field, operator, detail));
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(&path.child("effect"), effect, detail));
    }
    let value = toleration.value.as_deref().unwrap_or("");
    match operator {
        "" | "Equal" => validation::each(errors, &field, value, format::label_value(value)),
        "Exists" if !value.is_empty() => {
            let detail = "value must be empty when `operator` is 'Exists'";
            errors.push(FieldError::invalid(&field, toleration, detail));
        }
        "Exists" => {}
        other => errors.push(FieldError::not_supported(
            &field,
            other,
            &["Equal", "Exists"],
        )),
    }
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        errors.push(FieldError::not_supported(
            &path.child("effect"),
            effect,
            EFFECTS,
        ));
    }
}

/// Checks how a pod's kin are spread.
pub(super) fn spread(
    constraints: &[TopologySpreadConstraint],
    path: &Path<'_>,
    errors: &mut Errors,
) {
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.index(index);
        if constraint.max_skew <= 0 {
            errors.push(FieldError::invalid(
                &path.child("maxSkew"),
                constraint.max_skew,
                "must be greater than zero",
            ));
        }
        topology_key(&constraint.topology_key, &path.child("topologyKey"), errors);
        let known = ["DoNotSchedule", "ScheduleAnyway"];
        let when = constraint.when_unsatisfiable.as_str();
        if !known.contains(&when) {
            errors.push(FieldError::not_supported(
                &path.child("whenUnsatisfiable"),
                when,
                &known,
            ));
        }
        let same = |other: &TopologySpreadConstraint| {
            other.topology_key == constraint.topology_key && other.when_unsatisfiable == when
        };
        if constraints[..index].iter().any(same) {
            let pair = format!("{{{}, {when}}}", constraint.topology_key);
            errors.push(FieldError::duplicate(
                &path.child("{topologyKey, whenUnsatisfiable}"),
                pair,
            ));
        }
        if let Some(selector) = &constraint.label_selector {
            label_selector::validate(selector, &path.child("labelSelector"), errors);
        }
    }
}
