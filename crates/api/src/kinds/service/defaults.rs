//! What is filled into services, and what an update keeps of what was allocated.

use super::{has_cluster_ip, has_node_ports, is_external};
use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// How long a client stays with its pod: three hours.
const AFFINITY_SECONDS: i32 = 10_800;

fn set(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or("").is_empty() {
        *field = Some(value.to_owned());
    }
}

pub(super) fn service(spec: &mut ServiceSpec) {
    set(&mut spec.type_, "ClusterIP");
    set(&mut spec.session_affinity, "None");
    match spec.session_affinity.as_deref() {
        Some("None") => spec.session_affinity_config = None,
        Some("ClientIP") => {
            let config = spec.session_affinity_config.get_or_insert_default();
            config
                .client_ip
                .get_or_insert_default()
                .timeout_seconds
                .get_or_insert(AFFINITY_SECONDS);
        }
        _ => {}
    }
    for port in spec.ports.iter_mut().flatten() {
        set(&mut port.protocol, "TCP");
        let unset = match &port.target_port {
            None | Some(IntOrString::Int(0)) => true,
            Some(IntOrString::String(name)) => name.is_empty(),
            Some(IntOrString::Int(_)) => false,
        };
        if unset {
            port.target_port = Some(IntOrString::Int(port.port));
        }
    }
    if is_external(spec) {
        set(&mut spec.external_traffic_policy, "Cluster");
    }
    if has_cluster_ip(spec) {
        set(&mut spec.internal_traffic_policy, "Cluster");
        set(&mut spec.ip_family_policy, "SingleStack");
        if spec.ip_families.as_ref().is_none_or(Vec::is_empty) {
            spec.ip_families = Some(vec!["IPv4".to_owned()]);
        }
    }
    if spec.type_.as_deref() == Some("LoadBalancer") {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
}

/// `clusterIP` and `clusterIPs` say the same twice: whichever was written leads the other.
pub(super) fn cluster_ips(spec: &mut ServiceSpec, old: Option<&ServiceSpec>) {
    let one = spec.cluster_ip.clone().unwrap_or_default();
    let all = spec.cluster_ips.clone().unwrap_or_default();
    let Some(old) = old else {
        if !one.is_empty() && all.is_empty() {
            spec.cluster_ips = Some(vec![one]);
        } else if one.is_empty() && !all.is_empty() {
            spec.cluster_ip = all.into_iter().next();
        }
        return;
    };
    let old_one = old.cluster_ip.clone().unwrap_or_default();
    let old_all = old.cluster_ips.clone().unwrap_or_default();
    if one != old_one && all == old_all {
        if one.is_empty() {
            spec.cluster_ips = None;
        } else {
            let rest = all.into_iter().skip(1);
            spec.cluster_ips = Some(std::iter::once(one).chain(rest).collect());
        }
    } else if one == old_one && all != old_all && !all.is_empty() {
        spec.cluster_ip = all.into_iter().next();
    } else if !one.is_empty() && all.is_empty() {
        spec.cluster_ips = Some(vec![one]);
    }
}

/// Keeps what was allocated and not named again, and drops what the type has no use for.
pub(super) fn keep_allocated(spec: &mut ServiceSpec, old: &ServiceSpec) {
    if has_cluster_ip(spec) && has_cluster_ip(old) {
        if spec.cluster_ip.as_deref().unwrap_or("").is_empty() {
            spec.cluster_ip.clone_from(&old.cluster_ip);
            spec.cluster_ips.clone_from(&old.cluster_ips);
        }
    } else if !has_cluster_ip(spec) && spec.cluster_ip == old.cluster_ip {
        spec.cluster_ip = None;
        spec.cluster_ips = None;
        if spec.ip_families == old.ip_families {
            spec.ip_families = None;
            spec.ip_family_policy = None;
        }
        if spec.internal_traffic_policy == old.internal_traffic_policy {
            spec.internal_traffic_policy = None;
        }
    }
    let old_ports = old.ports.as_deref().unwrap_or_default();
    if has_node_ports(spec) && has_node_ports(old) {
        keep_node_ports(spec, old_ports);
    } else if !has_node_ports(spec) && has_node_ports(old) {
        drop_node_ports(spec, old_ports);
    }
    if !is_external(spec) && spec.external_traffic_policy == old.external_traffic_policy {
        spec.external_traffic_policy = None;
    }
}

fn same(a: &ServicePort, b: &ServicePort) -> bool {
    a.port == b.port && a.protocol == b.protocol
}

fn keep_node_ports(spec: &mut ServiceSpec, old: &[ServicePort]) {
    let ports = spec.ports.as_deref_mut().unwrap_or_default();
    let mut used: Vec<i32> = ports.iter().filter_map(|port| port.node_port).collect();
    for port in ports
        .iter_mut()
        .filter(|port| port.node_port.unwrap_or(0) == 0)
    {
        let kept = old
            .iter()
            .find(|old| same(port, old))
            .and_then(|old| old.node_port);
        if let Some(kept) = kept.filter(|kept| !used.contains(kept)) {
            used.push(kept);
            port.node_port = Some(kept);
        }
    }
}

fn drop_node_ports(spec: &mut ServiceSpec, old: &[ServicePort]) {
    for port in spec.ports.iter_mut().flatten() {
        if old.iter().any(|old| old.node_port == port.node_port) {
            port.node_port = None;
        }
    }
}
