//! EndpointSlice: some of the addresses behind a service.

use super::duration::age;
use super::typed::Definition;
use crate::kind::{Column, Descriptor, Scope, Verb};
use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;

pub(super) struct EndpointSlices;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "discovery.k8s.io",
    version: "v1",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[],
    columns: &[
        Column::NAME,
        Column::text("AddressType", "Family of its addresses."),
        Column::text("Ports", "Its ports."),
        Column::text("Endpoints", "The addresses, with their ports."),
        Column::AGE,
    ],
};

impl Definition for EndpointSlices {
    type Object = EndpointSlice;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
    const GENERATION: bool = true;

    fn cells(object: &EndpointSlice, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            age(&object.metadata, now),
        ]
    }
}
