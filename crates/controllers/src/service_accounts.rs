//! Every namespace has a ServiceAccount named `default`.

use crate::controller::{Context, Controller, Intent, Plan, PlanError};
use pontoon_state::{Change, Key, View};
use serde_json::json;

const NAMESPACES: &str = "namespaces";
const RESOURCE: &str = "serviceaccounts";
const NAME: &str = "default";

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct ServiceAccountController;

impl Controller for ServiceAccountController {
    fn name(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn wakes(&self, change: &Change, _view: &View, wake: &mut dyn FnMut(Key)) {
        let key = &change.object().key;
        match &*key.resource {
            NAMESPACES => wake(key.clone()),
            RESOURCE if &*key.name == NAME => wake(Key::new(NAMESPACES, "", &key.namespace)),
            _ => {}
        }
    }

    fn keys(&self, view: &View) -> Vec<Key> {
        view.list(NAMESPACES, None)
            .map(|object| object.key.clone())
            .collect()
    }

    fn plan(&self, view: &View, key: &Key, _context: &Context<'_>) -> Result<Plan, PlanError> {
        let mut plan = Plan::default();
        let live = view
            .get(key)
            .is_some_and(|namespace| !namespace.meta.deleting);
        if live && view.get(&Key::new(RESOURCE, &key.name, NAME)).is_none() {
            plan.writes.push(Intent::Create(json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": NAME, "namespace": &*key.name},
            })));
        }
        Ok(plan)
    }
}
