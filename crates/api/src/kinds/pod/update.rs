//! What an update may change in a pod: nearly nothing of its spec.

use crate::validation::{Errors, FieldError, Path};
use k8s_openapi::api::core::v1::{Pod, PodSpec, Toleration};

const DETAIL: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Finds what an update may not change.
pub(super) fn validate(new: &Pod, old: &Pod, errors: &mut Errors) {
    let empty = PodSpec::default();
    let (new, old) = (
        new.spec.as_ref().unwrap_or(&empty),
        old.spec.as_ref().unwrap_or(&empty),
    );
    let path = Path::new("spec");
    if new.containers.len() != old.containers.len() {
        errors.push(FieldError::forbidden(
            &path.child("containers"),
            "pod updates may not add or remove containers",
        ));
        return;
    }
    if count(new) != count(old) {
        let detail = "pod updates may not add or remove containers";
        errors.push(FieldError::forbidden(&path.child("initContainers"), detail));
        return;
    }
    deadline(new, old, &path, errors);
    gates(new, old, &path, errors);
    let extended = tolerations(new, old, &path, errors);
    let masked = mask(new, old, extended);
    if &masked != old {
        let changed = changed_fields(&masked, old).join(", ");
        errors.push(FieldError::forbidden(
            &path,
            format!("{DETAIL}\nchanged: {changed}"),
        ));
    }
}

fn count(spec: &PodSpec) -> usize {
    spec.init_containers.as_ref().map_or(0, Vec::len)
}

/// A deadline may be set or shortened, not lengthened or lifted.
fn deadline(new: &PodSpec, old: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("activeDeadlineSeconds");
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), Some(old)) if new > old => {
            let detail = format!("must be less than or equal to previous value {old}");
            errors.push(FieldError::invalid(&field, new, detail));
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(
                &field,
                new.active_deadline_seconds,
                detail,
            ));
        }
        _ => {}
    }
}

/// Gates may be taken away, not added.
fn gates(new: &PodSpec, old: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("schedulingGates");
    for (index, gate) in new.scheduling_gates.iter().flatten().enumerate() {
        if !old
            .scheduling_gates
            .iter()
            .flatten()
            .any(|known| known.name == gate.name)
        {
            let detail = "only deletion is allowed, but found new scheduling gate";
            let detail = format!("{detail} '{}'", gate.name);
            errors.push(FieldError::forbidden(
                &field.index(index).child("name"),
                detail,
            ));
        }
    }
}

/// Tolerations may be added, and existing ones given another duration. Tells whether that is all that happened.
fn tolerations(new: &PodSpec, old: &PodSpec, path: &Path<'_>, errors: &mut Errors) -> bool {
    let same = |a: &Toleration, b: &Toleration| {
        (&a.key, &a.operator, &a.value, &a.effect) == (&b.key, &b.operator, &b.value, &b.effect)
    };
    let new = new.tolerations.as_deref().unwrap_or_default();
    let kept = old
        .tolerations
        .iter()
        .flatten()
        .all(|old| new.iter().any(|new| same(new, old)));
    if !kept {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(&path.child("tolerations"), detail));
    }
    kept
}

/// The new spec with everything that may change set back to the old.
fn mask(new: &PodSpec, old: &PodSpec, extended: bool) -> PodSpec {
    let mut masked = new.clone();
    for (masked, old) in masked.containers.iter_mut().zip(&old.containers) {
        masked.image.clone_from(&old.image);
    }
    let olds = old.init_containers.iter().flatten();
    for (masked, old) in masked.init_containers.iter_mut().flatten().zip(olds) {
        masked.image.clone_from(&old.image);
    }
    masked.active_deadline_seconds = old.active_deadline_seconds;
    masked.scheduling_gates.clone_from(&old.scheduling_gates);
    if extended {
        masked.tolerations.clone_from(&old.tolerations);
    }
    let negative = old
        .termination_grace_period_seconds
        .is_some_and(|seconds| seconds < 0);
    if negative && new.termination_grace_period_seconds == Some(1) {
        masked.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    // A gated pod is not placed yet, so what places it may still be narrowed.
    if old
        .scheduling_gates
        .as_ref()
        .is_some_and(|gates| !gates.is_empty())
    {
        masked.node_selector.clone_from(&old.node_selector);
        masked.affinity.clone_from(&old.affinity);
    }
    masked
}

fn changed_fields(new: &PodSpec, old: &PodSpec) -> Vec<String> {
    let fields = |spec: &PodSpec| match serde_json::to_value(spec) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (new, old) = (fields(new), fields(old));
    let mut names: Vec<&String> = new.keys().chain(old.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| new.get(*name) != old.get(*name))
        .map(|name| format!("spec.{name}"))
        .collect()
}
