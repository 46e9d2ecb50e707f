//! Environment variables and where their values come from.

use crate::validation::{self, Errors, FieldError, Path, format};
use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector,
};

/// Fields of a pod that variables may show.
const VARIABLE_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields of a pod that files of a downward volume may show.
const FILE_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// Resources that variables and files may show.
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Finds what is wrong with a container's environment.
pub(super) fn validate(container: &Container, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("env");
    for (index, variable) in container.env.iter().flatten().enumerate() {
        self::variable(variable, &field.index(index), errors);
    }
    let field = path.child("envFrom");
    for (index, source) in container.env_from.iter().flatten().enumerate() {
        from(source, &field.index(index), errors);
    }
}

fn variable(variable: &EnvVar, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("name");
    if variable.name.is_empty() {
        errors.push(FieldError::required(&field, ""));
    } else {
        validation::each(
            errors,
            &field,
            &variable.name,
            format::env_name(&variable.name),
        );
    }
    let Some(source) = &variable.value_from else {
        return;
    };
    let field = path.child("valueFrom");
    let count = usize::from(source.field_ref.is_some())
        + usize::from(source.resource_field_ref.is_some())
        + usize::from(source.config_map_key_ref.is_some())
        + usize::from(source.secret_key_ref.is_some())
        + usize::from(source.file_key_ref.is_some());
    if count == 0 {
        errors.push(FieldError::invalid(
            &field,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ));
    }
    if variable
        .value
        .as_ref()
        .is_some_and(|value| !value.is_empty())
        && count > 0
    {
        errors.push(FieldError::invalid(
            &field,
            "",
            "may not be specified when `value` is not empty",
        ));
    } else if count > 1 {
        errors.push(FieldError::invalid(
            &field,
            "",
            "may not have more than one field specified at a time",
        ));
    }
    sources(source, &field, errors);
}

fn sources(source: &EnvVarSource, path: &Path<'_>, errors: &mut Errors) {
    if let Some(field) = &source.field_ref {
        field_selector(field, VARIABLE_FIELDS, &path.child("fieldRef"), errors);
    }
    if let Some(resource) = &source.resource_field_ref {
        resource_selector(resource, false, &path.child("resourceFieldRef"), errors);
    }
    if let Some(reference) = &source.config_map_key_ref {
        key_reference(
            &reference.name,
            &reference.key,
            &path.child("configMapKeyRef"),
            errors,
        );
    }
    if let Some(reference) = &source.secret_key_ref {
        key_reference(
            &reference.name,
            &reference.key,
            &path.child("secretKeyRef"),
            errors,
        );
    }
}

fn key_reference(name: &str, key: &str, path: &Path<'_>, errors: &mut Errors) {
    reference(name, path, errors);
    let field = path.child("key");
    if key.is_empty() {
        errors.push(FieldError::required(&field, ""));
    } else {
        validation::each(errors, &field, key, format::data_key(key));
    }
}

fn reference(name: &str, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("name");
    if name.is_empty() {
        errors.push(FieldError::required(&field, ""));
    } else {
        validation::each(errors, &field, name, format::dns_subdomain(name));
    }
}

fn from(source: &EnvFromSource, path: &Path<'_>, errors: &mut Errors) {
    if let Some(prefix) = source.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
        validation::each(
            errors,
            &path.child("prefix"),
            prefix,
            format::env_name(prefix),
        );
    }
    match (&source.config_map_ref, &source.secret_ref) {
        (None, None) => {
            errors.push(FieldError::invalid(
                path,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            ));
        }
        (Some(_), Some(_)) => {
            errors.push(FieldError::invalid(
                path,
                "",
                "may not have more than one field specified at a time",
            ));
        }
        (Some(map), None) => reference(&map.name, &path.child("configMapRef"), errors),
        (None, Some(secret)) => reference(&secret.name, &path.child("secretRef"), errors),
    }
}

fn field_selector(
    field: &ObjectFieldSelector,
    known: &[&str],
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let version = field.api_version.as_deref().unwrap_or("");
    if version != "v1" {
        errors.push(FieldError::invalid(
            &path.child("fieldPath"),
            &field.field_path,
            "unsupported API version",
        ));
        return;
    }
    let path = path.child("fieldPath");
    let text = field.field_path.as_str();
    if text.is_empty() {
        errors.push(FieldError::required(&path, ""));
    } else if let Some((map, key)) = subscript(text) {
        match map {
            "metadata.labels" => validation::each(errors, &path, key, format::qualified_name(key)),
            "metadata.annotations" => {
                validation::each(
                    errors,
                    &path,
                    key,
                    format::qualified_name(&key.to_lowercase()),
                );
            }
            _ => errors.push(FieldError::invalid(
                &path,
                text,
                "does not support subscript",
            )),
        }
    } else if !known.contains(&text) {
        errors.push(FieldError::not_supported(&path, text, known));
    }
}

/// `metadata.labels['key']` as its two parts.
fn subscript(text: &str) -> Option<(&str, &str)> {
    let (map, rest) = text.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

fn resource_selector(
    resource: &ResourceFieldSelector,
    named: bool,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    if named && resource.container_name.as_deref().unwrap_or("").is_empty() {
        errors.push(FieldError::required(&path.child("containerName"), ""));
    }
    let name = resource.resource.as_str();
    let field = path.child("resource");
    if name.is_empty() {
        errors.push(FieldError::required(&field, ""));
    } else if !RESOURCES.contains(&name)
        && !name.starts_with("requests.hugepages-")
        && !name.starts_with("limits.hugepages-")
    {
        errors.push(FieldError::not_supported(&field, name, RESOURCES));
    }
}

/// A file of a downward volume: one source, and a path inside the volume.
pub(super) fn downward_file(
    field: Option<&ObjectFieldSelector>,
    resource: Option<&ResourceFieldSelector>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    match (field, resource) {
        (Some(_), Some(_)) => errors.push(FieldError::invalid(
            path,
            "resource",
            "fieldRef and resourceFieldRef can not be specified simultaneously",
        )),
        (Some(field), None) => field_selector(field, FILE_FIELDS, &path.child("fieldRef"), errors),
        (None, Some(resource)) => {
            resource_selector(resource, true, &path.child("resourceFieldRef"), errors)
        }
        (None, None) => {
            errors.push(FieldError::required(
                path,
                "one of fieldRef and resourceFieldRef is required",
            ));
        }
    }
}
