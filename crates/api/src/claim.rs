//! What an object holds alone in the cluster: service addresses and node ports.
//!
//! Each claim is a record of its own in the store, written and removed in the same transaction as its holder and
//! required absent before, so that two services can never get one address, whoever wrote them.

use serde_json::{Value, json};

/// The resource that claims are stored under. It is not served.
pub const RESOURCE: &str = "claims.pontoon";

/// The names of the claims that an object of `kind` holds, such as `ip-10.96.0.1` and `port-tcp-30080`.
#[must_use]
pub fn of(kind: &str, object: &Value) -> Vec<String> {
    if kind != "Service" {
        return Vec::new();
    }
    let addresses = object
        .pointer("/spec/clusterIPs")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let first = object.pointer("/spec/clusterIP").cloned();
    let mut claims: Vec<String> = addresses
        .iter()
        .chain(&first)
        .filter_map(Value::as_str)
        .filter(|address| !address.is_empty() && *address != "None")
        .map(|address| format!("ip-{address}"))
        .collect();
    for port in object
        .pointer("/spec/ports")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if let Some(number) = port
            .get("nodePort")
            .and_then(Value::as_u64)
            .filter(|number| *number != 0)
        {
            let protocol = port
                .get("protocol")
                .and_then(Value::as_str)
                .unwrap_or("TCP")
                .to_lowercase();
            claims.push(format!("port-{protocol}-{number}"));
        }
    }
    claims.sort();
    claims.dedup();
    claims
}

/// The record stored for a claim: who holds it.
#[must_use]
pub fn record(claim: &str, holder_namespace: &str, holder_name: &str) -> Value {
    json!({
        "apiVersion": "pontoon/v1",
        "kind": "Claim",
        "metadata": {"name": claim},
        "holder": {"namespace": holder_namespace, "name": holder_name},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_claims_each_address_and_node_port_once() {
        let service = json!({"spec": {
            "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
            "ports": [{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP", "nodePort": 30053}, {"port": 1}],
        }});
        assert_eq!(
            of("Service", &service),
            ["ip-10.96.0.9", "port-tcp-30080", "port-udp-30053"]
        );
    }

    #[test]
    fn headless_services_and_other_kinds_claim_nothing() {
        assert!(
            of(
                "Service",
                &json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}})
            )
            .is_empty()
        );
        assert!(of("Pod", &json!({"spec": {"clusterIP": "10.96.0.9"}})).is_empty());
    }
}
