//! Lease: who holds a role, and until when.

use super::duration::age;
use super::typed::Definition;
use crate::kind::{Column, Descriptor, Scope, Verb};
use crate::validation::{self, Errors, FieldError, Path};
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

    fn default(object: &mut Lease) {
        object.spec.get_or_insert_default();
    }

    fn validate(object: &Lease, errors: &mut Errors) {
        let Some(spec) = &object.spec else { return };
        let path = Path::new("spec");
        if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
            errors.push(FieldError::invalid(
                &path.child("leaseDurationSeconds"),
                seconds,
                "must be greater than 0",
            ));
        }
        let transitions = spec.lease_transitions.unwrap_or(0);
        validation::non_negative(errors, &path.child("leaseTransitions"), transitions.into());
        if spec.holder_identity.as_deref() == Some("") {
            errors.push(FieldError::invalid(
                &path.child("holderIdentity"),
                "",
                "must not be empty",
            ));
        }
    }

    fn cells(object: &Lease, now: Timestamp) -> Vec<Value> {
        let holder = object
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.clone())
            .unwrap_or_default();
        vec![
            object.metadata.name.clone().into(),
            holder.into(),
            age(&object.metadata, now),
        ]
    }
}
