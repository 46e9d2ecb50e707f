//! The data plane's rule for a service. Pure.

use k8s_openapi::api::core::v1::{Service, ServicePort as ApiPort};
use k8s_openapi::api::discovery::v1::{Endpoint as ApiEndpoint, EndpointSlice};
use pontoon_api::name::NodeName;
use pontoon_network::dataplane::{
    Endpoint, InternalTraffic, Protocol, ServiceKey, ServicePort, ServiceRule,
};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Kubernetes' default of `sessionAffinityConfig.clientIP.timeoutSeconds`: three hours.
const AFFINITY_DEFAULT_SECONDS: u64 = 10_800;

/// `None` for a service without an address of its own: headless and ExternalName ones are the name server's affair.
pub(super) fn of(
    node: &NodeName,
    key: &ServiceKey,
    service: &Service,
    slices: &[EndpointSlice],
) -> Option<ServiceRule> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let own = spec.cluster_ips.clone().unwrap_or_default();
    let own = if own.is_empty() {
        spec.cluster_ip.clone().into_iter().collect()
    } else {
        own
    };
    let cluster_ips: Vec<IpAddr> = own.iter().filter_map(|ip| ip.parse().ok()).collect();
    if cluster_ips.is_empty() {
        return None;
    }
    let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let seconds = spec
            .session_affinity_config
            .as_ref()
            .and_then(|config| config.client_ip.as_ref()?.timeout_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .unwrap_or(AFFINITY_DEFAULT_SECONDS);
        Duration::from_secs(seconds)
    });
    let internal_traffic = match spec.internal_traffic_policy.as_deref() {
        Some("Local") => InternalTraffic::Local,
        _ => InternalTraffic::Cluster,
    };
    let ports = spec.ports.iter().flatten();
    Some(ServiceRule {
        key: key.clone(),
        cluster_ips,
        ports: ports.filter_map(|p| port(node, p, slices)).collect(),
        affinity,
        internal_traffic,
    })
}

fn protocol(word: Option<&str>) -> Option<Protocol> {
    match word {
        None | Some("TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        // SCTP is refused at admission; a rule for it cannot be made.
        Some(_) => None,
    }
}

fn port(node: &NodeName, port: &ApiPort, slices: &[EndpointSlice]) -> Option<ServicePort> {
    let wanted = protocol(port.protocol.as_deref())?;
    let name = port.name.clone().unwrap_or_default();
    let mut endpoints = Vec::new();
    for slice in slices {
        let target = slice.ports.iter().flatten().find(|p| {
            p.name.as_deref().unwrap_or_default() == name
                && protocol(p.protocol.as_deref()) == Some(wanted)
        });
        let Some(target) = target.and_then(|p| u16::try_from(p.port?).ok()) else {
            continue;
        };
        let ready = slice.endpoints.iter().flatten().filter(|e| is_ready(e));
        endpoints.extend(ready.filter_map(|e| {
            let ip: IpAddr = e.addresses.first()?.parse().ok()?;
            Some(Endpoint {
                address: SocketAddr::new(ip, target),
                local: e.node_name.as_deref() == Some(node.as_str()),
            })
        }));
    }
    endpoints.sort_unstable();
    endpoints.dedup();
    Some(ServicePort {
        name,
        protocol: wanted,
        port: u16::try_from(port.port).ok()?,
        node_port: port
            .node_port
            .and_then(|p| u16::try_from(p).ok())
            .filter(|p| *p > 0),
        endpoints,
    })
}

fn is_ready(endpoint: &ApiEndpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions.and_then(|c| c.ready).unwrap_or(true)
}
