//! ConfigMap: named texts and bytes for pods.

use super::duration::age;
use super::typed::Definition;
use crate::kind::Part;
use crate::kind::{Column, Descriptor, Scope, Verb};
use crate::validation::{self, Errors, FieldError, Path, format};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

/// Most bytes of all values together: Kubernetes' `MaxSecretSize`, which leaves room below etcd's limit.
pub(super) const DATA_BYTES: usize = 1 << 20;

/// The rule of an object that was declared immutable.
pub(super) const SEALED: &str = "field is immutable when `immutable` is set";

pub(super) struct ConfigMaps;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[],
    columns: &[
        Column::NAME,
        Column::text("Data", "How many entries it holds."),
        Column::AGE,
    ],
};

impl Definition for ConfigMaps {
    type Object = ConfigMap;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;

    fn validate(object: &ConfigMap, errors: &mut Errors) {
        let path = Path::new("data");
        let empty = Default::default();
        let binary = object.binary_data.as_ref().unwrap_or(&empty);
        let mut bytes = 0;
        for (key, value) in object.data.iter().flatten() {
            validation::each(errors, &path.key(key), key, format::data_key(key));
            if binary.contains_key(key) {
                errors.push(FieldError::invalid(
                    &path.key(key),
                    key,
                    "duplicate of key present in binaryData",
                ));
            }
            bytes += value.len();
        }
        let path = Path::new("binaryData");
        for (key, value) in binary {
            validation::each(errors, &path.key(key), key, format::data_key(key));
            bytes += value.0.len();
        }
        if bytes > DATA_BYTES {
            errors.push(FieldError::too_long(&Path::new(""), DATA_BYTES));
        }
    }

    fn validate_update(new: &ConfigMap, old: &ConfigMap, _: Part, errors: &mut Errors) {
        if old.immutable != Some(true) {
            return;
        }
        for (field, changed) in [
            ("immutable", new.immutable != Some(true)),
            ("data", new.data != old.data),
            ("binaryData", new.binary_data != old.binary_data),
        ] {
            if changed {
                errors.push(FieldError::forbidden(&Path::new(field), SEALED));
            }
        }
    }

    fn cells(object: &ConfigMap, now: Timestamp) -> Vec<Value> {
        let entries = object.data.as_ref().map_or(0, |data| data.len())
            + object.binary_data.as_ref().map_or(0, |data| data.len());
        vec![
            object.metadata.name.clone().into(),
            entries.into(),
            age(&object.metadata, now),
        ]
    }
}
