//! What `kubectl get services` shows.

use k8s_openapi::api::core::v1::{ServiceSpec, ServiceStatus};

fn or(text: String, otherwise: &str) -> String {
    if text.is_empty() {
        otherwise.to_owned()
    } else {
        text
    }
}

pub(super) fn cluster_ip(spec: &ServiceSpec) -> String {
    let first = spec
        .cluster_ips
        .iter()
        .flatten()
        .next()
        .or(spec.cluster_ip.as_ref());
    or(first.cloned().unwrap_or_default(), "<none>")
}

/// Where it is reached from outside.
pub(super) fn external_ip(spec: &ServiceSpec, status: Option<&ServiceStatus>) -> String {
    let external = spec.external_ips.as_deref().unwrap_or_default().join(",");
    match spec.type_.as_deref() {
        Some("ClusterIP" | "NodePort") => or(external, "<none>"),
        Some("LoadBalancer") => {
            let balancer = status.and_then(|status| status.load_balancer.as_ref());
            let ingress = balancer
                .and_then(|balancer| balancer.ingress.as_deref())
                .unwrap_or_default();
            let mut all: Vec<String> = ingress
                .iter()
                .filter_map(|point| point.ip.clone().or_else(|| point.hostname.clone()))
                .collect();
            all.sort();
            all.extend(spec.external_ips.iter().flatten().cloned());
            or(all.join(","), "<pending>")
        }
        Some("ExternalName") => spec.external_name.clone().unwrap_or_default(),
        _ => "<unknown>".to_owned(),
    }
}

/// `80/TCP,443:30443/TCP`
pub(super) fn ports(spec: &ServiceSpec) -> String {
    let ports = spec.ports.iter().flatten().map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or("");
        match port.node_port.unwrap_or(0) {
            0 => format!("{}/{protocol}", port.port),
            node_port => format!("{}:{node_port}/{protocol}", port.port),
        }
    });
    or(ports.collect::<Vec<_>>().join(","), "<none>")
}

pub(super) fn selector(spec: &ServiceSpec) -> String {
    let labels = spec
        .selector
        .iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value}"));
    or(labels.collect::<Vec<_>>().join(","), "<none>")
}
