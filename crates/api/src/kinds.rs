//! The one list of kinds. Adding a kind is one file under `kinds/` and one line here.

use crate::kind::Kind;
use typed::Typed;

mod config_map;
mod deployment;
pub mod duration;
mod endpoint_slice;
mod endpoints;
mod event;
mod events_v1;
mod label_selector;
mod lease;
mod metadata;
mod namespace;
mod node;
mod pod;
mod prune;
mod reader;
mod replica_set;
mod runtime_class;
mod secret;
mod service;
mod service_account;
mod typed;
mod without_effect;
mod workload;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod registry_tests;
#[cfg(test)]
mod tests;

static ALL: [&dyn Kind; 15] = [
    &Typed::<config_map::ConfigMaps>::new(),
    &Typed::<endpoints::EndpointsKind>::new(),
    &Typed::<event::Events>::new(),
    &Typed::<namespace::Namespaces>::new(),
    &Typed::<node::Nodes>::new(),
    &Typed::<pod::Pods>::new(),
    &Typed::<secret::Secrets>::new(),
    &Typed::<service_account::ServiceAccounts>::new(),
    &Typed::<service::Services>::new(),
    &Typed::<deployment::Deployments>::new(),
    &Typed::<replica_set::ReplicaSets>::new(),
    &Typed::<events_v1::EventsV1>::new(),
    &Typed::<lease::Leases>::new(),
    &Typed::<runtime_class::RuntimeClasses>::new(),
    &Typed::<endpoint_slice::EndpointSlices>::new(),
];

/// Every built-in kind, in discovery order.
#[must_use]
pub fn all() -> &'static [&'static dyn Kind] {
    &ALL
}

/// By group, version and plural, as URLs name it.
#[must_use]
pub fn by_plural(group: &str, version: &str, plural: &str) -> Option<&'static dyn Kind> {
    all().iter().copied().find(|kind| {
        let found = kind.descriptor();
        found.group == group && found.version == version && found.plural == plural
    })
}

/// By `apiVersion` and `kind`, as bodies name it.
#[must_use]
pub fn by_kind(api_version: &str, kind: &str) -> Option<&'static dyn Kind> {
    all().iter().copied().find(|found| {
        found.descriptor().kind == kind && found.descriptor().api_version() == api_version
    })
}
