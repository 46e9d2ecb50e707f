//! A pod's quality-of-service class, from what its containers ask for.

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// Kubernetes' `qosClass`: the status' own if set, else computed.
#[must_use]
pub fn class(pod: &Pod) -> String {
    if let Some(class) = pod.status.as_ref().and_then(|s| s.qos_class.clone()) {
        return class;
    }
    let Some(spec) = &pod.spec else {
        return "BestEffort".to_owned();
    };
    let all: Vec<Option<&ResourceRequirements>> = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
        .map(|container| container.resources.as_ref())
        .collect();
    if all.iter().all(|r| r.is_none_or(asks_for_nothing)) {
        "BestEffort".to_owned()
    } else if all.iter().all(|r| r.is_some_and(is_guaranteed)) {
        "Guaranteed".to_owned()
    } else {
        "Burstable".to_owned()
    }
}

const COUNTED: [&str; 2] = ["cpu", "memory"];

fn named<'a>(list: Option<&'a BTreeMap<String, Quantity>>, resource: &str) -> Option<&'a Quantity> {
    list?.get(resource).filter(|q| q.0 != "0")
}

fn asks_for_nothing(resources: &ResourceRequirements) -> bool {
    COUNTED.iter().all(|resource| {
        named(resources.requests.as_ref(), resource).is_none()
            && named(resources.limits.as_ref(), resource).is_none()
    })
}

fn is_guaranteed(resources: &ResourceRequirements) -> bool {
    COUNTED.iter().all(|resource| {
        let limit = named(resources.limits.as_ref(), resource);
        let request = named(resources.requests.as_ref(), resource);
        limit.is_some() && (request.is_none() || request == limit)
    })
}
