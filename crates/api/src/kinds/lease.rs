//! Lease: who holds a role, and until when.

use super::duration::age;
use super::typed::Definition;
use crate::kind::{Column, Descriptor, Scope, Verb};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::Value;

pub(super) struct Leases;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "coordination.k8s.io",
    version: "v1",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[],
    columns: &[
        Column::NAME,
        Column::text("Holder", "Who holds it."),
        Column::AGE,
    ],
};

impl Definition for Leases {
    type Object = Lease;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;

    fn cells(object: &Lease, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            age(&object.metadata, now),
        ]
    }
}
