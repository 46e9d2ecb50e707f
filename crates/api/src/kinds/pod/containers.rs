//! Containers and init containers.

use super::{env, probes, resources, security, volumes};
use crate::validation::{self, Errors, FieldError, Path, format};
use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec};
use std::collections::BTreeSet;

/// Finds what is wrong with the containers of a pod.
pub(super) fn validate(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("containers");
    if spec.containers.is_empty() {
        errors.push(FieldError::required(&field, ""));
    }
    let grace = spec.termination_grace_period_seconds.unwrap_or(30);
    let mut names = BTreeSet::new();
    for (index, container) in spec.containers.iter().enumerate() {
        let path = field.index(index);
        common(container, spec, &path, errors);
        duplicate(container, &mut names, &path, errors);
        probes::validate(container, grace, &path, errors);
        if let Some(policy) = &container.restart_policy {
            restart_policy(policy, &path, errors);
        }
    }
    let field_of_init = path.child("initContainers");
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let path = field_of_init.index(index);
        common(container, spec, &path, errors);
        duplicate(container, &mut names, &path, errors);
        init(container, grace, &path, errors);
    }
    host_ports(spec, &field, errors);
}

fn duplicate<'a>(
    container: &'a Container,
    names: &mut BTreeSet<&'a str>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    if !container.name.is_empty() && !names.insert(&container.name) {
        errors.push(FieldError::duplicate(&path.child("name"), &container.name));
    }
}

const RESTART_POLICIES: &[&str] = &["Always", "Never", "OnFailure"];

fn restart_policy(policy: &str, path: &Path<'_>, errors: &mut Errors) {
    if !RESTART_POLICIES.contains(&policy) {
        errors.push(FieldError::not_supported(
            &path.child("restartPolicy"),
            policy,
            RESTART_POLICIES,
        ));
    }
}

/// An init container runs to its end; only one that keeps running beside the pod (a sidecar) can be probed.
fn init(container: &Container, grace: i64, path: &Path<'_>, errors: &mut Errors) {
    if let Some(policy) = &container.restart_policy {
        restart_policy(policy, path, errors);
    }
    if container.restart_policy.as_deref() == Some("Always") {
        probes::validate(container, grace, path, errors);
        return;
    }
    for (name, set) in [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ] {
        if set {
            let detail = "may not be set for init containers without restartPolicy=Always";
            errors.push(FieldError::forbidden(&path.child(name), detail));
        }
    }
}

fn common(container: &Container, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let name = path.child("name");
    if container.name.is_empty() {
        errors.push(FieldError::required(&name, ""));
    } else {
        validation::each(
            errors,
            &name,
            &container.name,
            format::dns_label(&container.name),
        );
    }
    let image = container.image.as_deref().unwrap_or("");
    if image.is_empty() {
        errors.push(FieldError::required(&path.child("image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(&path.child("image"), image, detail));
    }
    let policy = container
        .termination_message_policy
        .as_deref()
        .unwrap_or("");
    if !["File", "FallbackToLogsOnError"].contains(&policy) {
        let known = ["FallbackToLogsOnError", "File"];
        errors.push(FieldError::not_supported(
            &path.child("terminationMessagePolicy"),
            policy,
            &known,
        ));
    }
    ports(
        container.ports.as_deref().unwrap_or_default(),
        spec,
        &path.child("ports"),
        errors,
    );
    env::validate(container, path, errors);
    volumes::mounts(container, spec, path, errors);
    let policy = container.image_pull_policy.as_deref().unwrap_or("");
    let known = ["Always", "IfNotPresent", "Never"];
    if !known.contains(&policy) {
        errors.push(FieldError::not_supported(
            &path.child("imagePullPolicy"),
            policy,
            &known,
        ));
    }
    if let Some(resources) = &container.resources {
        resources::validate(resources, &path.child("resources"), errors);
    }
    security::container(container, path, errors);
}

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

fn ports(ports: &[ContainerPort], spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let problems = format::port_name(name);
            if problems.is_empty() && !names.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
            validation::each(errors, &path.child("name"), name, problems);
        }
        let field = path.child("containerPort");
        if port.container_port == 0 {
            errors.push(FieldError::required(&field, ""));
        } else {
            number(port.container_port, &field, errors);
        }
        let host = port.host_port.unwrap_or(0);
        if host != 0 {
            number(host, &path.child("hostPort"), errors);
        }
        let protocol = port.protocol.as_deref().unwrap_or("");
        if !PROTOCOLS.contains(&protocol) {
            errors.push(FieldError::not_supported(
                &path.child("protocol"),
                protocol,
                PROTOCOLS,
            ));
        }
        if spec.host_network == Some(true) && host != port.container_port {
            let detail = "must match `hostPort` when `hostNetwork` is true";
            errors.push(FieldError::invalid(&field, port.container_port, detail));
        }
    }
}

fn number(port: i32, field: &Path<'_>, errors: &mut Errors) {
    for problem in format::port_number(port.into()) {
        errors.push(FieldError::invalid(field, port, problem));
    }
}

/// Two containers of one pod cannot take the same port of the host.
fn host_ports(spec: &PodSpec, field: &Path<'_>, errors: &mut Errors) {
    let mut taken = BTreeSet::new();
    for (index, container) in spec.containers.iter().enumerate() {
        let path = field.index(index);
        let ports = path.child("ports");
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let Some(host) = port.host_port.filter(|host| *host != 0) else {
                continue;
            };
            let protocol = port.protocol.as_deref().unwrap_or("");
            let key = format!(
                "{protocol}/{}/{host}",
                port.host_ip.as_deref().unwrap_or("")
            );
            if taken.contains(&key) {
                errors.push(FieldError::duplicate(
                    &ports.index(index).child("hostPort"),
                    &key,
                ));
            }
            taken.insert(key);
        }
    }
}
