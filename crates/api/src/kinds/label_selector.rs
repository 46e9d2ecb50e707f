//! Checking and applying the label selectors that stand in objects.

use super::metadata;
use crate::validation::{self, Errors, FieldError, Path, format};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use std::collections::BTreeMap;

/// Finds what is wrong with a selector.
pub(super) fn validate(selector: &LabelSelector, path: &Path<'_>, errors: &mut Errors) {
    if let Some(labels) = &selector.match_labels {
        metadata::labels(labels, &path.child("matchLabels"), errors);
    }
    let field = path.child("matchExpressions");
    for (index, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        self::requirement(requirement, &field.index(index), errors);
    }
}

fn requirement(requirement: &LabelSelectorRequirement, path: &Path<'_>, errors: &mut Errors) {
    let values = requirement.values.as_deref().unwrap_or_default();
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
            &path.child("values"),
            "must be specified when `operator` is 'In' or 'NotIn'",
        )),
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
            &path.child("values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        )),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
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
    let field = path.child("values");
    for (index, value) in values.iter().enumerate() {
        validation::each(
            errors,
            &field.index(index),
            value,
            format::label_value(value),
        );
    }
}

/// Whether a selector asks for nothing, and so would take everything.
pub(super) fn is_empty(selector: &LabelSelector) -> bool {
    selector
        .match_labels
        .as_ref()
        .is_none_or(BTreeMap::is_empty)
        && selector
            .match_expressions
            .as_ref()
            .is_none_or(Vec::is_empty)
}

/// Whether labels satisfy a selector. None if the selector itself is broken.
pub(super) fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> Option<bool> {
    let mut all = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    for requirement in selector.match_expressions.iter().flatten() {
        let values = requirement.values.as_deref().unwrap_or_default();
        let found = labels.get(&requirement.key);
        all &= match requirement.operator.as_str() {
            "In" if !values.is_empty() => found.is_some_and(|found| values.contains(found)),
            "NotIn" if !values.is_empty() => !found.is_some_and(|found| values.contains(found)),
            "Exists" if values.is_empty() => found.is_some(),
            "DoesNotExist" if values.is_empty() => found.is_none(),
            _ => return None,
        };
    }
    Some(all)
}

/// A selector as tables show it: `app=web,tier in (a,b),!debug`.
pub(super) fn shown(selector: &LabelSelector) -> String {
    let mut parts: Vec<String> = selector
        .match_labels
        .iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    for requirement in selector.match_expressions.iter().flatten() {
        let mut values = requirement.values.clone().unwrap_or_default();
        values.sort();
        let (key, values) = (&requirement.key, values.join(","));
        parts.push(match requirement.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        });
    }
    parts.sort();
    if parts.is_empty() {
        "<none>".to_owned()
    } else {
        parts.join(",")
    }
}
