//! Requests and limits of containers, and the quality-of-service class they make.

use crate::quantity::Quantity;
use crate::validation::{self, Errors, FieldError, Path, format};
use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource;
use std::collections::BTreeMap;

type Resources = BTreeMap<String, resource::Quantity>;

/// Names without a domain that exist for quotas and nodes but not for containers.
const STANDARD: &[&str] = &[
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "services.nodeports",
    "services.loadbalancers",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "requests.storage",
];

/// The amount that a decoded object holds. Decoding has already refused what does not parse.
pub(in crate::kinds) fn amount(quantity: &resource::Quantity) -> Quantity {
    quantity.0.parse().unwrap_or(Quantity::ZERO)
}

fn is_container_resource(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

/// Finds what is wrong with a container's resources.
pub(super) fn validate(resources: &ResourceRequirements, path: &Path<'_>, errors: &mut Errors) {
    let none = Resources::new();
    let limits = resources.limits.as_ref().unwrap_or(&none);
    let requests = resources.requests.as_ref().unwrap_or(&none);
    let field = path.child("limits");
    for (name, quantity) in limits {
        resource(name, quantity, &field.key(name), errors);
    }
    let field = path.child("requests");
    for (name, quantity) in requests {
        let field = field.key(name);
        resource(name, quantity, &field, errors);
        request_against_limit(name, quantity, limits.get(name), &field, path, errors);
    }
}

fn resource(name: &str, quantity: &resource::Quantity, field: &Path<'_>, errors: &mut Errors) {
    validation::each(errors, field, name, format::qualified_name(name));
    if !name.contains('/') && !is_container_resource(name) {
        if !STANDARD.contains(&name) {
            errors.push(FieldError::invalid(
                field,
                name,
                "must be a standard resource type or fully qualified",
            ));
        }
        errors.push(FieldError::invalid(
            field,
            name,
            "must be a standard resource for containers",
        ));
    }
    let value = amount(quantity);
    if value.is_negative() {
        errors.push(FieldError::invalid(
            field,
            &quantity.0,
            "must be greater than or equal to 0",
        ));
    }
    if is_extended(name) && !value.is_whole() {
        errors.push(FieldError::invalid(
            field,
            &quantity.0,
            "must be an integer",
        ));
    }
}

fn request_against_limit(
    name: &str,
    request: &resource::Quantity,
    limit: Option<&resource::Quantity>,
    field: &Path<'_>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let exact = is_extended(name) || name.starts_with("hugepages-");
    match limit {
        Some(limit) if exact && amount(request) != amount(limit) => {
            errors.push(FieldError::invalid(
                field,
                &request.0,
                format!("must be equal to {name} limit of {}", limit.0),
            ))
        }
        Some(limit) if !exact && amount(request) > amount(limit) => {
            errors.push(FieldError::invalid(
                field,
                &request.0,
                format!("must be less than or equal to {name} limit of {}", limit.0),
            ))
        }
        None if exact => errors.push(FieldError::required(
            &path.child("limits").key(name),
            "Limit must be set for non overcommitable resources",
        )),
        _ => {}
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`, from cpu and memory of every container.
pub(in crate::kinds) fn quality(spec: &PodSpec) -> &'static str {
    let containers = || {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    };
    let of = |resources: Option<&Resources>, name: &str| {
        resources
            .and_then(|list| list.get(name))
            .map(amount)
            .filter(|amount| !amount.is_zero())
    };
    let mut any = false;
    let mut guaranteed = true;
    for container in containers() {
        let resources = container.resources.as_ref();
        for name in ["cpu", "memory"] {
            let request = of(
                resources.and_then(|resources| resources.requests.as_ref()),
                name,
            );
            let limit = of(
                resources.and_then(|resources| resources.limits.as_ref()),
                name,
            );
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
