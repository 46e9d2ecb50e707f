//! Which pods are behind a service: EndpointSlices and, for older clients, Endpoints.
//!
//! Follows Kubernetes' endpoint and endpoint slice controllers. Services without a selector are left to whoever writes
//! their endpoints.

mod legacy;
mod members;
mod slices;

use k8s_openapi::api::core::v1::{Pod, Service};
use pontoon_api::selector::LabelSelector;
use pontoon_state::{Change, Key, Object, View};
use std::collections::BTreeMap;
use std::sync::Arc;

pub use legacy::EndpointsController;
pub use slices::EndpointSliceController;

pub(crate) const SERVICES: &str = "services";

/// Wakes the services that a changed service or pod concerns. For a pod, each service of its namespace is asked.
fn wake_services(change: &Change, view: &View, wake: &mut dyn FnMut(Key)) {
    let object = change.object();
    match &*object.key.resource {
        SERVICES => wake(object.key.clone()),
        "pods" if matters(change) => {
            for service in view.list(SERVICES, Some(&object.key.namespace)) {
                let Some(selector) = selector_of(service) else {
                    continue;
                };
                let selects = |pod: &Option<Arc<Object>>| {
                    pod.as_ref().is_some_and(|pod| {
                        selector.matches(|label| pod.meta.labels.get(label).map(|value| &**value))
                    })
                };
                if selects(&change.before) || selects(&change.after) {
                    wake(service.key.clone());
                }
            }
        }
        _ => {}
    }
}

/// Whether a pod's change can change a service: not if only counts or times moved.
fn matters(change: &Change) -> bool {
    let (Some(before), Some(after)) = (&change.before, &change.after) else {
        return true;
    };
    if before.meta.labels != after.meta.labels
        || before.meta.deleting != after.meta.deleting
        || before.meta.node != after.meta.node
    {
        return true;
    }
    let facts = |object: &Object| {
        let pod: Pod = object.decode().ok()?;
        let status = pod.status.clone().unwrap_or_default();
        Some((
            crate::pod::is_ready(&pod),
            crate::pod::is_terminal(&pod),
            status.pod_ips,
            status.pod_ip,
        ))
    };
    facts(before) != facts(after)
}

fn selector_of(service: &Object) -> Option<LabelSelector> {
    let service: Service = service.decode().ok()?;
    selector(&service)
}

/// The selector of a service that has one and is answered by pods.
fn selector(service: &Service) -> Option<LabelSelector> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let selector: &BTreeMap<String, String> = spec
        .selector
        .as_ref()
        .filter(|selector| !selector.is_empty())?;
    Some(LabelSelector::from_map(selector))
}
