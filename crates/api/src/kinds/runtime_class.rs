//! RuntimeClass: which runtime runs a pod.

use super::duration::age;
use super::metadata;
use super::pod::{placement, resources};
use super::typed::Definition;
use crate::kind::Part;
use crate::kind::{Column, Descriptor, Scope, Verb};
use crate::validation::{self, Errors, Path, format};
use jiff::Timestamp;
use k8s_openapi::api::node::v1::RuntimeClass;
use serde_json::Value;

pub(super) struct RuntimeClasses;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "node.k8s.io",
    version: "v1",
    kind: "RuntimeClass",
    plural: "runtimeclasses",
    singular: "runtimeclass",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verb::ALL,
    subresources: &[],
    columns: &[
        Column::NAME,
        Column::text("Handler", "The runtime that it names."),
        Column::AGE,
    ],
};

impl Definition for RuntimeClasses {
    type Object = RuntimeClass;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;

    fn validate(object: &RuntimeClass, errors: &mut Errors) {
        validation::each(
            errors,
            &Path::new("handler"),
            &object.handler,
            format::dns_label(&object.handler),
        );
        let overhead = Path::new("overhead");
        let field = overhead.child("podFixed");
        for (name, quantity) in object
            .overhead
            .iter()
            .filter_map(|overhead| overhead.pod_fixed.as_ref())
            .flatten()
        {
            if resources::amount(quantity).is_negative() {
                validation::non_negative(errors, &field.key(name), -1);
            }
        }
        if let Some(scheduling) = &object.scheduling {
            let path = Path::new("scheduling");
            if let Some(labels) = &scheduling.node_selector {
                metadata::labels(labels, &path.child("nodeSelector"), errors);
            }
            let tolerations = scheduling.tolerations.as_deref().unwrap_or_default();
            placement::tolerations(tolerations, &path.child("tolerations"), errors);
        }
    }

    fn validate_update(new: &RuntimeClass, old: &RuntimeClass, _: Part, errors: &mut Errors) {
        validation::immutable(errors, &Path::new("handler"), &new.handler, &old.handler);
    }

    fn cells(object: &RuntimeClass, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            object.handler.clone().into(),
            age(&object.metadata, now),
        ]
    }
}
