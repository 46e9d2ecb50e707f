//! What may stand in a service.

use super::{has_cluster_ip, is_external, is_headless};
use crate::kinds::metadata;
use crate::validation::{self, Errors, FieldError, Path, format};
use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeSet;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
/// Longest session affinity: a day.
const AFFINITY_SECONDS: i32 = 86_400;

/// Finds what is wrong with a service.
pub(super) fn validate(spec: &ServiceSpec, errors: &mut Errors) {
    let path = Path::new("spec");
    let kind = spec.type_.as_deref().unwrap_or("");
    let ports_given = spec.ports.as_ref().is_some_and(|ports| !ports.is_empty());
    if !ports_given && !is_headless(spec) && kind != "ExternalName" {
        errors.push(FieldError::required(&path.child("ports"), ""));
    }
    if kind == "ExternalName" {
        external_name(spec, &path, errors);
    } else if is_headless(spec) && kind != "ClusterIP" {
        let detail = format!("may not be set to 'None' for {kind} services");
        let field = path.child("clusterIPs");
        errors.push(FieldError::invalid(&field.index(0), "None", detail));
    }
    ports(spec, &path, errors);
    if let Some(selector) = &spec.selector {
        metadata::labels(selector, &path.child("selector"), errors);
    }
    affinity(spec, &path, errors);
    cluster_ips(spec, &path, errors);
    let field = path.child("externalIPs");
    for (index, address) in spec.external_ips.iter().flatten().enumerate() {
        validation::each(
            errors,
            &field.index(index),
            address,
            format::ip_address(address),
        );
    }
    if !TYPES.contains(&kind) {
        errors.push(FieldError::not_supported(&path.child("type"), kind, TYPES));
    }
    policies(spec, &path, errors);
}

fn external_name(spec: &ServiceSpec, path: &Path<'_>, errors: &mut Errors) {
    if spec
        .cluster_ips
        .as_ref()
        .is_some_and(|list| !list.is_empty())
    {
        let detail = "may not be set for ExternalName services";
        errors.push(FieldError::forbidden(&path.child("clusterIPs"), detail));
    }
    let field = path.child("externalName");
    let name = spec.external_name.as_deref().unwrap_or("");
    if name.is_empty() {
        errors.push(FieldError::required(&field, ""));
    } else {
        let bare = name.strip_suffix('.').unwrap_or(name);
        validation::each(errors, &field, name, format::dns_subdomain(bare));
    }
}

fn ports(spec: &ServiceSpec, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("ports");
    let ports = spec.ports.as_deref().unwrap_or_default();
    let (mut names, mut numbers, mut node_ports) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = field.index(index);
        let name = port.name.as_deref().unwrap_or("");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(FieldError::required(&path.child("name"), ""));
            }
        } else {
            validation::each(errors, &path.child("name"), name, format::dns_label(name));
            if !names.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
        }
        self::port(port, &path, errors);
        let node_port = port.node_port.unwrap_or(0);
        if node_port != 0 {
            if spec.type_.as_deref() == Some("ClusterIP") {
                let detail = "may not be used when `type` is 'ClusterIP'";
                errors.push(FieldError::forbidden(&path.child("nodePort"), detail));
            }
            if !node_ports.insert((node_port, port.protocol.as_deref())) {
                errors.push(FieldError::duplicate(&path.child("nodePort"), node_port));
            }
        }
        if !numbers.insert((port.port, port.protocol.as_deref())) {
            errors.push(FieldError::duplicate(&path, port));
        }
    }
}

fn port(port: &ServicePort, path: &Path<'_>, errors: &mut Errors) {
    let number = |number: i32, name: &str, errors: &mut Errors| {
        for problem in format::port_number(number.into()) {
            errors.push(FieldError::invalid(&path.child(name), number, problem));
        }
    };
    number(port.port, "port", errors);
    let protocol = port.protocol.as_deref().unwrap_or("");
    if !PROTOCOLS.contains(&protocol) {
        errors.push(FieldError::not_supported(
            &path.child("protocol"),
            protocol,
            PROTOCOLS,
        ));
    }
    match &port.target_port {
        Some(IntOrString::Int(target)) => number(*target, "targetPort", errors),
        Some(IntOrString::String(name)) => {
            validation::each(
                errors,
                &path.child("targetPort"),
                name,
                format::port_name(name),
            );
        }
        None => {}
    }
    if let Some(node_port) = port.node_port.filter(|port| *port != 0) {
        number(node_port, "nodePort", errors);
    }
    if let Some(protocol) = &port.app_protocol {
        validation::each(
            errors,
            &path.child("appProtocol"),
            protocol,
            format::qualified_name(protocol),
        );
    }
}

fn affinity(spec: &ServiceSpec, path: &Path<'_>, errors: &mut Errors) {
    let text = spec.session_affinity.as_deref().unwrap_or("");
    let known = ["ClientIP", "None"];
    if !known.contains(&text) {
        errors.push(FieldError::not_supported(
            &path.child("sessionAffinity"),
            text,
            &known,
        ));
        return;
    }
    let client = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref());
    if let Some(seconds) = client.and_then(|client| client.timeout_seconds)
        && !(1..=AFFINITY_SECONDS).contains(&seconds)
    {
        let config = path.child("sessionAffinityConfig");
        let client = config.child("clientIP");
        let detail = format!("must be greater than 0 and less than {AFFINITY_SECONDS}");
        errors.push(FieldError::invalid(
            &client.child("timeoutSeconds"),
            seconds,
            detail,
        ));
    }
}

fn cluster_ips(spec: &ServiceSpec, path: &Path<'_>, errors: &mut Errors) {
    if !has_cluster_ip(spec) {
        return;
    }
    let field = path.child("clusterIPs");
    let all = spec.cluster_ips.as_deref().unwrap_or_default();
    let first = all.first().map_or("", String::as_str);
    if first != spec.cluster_ip.as_deref().unwrap_or("") {
        errors.push(FieldError::invalid(
            &field,
            all,
            "first value must match `clusterIP`",
        ));
    }
    if all.len() > 2 {
        errors.push(FieldError::invalid(
            &field,
            all,
            "may only hold up to 2 values",
        ));
    }
    for (index, address) in all.iter().enumerate() {
        if address == "None" && index == 0 {
            continue;
        }
        validation::each(
            errors,
            &field.index(index),
            address,
            format::ip_address(address),
        );
    }
    let field = path.child("ipFamilies");
    for (index, family) in spec.ip_families.iter().flatten().enumerate() {
        let known = ["IPv4", "IPv6"];
        if !known.contains(&family.as_str()) {
            errors.push(FieldError::not_supported(
                &field.index(index),
                family,
                &known,
            ));
        }
    }
}

fn policies(spec: &ServiceSpec, path: &Path<'_>, errors: &mut Errors) {
    let known = ["Cluster", "Local"];
    let field = path.child("externalTrafficPolicy");
    match spec.external_traffic_policy.as_deref() {
        Some(policy) if !is_external(spec) => {
            let detail = "may only be set for externally-accessible services";
            errors.push(FieldError::invalid(&field, policy, detail));
        }
        Some(policy) if !known.contains(&policy) => {
            errors.push(FieldError::not_supported(&field, policy, &known));
        }
        _ => {}
    }
    if let Some(policy) = spec
        .internal_traffic_policy
        .as_deref()
        .filter(|policy| !known.contains(policy))
    {
        errors.push(FieldError::not_supported(
            &path.child("internalTrafficPolicy"),
            policy,
            &known,
        ));
    }
}

/// Finds what an update may not change: an address, once given, stays.
pub(super) fn validate_update(new: &ServiceSpec, old: &ServiceSpec, errors: &mut Errors) {
    let path = Path::new("spec");
    if !has_cluster_ip(new) || !has_cluster_ip(old) {
        return;
    }
    let address = |spec: &ServiceSpec| spec.cluster_ips.iter().flatten().next().cloned();
    if let Some(old) = address(old)
        && address(new).as_ref() != Some(&old)
    {
        let field = path.child("clusterIPs");
        errors.push(FieldError::invalid(
            &field.index(0),
            &new.cluster_ips,
            "may not change once set",
        ));
    }
    let family = |spec: &ServiceSpec| spec.ip_families.iter().flatten().next().cloned();
    if let Some(old) = family(old)
        && family(new).as_ref() != Some(&old)
    {
        let field = path.child("ipFamilies");
        errors.push(FieldError::invalid(
            &field.index(0),
            &new.ip_families,
            "may not change once set",
        ));
    }
}
