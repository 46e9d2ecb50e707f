//! What an object holds alone in the cluster: service addresses and node ports.
//!
//! Each claim is a record of its own in the store, written and removed in the same transaction as its holder and
//! required absent before, so that two services can never get one address, whoever wrote them.

use serde_json::Value;
use std::collections::BTreeSet;

/// The resource that claims are stored under. It is not served.
pub const RESOURCE: &str = "claims.pontoon";

/// The names of the claims that an object of `kind` holds, such as `service-ip.10.96.0.1` and `node-port.30080`.
#[must_use]
pub fn of(kind: &str, object: &Value) -> BTreeSet<String> {
    if kind != "Service" {
        return BTreeSet::new();
    }
    let spec = &object["spec"];
    let address = spec["clusterIP"]
        .as_str()
        .filter(|address| !matches!(*address, "" | "None"));
    let mut claims: BTreeSet<String> = address
        .filter(|_| spec["type"] != "ExternalName")
        .map(address_claim)
        .into_iter()
        .collect();
    let ports = spec["ports"].as_array().into_iter().flatten();
    let ports = ports
        .filter_map(|port| port["nodePort"].as_u64())
        .filter(|port| *port > 0);
    claims.extend(
        ports
            .filter_map(|port| u16::try_from(port).ok())
            .map(port_claim),
    );
    claims
}

/// The claim on a service address.
#[must_use]
pub fn address_claim(address: &str) -> String {
    format!("service-ip.{address}")
}

/// The claim on a node port, for every protocol.
#[must_use]
pub fn port_claim(port: u16) -> String {
    format!("node-port.{port}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_claims_each_address_and_node_port_once() {
        let service = json!({"spec": {
            "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
            "ports": [{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP", "nodePort": 30053}, {"port": 1}],
        }});
        let claims: Vec<String> = of("Service", &service).into_iter().collect();
        assert_eq!(
            claims,
            ["node-port.30053", "node-port.30080", "service-ip.10.96.0.9"]
        );
    }

    #[test]
    fn headless_and_external_services_and_other_kinds_claim_no_address() {
        assert!(of("Service", &json!({"spec": {"clusterIP": "None"}})).is_empty());
        assert!(
            of(
                "Service",
                &json!({"spec": {"clusterIP": "10.96.0.9", "type": "ExternalName"}})
            )
            .is_empty()
        );
        assert!(of("Pod", &json!({"spec": {"clusterIP": "10.96.0.9"}})).is_empty());
    }
}
