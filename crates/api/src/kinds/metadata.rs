//! The rules for `metadata`, which are the same for every kind (apimachinery's `api/validation`).

use crate::kind::Scope;
use crate::validation::{self, Errors, FieldError, Path, format};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::collections::BTreeMap;

/// Most bytes of all annotations of an object together.
const ANNOTATIONS_BYTES: usize = 256 * 1024;

/// Clears what only the server sets.
pub(super) fn prepare_create(metadata: &mut ObjectMeta, generation: bool) {
    metadata.deletion_timestamp = None;
    metadata.deletion_grace_period_seconds = None;
    metadata.self_link = None;
    metadata.resource_version = None;
    metadata.generation = generation.then_some(1);
}

/// Carries over identity and what only the server sets. `resourceVersion` is the current one, so that an
/// update that changes nothing gives an equal object.
pub(super) fn prepare_update(metadata: &mut ObjectMeta, old: &ObjectMeta) {
    if metadata.uid.is_none() {
        metadata.uid.clone_from(&old.uid);
    }
    if metadata.creation_timestamp.is_none() {
        metadata
            .creation_timestamp
            .clone_from(&old.creation_timestamp);
    }
    if metadata.deletion_timestamp.is_none() {
        metadata
            .deletion_timestamp
            .clone_from(&old.deletion_timestamp);
    }
    if metadata.deletion_grace_period_seconds.is_none() {
        metadata.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    }
    if metadata.generate_name.is_none() {
        metadata.generate_name.clone_from(&old.generate_name);
    }
    metadata.self_link = None;
    metadata.resource_version.clone_from(&old.resource_version);
}

/// Finds what is wrong with an object's metadata.
pub(super) fn validate(
    metadata: &ObjectMeta,
    scope: Scope,
    name: fn(&str) -> Vec<String>,
    errors: &mut Errors,
) {
    let path = Path::new("metadata");
    if let Some(prefix) = metadata
        .generate_name
        .as_deref()
        .filter(|prefix| !prefix.is_empty())
    {
        // The generated suffix ends in a letter or digit, so a trailing dash is fine.
        let masked = prefix
            .strip_suffix('-')
            .map_or_else(|| prefix.to_owned(), |text| format!("{text}a"));
        validation::each(errors, &path.child("generateName"), prefix, name(&masked));
    }
    match metadata.name.as_deref() {
        None | Some("") => errors.push(FieldError::required(
            &path.child("name"),
            "name or generateName is required",
        )),
        Some(text) => validation::each(errors, &path.child("name"), text, name(text)),
    }
    namespace(metadata, scope, &path, errors);
    if let Some(labels) = &metadata.labels {
        self::labels(labels, &path.child("labels"), errors);
    }
    if let Some(annotations) = &metadata.annotations {
        self::annotations(annotations, &path.child("annotations"), errors);
    }
    if let Some(owners) = &metadata.owner_references {
        owner_references(owners, &path.child("ownerReferences"), errors);
    }
    let field = path.child("finalizers");
    for (index, finalizer) in metadata.finalizers.iter().flatten().enumerate() {
        self::finalizer(finalizer, &field.index(index), errors);
    }
}

fn namespace(metadata: &ObjectMeta, scope: Scope, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("namespace");
    match (scope, metadata.namespace.as_deref().unwrap_or("")) {
        (Scope::Namespaced, "") => errors.push(FieldError::required(&field, "")),
        (Scope::Namespaced, text) => {
            validation::each(errors, &field, text, format::dns_label(text))
        }
        (Scope::Cluster, "") => {}
        (Scope::Cluster, _) => {
            errors.push(FieldError::forbidden(&field, "not allowed on this type"))
        }
    }
}

/// Keys are qualified names, values are label values.
pub(super) fn labels(labels: &BTreeMap<String, String>, field: &Path<'_>, errors: &mut Errors) {
    for (key, value) in labels {
        validation::each(errors, field, key, format::qualified_name(key));
        validation::each(errors, field, value, format::label_value(value));
    }
}

/// Keys are qualified names in any case; values are free, but all together are limited.
pub(super) fn annotations(
    annotations: &BTreeMap<String, String>,
    field: &Path<'_>,
    errors: &mut Errors,
) {
    let mut bytes = 0;
    for (key, value) in annotations {
        validation::each(
            errors,
            field,
            key,
            format::qualified_name(&key.to_lowercase()),
        );
        bytes += key.len() + value.len();
    }
    if bytes > ANNOTATIONS_BYTES {
        errors.push(FieldError::too_long(field, ANNOTATIONS_BYTES));
    }
}

fn owner_references(owners: &[OwnerReference], field: &Path<'_>, errors: &mut Errors) {
    let mut controller: Option<&OwnerReference> = None;
    // Kubernetes leaves the index out of these paths.
    for owner in owners {
        if owner.api_version.is_empty() {
            errors.push(FieldError::invalid(
                &field.child("apiVersion"),
                "",
                "version must not be empty",
            ));
        }
        if owner.kind.is_empty() {
            errors.push(FieldError::invalid(
                &field.child("kind"),
                "",
                "must not be empty",
            ));
        }
        if owner.name.is_empty() {
            errors.push(FieldError::invalid(
                &field.child("name"),
                "",
                "must not be empty",
            ));
        }
        if owner.uid.is_empty() {
            errors.push(FieldError::invalid(
                &field.child("uid"),
                "",
                "must not be empty",
            ));
        }
        if owner.api_version == "v1" && owner.kind == "Event" {
            errors.push(FieldError::invalid(
                field,
                owner,
                "/v1, Kind=Event is disallowed from being an owner",
            ));
        }
    }
    for owner in owners.iter().filter(|owner| owner.controller == Some(true)) {
        match controller {
            Some(first) => errors.push(FieldError::invalid(
                field,
                owners,
                format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                    first.name, owner.name
                ),
            )),
            None => controller = Some(owner),
        }
    }
}

/// Finalizers that need no domain: Kubernetes' own.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

fn finalizer(name: &str, field: &Path<'_>, errors: &mut Errors) {
    let problems = format::qualified_name(name);
    if !problems.is_empty() {
        validation::each(errors, field, name, problems);
    } else if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
        errors.push(FieldError::invalid(
            field,
            name,
            "name is neither a standard finalizer name nor is it fully qualified",
        ));
    }
}

/// Finds what an update may not change.
pub(super) fn validate_update(new: &ObjectMeta, old: &ObjectMeta, errors: &mut Errors) {
    let path = Path::new("metadata");
    if old.deletion_timestamp.is_some() {
        let added: Vec<&String> = new
            .finalizers
            .iter()
            .flatten()
            .filter(|name| !old.finalizers.iter().flatten().any(|known| known == *name))
            .collect();
        if !added.is_empty() {
            errors.push(FieldError::forbidden(
                &path.child("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{added:?}"
                )
                .replace("string[", "string{")
                .replace("\"]", "\"}"),
            ));
        }
    }
    validation::immutable(errors, &path.child("name"), &new.name, &old.name);
    validation::immutable(
        errors,
        &path.child("namespace"),
        &new.namespace,
        &old.namespace,
    );
    validation::immutable(errors, &path.child("uid"), &new.uid, &old.uid);
    validation::immutable(
        errors,
        &path.child("creationTimestamp"),
        &new.creation_timestamp,
        &old.creation_timestamp,
    );
    validation::immutable(
        errors,
        &path.child("deletionTimestamp"),
        &new.deletion_timestamp,
        &old.deletion_timestamp,
    );
    validation::immutable(
        errors,
        &path.child("deletionGracePeriodSeconds"),
        &new.deletion_grace_period_seconds,
        &old.deletion_grace_period_seconds,
    );
}
