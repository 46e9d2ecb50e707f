//! Garbage collection: what an object owned goes when the object goes.
//!
//! Follows Kubernetes' collector. Background: a dependent whose owners are all gone is deleted. Foreground: dependents
//! that block go first. Orphan: dependents lose the reference first. An owner is gone only when the present has no object
//! of its kind, name and uid; one of a kind that is not served is taken to exist.

use crate::controller::{Context, Controller, Intent, Plan, PlanError};
use crate::ownership::drop_references;
use pontoon_api::Part;
use pontoon_api::deletion::{FOREGROUND, ORPHAN, Options, Propagation};
use pontoon_api::kind::Scope;
use pontoon_api::kinds;
use pontoon_state::{Change, Key, Object, Owner, View};
use std::sync::Arc;

/// Dependents written in one plan.
const DEPENDENTS: usize = 500;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct GarbageCollector;

impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "garbage-collector"
    }

    fn wakes(&self, change: &Change, view: &View, wake: &mut dyn FnMut(Key)) {
        let object = change.object();
        match &change.after {
            None => {
                view.owned_by(&object.meta.uid)
                    .for_each(|dependent| wake(dependent.key.clone()));
            }
            Some(object) if concerns(object) => wake(object.key.clone()),
            Some(_) => {}
        }
        // An owner that waits for its dependents looks again when one of them changes or goes.
        for owner in &object.meta.owners {
            if let Some(owner) = owner_key(object, owner)
                .and_then(|key| view.get(&key))
                .filter(|owner| is_waiting(owner))
            {
                wake(owner.key.clone());
            }
        }
    }

    fn keys(&self, view: &View) -> Vec<Key> {
        view.iter()
            .filter(|object| concerns(object))
            .map(|object| object.key.clone())
            .collect()
    }

    fn plan(&self, view: &View, key: &Key, _context: &Context<'_>) -> Result<Plan, PlanError> {
        let Some(object) = view.get(key) else {
            return Ok(Plan::default());
        };
        let mut plan = Plan::default();
        if object.meta.deleting && has_finalizer(object, ORPHAN) {
            orphan_dependents(&mut plan, view, object)?;
        } else if object.meta.deleting && has_finalizer(object, FOREGROUND) {
            delete_dependents(&mut plan, view, object)?;
        } else if !object.meta.deleting && !object.meta.owners.is_empty() {
            judge(&mut plan, view, object)?;
        }
        Ok(plan)
    }
}

fn concerns(object: &Object) -> bool {
    !object.meta.owners.is_empty() || is_waiting(object)
}

fn is_waiting(object: &Object) -> bool {
    object.meta.deleting && (has_finalizer(object, ORPHAN) || has_finalizer(object, FOREGROUND))
}

fn has_finalizer(object: &Object, name: &str) -> bool {
    object
        .meta
        .finalizers
        .iter()
        .any(|finalizer| &**finalizer == name)
}

/// Where an owner is stored; `None` for a kind that is not served. Owners are in the dependent's namespace or in none.
fn owner_key(dependent: &Object, owner: &Owner) -> Option<Key> {
    let descriptor = kinds::by_kind(&owner.api_version, &owner.kind)?.descriptor();
    let namespace = match descriptor.scope {
        Scope::Cluster => "",
        Scope::Namespaced => &*dependent.key.namespace,
    };
    Some(Key::new(&descriptor.resource(), namespace, &owner.name))
}

fn without_finalizer(object: &Arc<Object>, name: &str) -> Result<Intent, PlanError> {
    let mut value = object.value()?;
    if let Some(metadata) = value["metadata"].as_object_mut()
        && let Some(serde_json::Value::Array(finalizers)) = metadata.get_mut("finalizers")
    {
        finalizers.retain(|finalizer| finalizer != name);
        if finalizers.is_empty() {
            metadata.remove("finalizers");
        }
    }
    Ok(Intent::Update {
        base: object.clone(),
        object: value,
        part: Part::Main,
    })
}

fn orphan_dependents(plan: &mut Plan, view: &View, owner: &Arc<Object>) -> Result<(), PlanError> {
    for dependent in view.owned_by(&owner.meta.uid).take(DEPENDENTS) {
        let mut value = dependent.value()?;
        drop_references(&mut value, |uid| uid == &*owner.meta.uid);
        plan.writes.push(Intent::Update {
            base: dependent.clone(),
            object: value,
            part: Part::Main,
        });
    }
    if plan.writes.is_empty() {
        plan.writes.push(without_finalizer(owner, ORPHAN)?);
    }
    Ok(())
}

fn delete_dependents(plan: &mut Plan, view: &View, owner: &Arc<Object>) -> Result<(), PlanError> {
    let mut blocked = false;
    for dependent in view.owned_by(&owner.meta.uid) {
        let blocks = dependent
            .meta
            .owners
            .iter()
            .any(|found| found.uid == owner.meta.uid && found.block_owner_deletion);
        blocked |= blocks;
        if !dependent.meta.deleting && plan.writes.len() < DEPENDENTS {
            let further = view.owned_by(&dependent.meta.uid).next().is_some();
            let propagation = if further {
                Propagation::Foreground
            } else {
                Propagation::Background
            };
            let options = Options {
                grace_seconds: None,
                propagation: Some(propagation),
            };
            plan.writes.push(Intent::Delete {
                base: dependent.clone(),
                options,
            });
        }
    }
    if plan.writes.is_empty() && !blocked {
        plan.writes.push(without_finalizer(owner, FOREGROUND)?);
    }
    Ok(())
}

/// Deletes a dependent whose owners are all gone; drops the references to gone ones if some are left.
fn judge(plan: &mut Plan, view: &View, object: &Arc<Object>) -> Result<(), PlanError> {
    let mut gone = Vec::new();
    let mut left = 0;
    for owner in &object.meta.owners {
        let Some(key) = owner_key(object, owner) else {
            left += 1;
            continue;
        };
        match view.get(&key) {
            Some(found) if found.meta.uid == owner.uid => left += 1,
            _ => gone.push(&*owner.uid),
        }
    }
    if gone.is_empty() {
        return Ok(());
    }
    if left == 0 {
        plan.writes.push(Intent::Delete {
            base: object.clone(),
            options: Options {
                grace_seconds: None,
                propagation: Some(Propagation::Background),
            },
        });
        return Ok(());
    }
    let mut value = object.value()?;
    drop_references(&mut value, |uid| gone.contains(&uid));
    plan.writes.push(Intent::Update {
        base: object.clone(),
        object: value,
        part: Part::Main,
    });
    Ok(())
}
