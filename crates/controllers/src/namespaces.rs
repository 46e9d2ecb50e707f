//! Namespace deletion: everything in it goes, then the namespace.

use crate::controller::{Context, Controller, Intent, Plan, PlanError};
use pontoon_api::deletion::{Options, Propagation};
use pontoon_state::{Change, Key, View};

const RESOURCE: &str = "namespaces";

/// Objects deleted in one plan.
const CONTENT: usize = 500;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct NamespaceController;

impl Controller for NamespaceController {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn wakes(&self, change: &Change, view: &View, wake: &mut dyn FnMut(Key)) {
        let object = change.object();
        if &*object.key.resource == RESOURCE {
            wake(object.key.clone());
        } else if !object.key.namespace.is_empty() {
            let key = Key::new(RESOURCE, "", &object.key.namespace);
            if view
                .get(&key)
                .is_some_and(|namespace| namespace.meta.deleting)
            {
                wake(key);
            }
        }
    }

    fn keys(&self, view: &View) -> Vec<Key> {
        view.list(RESOURCE, None)
            .filter(|object| object.meta.deleting)
            .map(|object| object.key.clone())
            .collect()
    }

    fn plan(&self, view: &View, key: &Key, _context: &Context<'_>) -> Result<Plan, PlanError> {
        let mut plan = Plan::default();
        let Some(namespace) = view.get(key).filter(|namespace| namespace.meta.deleting) else {
            return Ok(plan);
        };
        let mut left = false;
        for resource in view.resources_in(&key.name) {
            for object in view.list(&resource, Some(&key.name)) {
                left = true;
                if !object.meta.deleting && plan.writes.len() < CONTENT {
                    let options = Options {
                        grace_seconds: None,
                        propagation: Some(Propagation::Background),
                    };
                    plan.writes.push(Intent::Delete {
                        base: object.clone(),
                        options,
                    });
                }
            }
        }
        if !left && namespace.meta.finalizers.is_empty() {
            plan.writes.push(Intent::Remove(namespace.clone()));
        }
        Ok(plan)
    }
}
