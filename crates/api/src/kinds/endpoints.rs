//! Endpoints: the addresses behind a service, in their older form.

use super::duration::age;
use super::endpoint_slice::special_address;
use super::typed::Definition;
use crate::kind::{Column, Descriptor, Scope, Verb};
use crate::validation::{self, Errors, FieldError, Path, format};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints};
use serde_json::Value;

/// How many addresses a table shows before it counts the rest.
const SHOWN: usize = 3;

pub(super) struct EndpointsKind;

static DESCRIPTOR: Descriptor = Descriptor {
    group: "",
    version: "v1",
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verb::ALL,
    subresources: &[],
    columns: &[
        Column::NAME,
        Column::text("Endpoints", "The addresses, with their ports."),
        Column::AGE,
    ],
};

impl Definition for EndpointsKind {
    type Object = Endpoints;

    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
    const DEPRECATION: Option<&'static str> =
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");

    fn default(object: &mut Endpoints) {
        for port in object
            .subsets
            .iter_mut()
            .flatten()
            .flat_map(|subset| subset.ports.iter_mut().flatten())
        {
            if port.protocol.as_deref().unwrap_or("").is_empty() {
                port.protocol = Some("TCP".to_owned());
            }
        }
    }

    fn validate(object: &Endpoints, errors: &mut Errors) {
        let path = Path::new("subsets");
        for (index, subset) in object.subsets.iter().flatten().enumerate() {
            self::subset(subset, &path.index(index), errors);
        }
    }

    fn cells(object: &Endpoints, now: Timestamp) -> Vec<Value> {
        vec![
            object.metadata.name.clone().into(),
            shown(object.subsets.as_deref().unwrap_or_default()).into(),
            age(&object.metadata, now),
        ]
    }
}

fn subset(subset: &EndpointSubset, path: &Path<'_>, errors: &mut Errors) {
    let ready = subset.addresses.as_deref().unwrap_or_default();
    let others = subset.not_ready_addresses.as_deref().unwrap_or_default();
    if ready.is_empty() && others.is_empty() {
        errors.push(FieldError::required(
            path,
            "must specify `addresses` or `notReadyAddresses`",
        ));
    }
    for (name, list) in [("addresses", ready), ("notReadyAddresses", others)] {
        let path = path.child(name);
        for (index, address) in list.iter().enumerate() {
            self::address(address, &path.index(index), errors);
        }
    }
    let ports = subset.ports.as_deref().unwrap_or_default();
    let path = path.child("ports");
    for (index, port) in ports.iter().enumerate() {
        self::port(port, ports.len() > 1, &path.index(index), errors);
    }
}

fn address(address: &EndpointAddress, path: &Path<'_>, errors: &mut Errors) {
    let field = path.child("ip");
    validation::each(errors, &field, &address.ip, format::ip_address(&address.ip));
    special_address(&address.ip, &field, errors);
    if let Some(name) = address.hostname.as_deref().filter(|name| !name.is_empty()) {
        validation::each(
            errors,
            &path.child("hostname"),
            name,
            format::dns_label(name),
        );
    }
    if let Some(name) = &address.node_name {
        validation::each(
            errors,
            &path.child("nodeName"),
            name,
            format::dns_subdomain(name),
        );
    }
}

fn port(port: &EndpointPort, named: bool, path: &Path<'_>, errors: &mut Errors) {
    let name = port.name.as_deref().unwrap_or("");
    if named && name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    } else if !name.is_empty() {
        validation::each(errors, &path.child("name"), name, format::dns_label(name));
    }
    for problem in format::port_number(port.port.into()) {
        errors.push(FieldError::invalid(&path.child("port"), port.port, problem));
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

/// `10.0.0.1:80,10.0.0.2:80 + 3 more...`
fn shown(subsets: &[EndpointSubset]) -> String {
    if subsets.is_empty() {
        return "<none>".to_owned();
    }
    let mut all = Vec::new();
    for subset in subsets {
        let addresses = subset.addresses.as_deref().unwrap_or_default();
        let ports = subset.ports.as_deref().unwrap_or_default();
        if ports.is_empty() {
            all.extend(addresses.iter().map(|address| address.ip.clone()));
        }
        for port in ports {
            all.extend(
                addresses
                    .iter()
                    .map(|address| match address.ip.contains(':') {
                        true => format!("[{}]:{}", address.ip, port.port),
                        false => format!("{}:{}", address.ip, port.port),
                    }),
            );
        }
    }
    let text = all
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(",");
    if all.len() > SHOWN {
        format!("{text} + {} more...", all.len() - SHOWN)
    } else {
        text
    }
}
