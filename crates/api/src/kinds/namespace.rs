//! Namespace: a set of names.

use super::duration::age;
use super::typed::{Definition, selectable};
use crate::kind::{Column, Descriptor, Part, Scope, Subresource, Verb};
use crate::validation::format;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};
use serde_json::Value;

/// Names the namespace in its own labels, so that selectors can choose it by name (KEP-2161).
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Kept until the namespace is empty.
const FINALIZER: &str = "kubernetes";

pub(super) struct Namespaces;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "",
    version: "v1",
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: &[
        Verb::Create,
        Verb::Delete,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
    ],
    subresources: &[
        Subresource::new("finalize", "Namespace", &[Verb::Update]),
        Subresource::status("Namespace"),
    ],
    columns: &[
        Column::NAME,
        Column::text("Status", "The state it is in."),
        Column::AGE,
    ],
};

impl Definition for Namespaces {
    type Object = Namespace;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;

    fn name(name: &str) -> Vec<String> {
        format::dns_label(name)
    }

    fn default(object: &mut Namespace) {
        if let Some(name) = object.metadata.name.clone() {
            object
                .metadata
                .labels
                .get_or_insert_default()
                .insert(NAME_LABEL.to_owned(), name);
        }
    }

    fn prepare_create(object: &mut Namespace) {
        let finalizers = object
            .spec
            .get_or_insert_default()
            .finalizers
            .get_or_insert_default();
        if !finalizers.iter().any(|name| name == FINALIZER) {
            finalizers.push(FINALIZER.to_owned());
        }
        object.status = Some(NamespaceStatus {
            phase: Some("Active".to_owned()),
            conditions: None,
        });
    }

    fn prepare_update(object: &mut Namespace, old: &Namespace, part: Part) {
        // The finalizers of the spec change through the `finalize` subresource only.
        object.spec.clone_from(&old.spec);
        if part == Part::Main {
            object.status.clone_from(&old.status);
        }
    }

    selectable! {
        "status.phase" => "/status/phase",
    }

    fn cells(object: &Namespace, now: Timestamp) -> Vec<Value> {
        let phase = object
            .status
            .as_ref()
            .and_then(|status| status.phase.clone());
        vec![
            object.metadata.name.clone().into(),
            phase.unwrap_or_default().into(),
            age(&object.metadata, now),
        ]
    }
}
