//! Whose is what: selection by selector, adoption of what nobody owns, release of what no longer matches.
//!
//! The rules are Kubernetes' `ControllerRefManager`: an owner adopts only while it is not being deleted, and never takes
//! what another controls.

use crate::controller::{Intent, PlanError};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector as TypedSelector, OwnerReference,
};
use pontoon_api::Part;
use pontoon_api::selector::LabelSelector;
use pontoon_state::{Object, View};
use serde_json::{Value, json};
use std::sync::Arc;

/// The owner as its dependents name it.
pub(crate) struct OwnerOf<'a> {
    /// The owner as stored.
    pub(crate) object: &'a Arc<Object>,
    /// Its `apiVersion`.
    pub(crate) api_version: &'a str,
    /// Its kind.
    pub(crate) kind: &'a str,
}

impl OwnerOf<'_> {
    /// The reference that dependents carry.
    pub(crate) fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: self.api_version.to_owned(),
            kind: self.kind.to_owned(),
            name: self.object.key.name.to_string(),
            uid: self.object.meta.uid.to_string(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}

/// Reads a spec's selector. One that selects everything is refused by validation; here it selects nothing.
pub(crate) fn selector(typed: &TypedSelector) -> Result<LabelSelector, PlanError> {
    LabelSelector::from_typed(typed)
        .map_err(|error| PlanError::Impossible(format!("spec.selector: {error}")))
}

/// What an owner has, and what must be written so that it has it.
#[derive(Default)]
pub(crate) struct Claimed {
    /// Dependents that match and are the owner's already.
    pub(crate) owned: Vec<Arc<Object>>,
    /// Adoptions and releases to write; what they concern counts from the next plan on.
    pub(crate) writes: Vec<Intent>,
}

/// Finds the objects of `resource` that belong to `owner`, and those it has to adopt or release.
pub(crate) fn claim(
    view: &View,
    owner: &OwnerOf<'_>,
    selector: &LabelSelector,
    resource: &str,
) -> Result<Claimed, PlanError> {
    let mut claimed = Claimed::default();
    let matches = |object: &Object| {
        !selector.is_empty()
            && selector.matches(|label| object.meta.labels.get(label).map(|value| &**value))
    };
    for object in view
        .owned_by(&owner.object.meta.uid)
        .filter(|object| *object.key.resource == *resource)
    {
        if object
            .controller()
            .is_none_or(|controller| controller.uid != owner.object.meta.uid)
        {
            continue;
        }
        if matches(object) {
            claimed.owned.push(object.clone());
        } else if !owner.object.meta.deleting && !object.meta.deleting {
            claimed
                .writes
                .push(release(object, &owner.object.meta.uid)?);
        }
    }
    if !owner.object.meta.deleting {
        for object in selected(view, selector, resource, &owner.object.key.namespace) {
            if object.controller().is_none() && !object.meta.deleting && matches(object) {
                claimed.writes.push(adopt(object, owner)?);
            }
        }
    }
    Ok(claimed)
}

/// Objects of a namespace that a selector matches, found by its first equality where it has one.
pub(crate) fn selected<'a>(
    view: &'a View,
    selector: &'a LabelSelector,
    resource: &'a str,
    namespace: &'a str,
) -> Box<dyn Iterator<Item = &'a Arc<Object>> + 'a> {
    let matches = |object: &&Arc<Object>| {
        selector.matches(|label| object.meta.labels.get(label).map(|value| &**value))
    };
    match selector.equality() {
        Some((label, value)) => Box::new(
            view.labelled(resource, Some(namespace), label, value)
                .filter(matches),
        ),
        None => Box::new(view.list(resource, Some(namespace)).filter(matches)),
    }
}

fn adopt(object: &Arc<Object>, owner: &OwnerOf<'_>) -> Result<Intent, PlanError> {
    let mut value = object.value()?;
    let reference = serde_json::to_value(owner.reference())?;
    match value["metadata"]["ownerReferences"].as_array_mut() {
        Some(references) => references.push(reference),
        None => value["metadata"]["ownerReferences"] = json!([reference]),
    }
    Ok(Intent::Update {
        base: object.clone(),
        object: value,
        part: Part::Main,
    })
}

fn release(object: &Arc<Object>, owner: &str) -> Result<Intent, PlanError> {
    let mut value = object.value()?;
    drop_references(&mut value, |uid| uid == owner);
    Ok(Intent::Update {
        base: object.clone(),
        object: value,
        part: Part::Main,
    })
}

/// Removes the owner references whose uid `drops` names.
pub(crate) fn drop_references(object: &mut Value, drops: impl Fn(&str) -> bool) {
    if let Some(metadata) = object["metadata"].as_object_mut()
        && let Some(Value::Array(references)) = metadata.get_mut("ownerReferences")
    {
        references.retain(|reference| !drops(reference["uid"].as_str().unwrap_or_default()));
        if references.is_empty() {
            metadata.remove("ownerReferences");
        }
    }
}
