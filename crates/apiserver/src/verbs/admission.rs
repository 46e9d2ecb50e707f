//! Built-in admission ([`pontoon_api::admission`]) of what clients write: pods.

use crate::error::VerbError;
use crate::request::Target;
use pontoon_api::admission;
use pontoon_state::{Key, View};
use serde_json::Value;

fn is_pod(target: &Target) -> bool {
    target.descriptor().resource() == "pods" && target.subresource.is_empty()
}

/// Admits what is about to be created; kinds other than pods pass.
///
/// # Errors
/// 403 in Kubernetes' words.
pub(super) fn create(view: &View, target: &Target, object: &mut Value) -> Result<(), VerbError> {
    if !is_pod(target) {
        return Ok(());
    }
    let class = |name: &str| {
        view.get(&Key::new("runtimeclasses.node.k8s.io", "", name))
            .and_then(|class| class.value().ok())
    };
    admission::create(object, class).map_err(|refused| VerbError::Forbidden {
        resource: target.resource(),
        name: target.name.clone(),
        detail: refused.0,
        cause: None,
    })
}

/// Admits what is about to be changed; kinds other than pods pass.
pub(super) fn update(target: &Target, object: &mut Value, stored: &Value) {
    if is_pod(target) {
        admission::update(object, stored);
    }
}
