//! The classes a new pod names must be there (Kubernetes' RuntimeClass and Priority admission).

use crate::error::VerbError;
use crate::request::Target;
use pontoon_state::{Key, View};
use serde_json::Value;

/// Priority classes that every cluster has. There is no kind PriorityClass yet, so these are all.
const PRIORITIES: [&str; 2] = ["system-cluster-critical", "system-node-critical"];

/// Checks a pod that is about to be created; other kinds pass.
///
/// # Errors
/// 403 in Kubernetes' words.
pub(super) fn check(view: &View, target: &Target, object: &Value) -> Result<(), VerbError> {
    if target.descriptor().resource() != "pods" {
        return Ok(());
    }
    let named = |member: &str| {
        object["spec"][member]
            .as_str()
            .filter(|name| !name.is_empty())
    };
    if let Some(name) = named("runtimeClassName")
        && view
            .get(&Key::new("runtimeclasses.node.k8s.io", "", name))
            .is_none()
    {
        return Err(forbidden(
            target,
            format!("pod rejected: RuntimeClass \"{name}\" not found"),
        ));
    }
    if let Some(name) = named("priorityClassName")
        && !PRIORITIES.contains(&name)
    {
        return Err(forbidden(
            target,
            format!("no PriorityClass with name {name} was found"),
        ));
    }
    Ok(())
}

fn forbidden(target: &Target, detail: String) -> VerbError {
    VerbError::Forbidden {
        resource: target.resource(),
        name: target.name.clone(),
        detail,
        cause: None,
    }
}
