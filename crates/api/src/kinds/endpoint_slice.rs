//! EndpointSlice: some of the addresses behind a service.

use super::duration::age;
use super::typed::Definition;
use crate::kind::Part;
use crate::kind::{Column, Descriptor, Scope, Verb};
use crate::validation::{self, Errors, FieldError, Path, format};
use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Most endpoints in one slice, and most addresses in one endpoint (`pkg/apis/discovery/validation`).
const ENDPOINTS: usize = 1000;
const ADDRESSES: usize = 100;
const PORTS: usize = 20_000;
/// How many items a table shows before it counts the rest.
const SHOWN: usize = 3;

pub(super) struct EndpointSlices;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "discovery.k8s.io",
    version: "v1",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[],
    columns: &[
        Column::NAME,
        Column::text("AddressType", "Family of its addresses."),
        Column::text("Ports", "Its ports."),
        Column::text("Endpoints", "The addresses, with their ports."),
        Column::AGE,
    ],
};

impl Definition for EndpointSlices {
    type Object = EndpointSlice;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
    const GENERATION: bool = true;

    fn default(object: &mut EndpointSlice) {
        object.endpoints.get_or_insert_default();
        for endpoint in object.endpoints.iter_mut().flatten() {
            endpoint.conditions.get_or_insert_default();
        }
        for port in object.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }

    fn spec_changed(new: &EndpointSlice, old: &EndpointSlice) -> bool {
        (&new.address_type, &new.endpoints, &new.ports)
            != (&old.address_type, &old.endpoints, &old.ports)
    }

    fn validate(object: &EndpointSlice, errors: &mut Errors) {
        let field = Path::new("addressType");
        let known = ["FQDN", "IPv4", "IPv6"];
        let family = object.address_type.as_str();
        if family.is_empty() {
            errors.push(FieldError::required(&field, ""));
        } else if !known.contains(&family) {
            errors.push(FieldError::not_supported(&field, family, &known));
        }
        let path = Path::new("endpoints");
        let endpoints = object.endpoints.as_deref().unwrap_or_default();
        if endpoints.len() > ENDPOINTS {
            errors.push(FieldError::too_many(&path, endpoints.len(), ENDPOINTS));
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            self::endpoint(endpoint, family, &path.index(index), errors);
        }
        ports(
            object.ports.as_deref().unwrap_or_default(),
            &Path::new("ports"),
            errors,
        );
    }

    fn validate_update(new: &EndpointSlice, old: &EndpointSlice, _: Part, errors: &mut Errors) {
        validation::immutable(
            errors,
            &Path::new("addressType"),
            &new.address_type,
            &old.address_type,
        );
    }

    fn cells(object: &EndpointSlice, now: Timestamp) -> Vec<Value> {
        let ports =
            object
                .ports
                .iter()
                .flatten()
                .map(|port| match (port.port, port.name.as_deref()) {
                    (Some(number), _) => number.to_string(),
                    (None, Some(name)) if !name.is_empty() => name.to_owned(),
                    (None, _) => "*".to_owned(),
                });
        let addresses = object
            .endpoints
            .iter()
            .flatten()
            .flat_map(|endpoint| endpoint.addresses.iter().cloned());
        vec![
            object.metadata.name.clone().into(),
            object.address_type.clone().into(),
            shown(ports.collect()).into(),
            shown(addresses.collect()).into(),
            age(&object.metadata, now),
        ]
    }
}

fn shown(items: Vec<String>) -> String {
    if items.is_empty() {
        return "<unset>".to_owned();
    }
    let text = items
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(",");
    if items.len() > SHOWN {
        format!("{text} + {} more...", items.len() - SHOWN)
    } else {
        text
    }
}

fn endpoint(endpoint: &Endpoint, family: &str, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("addresses");
    if endpoint.addresses.is_empty() {
        errors.push(FieldError::required(
            &field,
            "must contain at least 1 address",
        ));
    } else if endpoint.addresses.len() > ADDRESSES {
        errors.push(FieldError::too_many(
            &field,
            endpoint.addresses.len(),
            ADDRESSES,
        ));
    }
    for (index, address) in endpoint.addresses.iter().enumerate() {
        self::address(address, family, &field, &field.index(index), errors);
    }
    if let Some(name) = &endpoint.node_name {
        validation::each(
            errors,
            &path.child("nodeName"),
            name,
            format::dns_subdomain(name),
        );
    }
    if let Some(name) = &endpoint.hostname {
        validation::each(
            errors,
            &path.child("hostname"),
            name,
            format::dns_label(name),
        );
    }
}

fn address(text: &str, family: &str, list: &Path<'_>, item: &Path<'_>, errors: &mut Errors) {
    let parsed = text.parse::<IpAddr>();
    match family {
        "IPv4" if !matches!(parsed, Ok(IpAddr::V4(_))) => {
            errors.push(FieldError::invalid(list, text, "must be an IPv4 address"));
        }
        "IPv6" if !matches!(parsed, Ok(IpAddr::V6(_))) => {
            errors.push(FieldError::invalid(list, text, "must be an IPv6 address"));
        }
        "FQDN" => validation::each(errors, item, text, format::dns_subdomain(text)),
        _ => {}
    }
    if matches!(family, "IPv4" | "IPv6") {
        special_address(text, item, errors);
    }
}

/// Addresses that cannot be an endpoint's: they mean another host to every reader.
pub(super) fn special_address(text: &str, field: &Path<'_>, errors: &mut Errors) {
    let Ok(address) = text.parse::<IpAddr>() else {
        return;
    };
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let problem = if address.is_unspecified() {
        "may not be unspecified (0.0.0.0 or ::)"
    } else if address.is_loopback() {
        "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    } else if link_local {
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    } else if address.is_multicast() {
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    } else {
        return;
    };
    errors.push(FieldError::invalid(field, text, problem));
}

fn ports(ports: &[EndpointPort], path: &Path<'_>, errors: &mut Errors) {
    if ports.len() > PORTS {
        errors.push(FieldError::too_many(path, ports.len(), PORTS));
    }
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = port.name.as_deref().unwrap_or("");
        if !name.is_empty() {
            validation::each(errors, &path.child("name"), name, format::dns_label(name));
        }
        if !names.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        let number = port.port.unwrap_or(1);
        for problem in format::port_number(number.into()) {
            errors.push(FieldError::invalid(&path.child("port"), number, problem));
        }
        let protocol = port.protocol.as_deref().unwrap_or("");
        let known = ["SCTP", "TCP", "UDP"];
        if !known.contains(&protocol) {
            errors.push(FieldError::not_supported(
                &path.child("protocol"),
                protocol,
                &known,
            ));
        }
    }
}
