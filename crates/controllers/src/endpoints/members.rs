//! The pods behind a service, and the ports they answer on.

use crate::controller::PlanError;
use crate::{ownership, pod};
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use pontoon_api::selector::LabelSelector;
use pontoon_state::View;

/// One port of the pods, as endpoints list it. Ordered, so that equal sets of ports are equal lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MemberPort {
    pub(super) name: String,
    pub(super) number: i32,
    pub(super) protocol: String,
    pub(super) app_protocol: Option<String>,
}

/// One pod behind a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) address: String,
    pub(super) ready: bool,
    pub(super) serving: bool,
    pub(super) terminating: bool,
    pub(super) hostname: Option<String>,
    pub(super) node: Option<String>,
    pub(super) pod: String,
    pub(super) uid: String,
    /// Which ports it answers on: a named target port may differ between pods.
    pub(super) ports: Vec<MemberPort>,
}

/// Every pod that a service selects and that has an address, by name.
pub(super) fn members(
    view: &View,
    service: &Service,
    selector: &LabelSelector,
) -> Result<Vec<Member>, PlanError> {
    let namespace = service.metadata.namespace.clone().unwrap_or_default();
    let mut members = Vec::new();
    for object in ownership::selected(view, selector, "pods", &namespace) {
        let pod: Pod = object.decode()?;
        if let Some(member) = member(service, &pod) {
            members.push(member);
        }
    }
    members.sort_by(|a, b| a.pod.cmp(&b.pod));
    Ok(members)
}

fn member(service: &Service, pod: &Pod) -> Option<Member> {
    let address = pod
        .status
        .as_ref()?
        .pod_ip
        .clone()
        .filter(|address| !address.is_empty())?;
    if pod::is_terminal(pod) {
        return None;
    }
    let spec = service.spec.as_ref()?;
    let serving = pod::is_ready(pod);
    let terminating = pod::is_deleting(pod);
    let publish = spec.publish_not_ready_addresses.unwrap_or(false);
    let pod_spec = pod.spec.as_ref()?;
    let hostname = pod_spec
        .hostname
        .clone()
        .filter(|_| pod_spec.subdomain == service.metadata.name);
    Some(Member {
        address,
        ready: publish || (serving && !terminating),
        serving,
        terminating,
        hostname: hostname.filter(|hostname| !hostname.is_empty()),
        node: pod::node(pod).map(str::to_owned),
        pod: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        ports: spec
            .ports
            .iter()
            .flatten()
            .filter_map(|port| resolve(port, pod))
            .collect(),
    })
}

fn resolve(port: &ServicePort, pod: &Pod) -> Option<MemberPort> {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => named(pod, name, &protocol)?,
    };
    Some(MemberPort {
        name: port.name.clone().unwrap_or_default(),
        number,
        protocol,
        app_protocol: port.app_protocol.clone(),
    })
}

/// The number of a container port by its name, also of sidecars (restartable init containers).
fn named(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let found = spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| {
            port.name.as_deref() == Some(name)
                && port.protocol.as_deref().unwrap_or("TCP") == protocol
        });
    found.map(|port| port.container_port)
}
