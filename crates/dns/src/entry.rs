//! A service as the zone needs it, and how it is read from Kubernetes' objects.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// How a service is reached by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// It has addresses of its own.
    Cluster(Vec<IpAddr>),
    /// It has none: its name stands for its endpoints.
    Headless,
    /// It is another name for something outside.
    External(String),
}

/// A named port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The name; ports without one have no SRV record.
    pub name: String,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The number.
    pub number: u16,
}

/// A ready endpoint of a headless service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The host name under the service's name; without one the address serves (`10-244-0-7`).
    pub hostname: Option<String>,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// How it is reached.
    pub address: Address,
    /// The service's ports: SRV records of a service that has addresses.
    pub ports: Vec<Port>,
    /// Ready endpoints: records of a headless service. Others need none.
    pub endpoints: Vec<Endpoint>,
}

impl Entry {
    /// Reads a service and its slices. `None` when the object has no name or its address is not assigned yet.
    #[must_use]
    pub fn of<'a>(
        service: &Service,
        slices: impl IntoIterator<Item = &'a EndpointSlice>,
    ) -> Option<Self> {
        let spec = service.spec.as_ref()?;
        let address = address(spec)?;
        let publish_all = spec.publish_not_ready_addresses.unwrap_or(false);
        let ports = spec.ports.iter().flatten().filter_map(|port| {
            let protocol = port.protocol.as_deref();
            named_port(port.name.as_deref(), protocol, Some(port.port))
        });
        let endpoints = match address {
            Address::Headless => slices
                .into_iter()
                .flat_map(|slice| endpoints(slice, publish_all))
                .collect(),
            _ => Vec::new(),
        };
        Some(Self {
            namespace: service.metadata.namespace.clone()?,
            name: service.metadata.name.clone()?,
            address,
            ports: ports.collect(),
            endpoints,
        })
    }
}

fn address(spec: &k8s_openapi::api::core::v1::ServiceSpec) -> Option<Address> {
    if spec.type_.as_deref() == Some("ExternalName") {
        return spec.external_name.clone().map(Address::External);
    }
    if spec.cluster_ip.as_deref() == Some("None") {
        return Some(Address::Headless);
    }
    let texts = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    let mut addresses: Vec<IpAddr> = texts.filter_map(|text| text.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    (!addresses.is_empty()).then_some(Address::Cluster(addresses))
}

fn named_port(name: Option<&str>, protocol: Option<&str>, number: Option<i32>) -> Option<Port> {
    let name = name.filter(|name| !name.is_empty())?.to_owned();
    let protocol = protocol.unwrap_or("TCP").to_ascii_lowercase();
    Some(Port {
        name,
        protocol,
        number: u16::try_from(number?).ok()?,
    })
}

fn endpoints(slice: &EndpointSlice, publish_all: bool) -> impl Iterator<Item = Endpoint> {
    let ports: Vec<Port> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| named_port(port.name.as_deref(), port.protocol.as_deref(), port.port))
        .collect();
    slice
        .endpoints
        .iter()
        .flatten()
        .filter_map(move |endpoint| {
            // A condition that is not said counts as ready (EndpointConditions).
            let ready = endpoint
                .conditions
                .as_ref()
                .and_then(|conditions| conditions.ready)
                .unwrap_or(true);
            let addresses: Vec<IpAddr> = endpoint
                .addresses
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect();
            let serves = (ready || publish_all) && !addresses.is_empty();
            let hostname = endpoint
                .hostname
                .clone()
                .filter(|hostname| !hostname.is_empty());
            serves.then(|| Endpoint {
                addresses,
                hostname,
                ports: ports.clone(),
            })
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn service(spec: serde_json::Value) -> Service {
        serde_json::from_value(
            json!({ "metadata": { "name": "web", "namespace": "shop" }, "spec": spec }),
        )
        .unwrap()
    }

    #[test]
    fn a_service_whose_address_is_not_assigned_has_no_entry() {
        assert_eq!(
            Entry::of(&service(json!({ "ports": [{ "port": 80 }] })), []),
            None
        );
    }

    #[test]
    fn an_endpoint_that_is_not_ready_is_left_out_unless_the_service_publishes_all() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "addressType": "IPv4",
            "metadata": { "name": "web-1" },
            "ports": [{ "name": "http", "port": 8080 }, { "port": 9 }],
            "endpoints": [
                { "addresses": ["10.244.0.2"], "hostname": "web-0", "conditions": { "ready": true } },
                { "addresses": ["10.244.0.3"], "conditions": { "ready": false } },
                { "addresses": ["10.244.0.4"] },
            ],
        }))
        .unwrap();
        let entry = Entry::of(&service(json!({ "clusterIP": "None" })), [&slice]).unwrap();
        assert_eq!(entry.address, Address::Headless);
        assert_eq!(entry.endpoints.len(), 2);
        assert_eq!(entry.endpoints[0].ports.len(), 1);
        let spec = json!({ "clusterIP": "None", "publishNotReadyAddresses": true });
        assert_eq!(
            Entry::of(&service(spec), [&slice]).unwrap().endpoints.len(),
            3
        );
    }

    #[test]
    fn ports_without_a_name_have_no_record() {
        let spec = json!({ "clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20"],
            "ports": [{ "port": 80 }, { "name": "dns", "port": 53, "protocol": "UDP" }] });
        let entry = Entry::of(&service(spec), []).unwrap();
        assert_eq!(
            entry.address,
            Address::Cluster(vec!["10.96.0.20".parse().unwrap()])
        );
        assert_eq!(
            entry.ports,
            [Port {
                name: "dns".into(),
                protocol: "udp".into(),
                number: 53
            }]
        );
    }
}
