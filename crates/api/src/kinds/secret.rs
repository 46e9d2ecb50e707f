//! Secret: named bytes that are not shown.

use super::config_map::{DATA_BYTES, SEALED};
use super::duration::age;
use super::typed::{Definition, selectable};
use crate::kind::Part;
use crate::kind::{Column, Descriptor, Scope, Verb};
use crate::validation::{self, Errors, FieldError, Path, format};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

pub(super) struct Secrets;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "",
    version: "v1",
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[],
    columns: &[
        Column::NAME,
        Column::text("Type", "Its type."),
        Column::text("Data", "How many entries it holds."),
        Column::AGE,
    ],
};

impl Definition for Secrets {
    type Object = Secret;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;

    selectable! {
        "type" => "/type",
    }

    fn default(object: &mut Secret) {
        if object.type_.as_deref().unwrap_or("").is_empty() {
            object.type_ = Some("Opaque".to_owned());
        }
        // Texts are only a convenience for writing: they are stored, and read, as bytes.
        for (key, text) in object.string_data.take().into_iter().flatten() {
            object
                .data
                .get_or_insert_default()
                .insert(key, ByteString(text.into_bytes()));
        }
    }

    fn validate(object: &Secret, errors: &mut Errors) {
        let path = Path::new("data");
        let mut bytes = 0;
        for (key, value) in object.data.iter().flatten() {
            validation::each(errors, &path.key(key), key, format::data_key(key));
            bytes += value.0.len();
        }
        if bytes > DATA_BYTES {
            errors.push(FieldError::too_long(&path, DATA_BYTES));
        }
        by_type(object, &path, errors);
    }

    fn validate_update(new: &Secret, old: &Secret, _: Part, errors: &mut Errors) {
        validation::immutable(errors, &Path::new("type"), &new.type_, &old.type_);
        if old.immutable != Some(true) {
            return;
        }
        for (field, changed) in [
            ("immutable", new.immutable != Some(true)),
            ("data", new.data != old.data),
        ] {
            if changed {
                errors.push(FieldError::forbidden(&Path::new(field), SEALED));
            }
        }
    }

    fn cells(object: &Secret, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            object.type_.clone().into(),
            object.data.as_ref().map_or(0, |data| data.len()).into(),
            age(&object.metadata, now),
        ]
    }
}

/// What a secret of a well-known type must hold.
fn by_type(object: &Secret, path: &Path<'_>, errors: &mut Errors) {
    let get = |key: &str| object.data.as_ref().and_then(|data| data.get(key));
    let missing = |key: &str| get(key).is_none();
    match object.type_.as_deref().unwrap_or("") {
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            let annotations = object.metadata.annotations.as_ref();
            if annotations
                .and_then(|annotations| annotations.get(name))
                .is_none_or(String::is_empty)
            {
                let metadata = Path::new("metadata");
                errors.push(FieldError::required(
                    &metadata.child("annotations").key(name),
                    "",
                ));
            }
        }
        "kubernetes.io/dockercfg" => json(get(".dockercfg"), &path.key(".dockercfg"), errors),
        "kubernetes.io/dockerconfigjson" => {
            json(
                get(".dockerconfigjson"),
                &path.key(".dockerconfigjson"),
                errors,
            );
        }
        "kubernetes.io/basic-auth" if missing("username") && missing("password") => {
            errors.push(FieldError::required(&path.key("username"), ""));
            errors.push(FieldError::required(&path.key("password"), ""));
        }
        "kubernetes.io/ssh-auth" if get("ssh-privatekey").is_none_or(|key| key.0.is_empty()) => {
            errors.push(FieldError::required(&path.key("ssh-privatekey"), ""));
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if missing(key) {
                    errors.push(FieldError::required(&path.key(key), ""));
                }
            }
        }
        _ => {}
    }
}

/// The value itself stays out of the message: it is a secret.
fn json(value: Option<&ByteString>, field: &Path<'_>, errors: &mut Errors) {
    match value {
        None => errors.push(FieldError::required(field, "")),
        Some(bytes) if serde_json::from_slice::<serde::de::IgnoredAny>(&bytes.0).is_err() => {
            errors.push(FieldError::invalid(
                field,
                "<secret contents redacted>",
                "must be valid JSON",
            ));
        }
        Some(_) => {}
    }
}
