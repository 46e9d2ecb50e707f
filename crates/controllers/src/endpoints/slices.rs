//! EndpointSlices: a service's members in slices of at most a hundred.

use super::members::{Member, MemberPort, members};
use super::{selector, wake_services};
use crate::controller::{Context, Controller, Intent, Plan, PlanError};
use crate::ownership::OwnerOf;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use pontoon_api::Part;
use pontoon_api::deletion::Options;
use pontoon_state::{Change, Key, Object, View};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const RESOURCE: &str = "endpointslices.discovery.k8s.io";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";

/// Endpoints in one slice: the default of kube-controller-manager's `--max-endpoints-per-slice`.
const PER_SLICE: usize = 100;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct EndpointSliceController;

impl Controller for EndpointSliceController {
    fn name(&self) -> &'static str {
        "endpoint-slice-controller"
    }

    fn wakes(&self, change: &Change, view: &View, wake: &mut dyn FnMut(Key)) {
        let object = change.object();
        if &*object.key.resource == RESOURCE {
            if let Some(service) = object.meta.labels.get(SERVICE_NAME) {
                wake(Key::new(super::SERVICES, &object.key.namespace, service));
            }
        } else {
            wake_services(change, view, wake);
        }
    }

    fn keys(&self, view: &View) -> Vec<Key> {
        view.list(super::SERVICES, None)
            .map(|object| object.key.clone())
            .collect()
    }

    fn plan(&self, view: &View, key: &Key, _context: &Context<'_>) -> Result<Plan, PlanError> {
        // Slices of a service that is gone are collected by their owner reference.
        let Some(object) = view.get(key).filter(|object| !object.meta.deleting) else {
            return Ok(Plan::default());
        };
        let service: Service = object.decode()?;
        let Some(selector) = selector(&service) else {
            return Ok(Plan::default());
        };
        let members = members(view, &service, &selector)?;
        let mut existing = Vec::new();
        for slice in view.labelled(RESOURCE, Some(&key.namespace), SERVICE_NAME, &key.name) {
            if slice
                .meta
                .labels
                .get(MANAGED_BY)
                .is_some_and(|manager| &**manager == MANAGER)
                && !slice.meta.deleting
            {
                existing.push((slice.clone(), slice.decode::<EndpointSlice>()?));
            }
        }
        let mut plan = Plan::default();
        let owner = OwnerOf {
            object,
            api_version: "v1",
            kind: "Service",
        };
        arrange(&mut plan, &owner, &service, members, existing)?;
        Ok(plan)
    }
}

type Existing = (Arc<Object>, EndpointSlice);

/// Brings the slices in line, moving as few endpoints as possible: one that is listed stays in its slice.
fn arrange(
    plan: &mut Plan,
    owner: &OwnerOf<'_>,
    service: &Service,
    members: Vec<Member>,
    existing: Vec<Existing>,
) -> Result<(), PlanError> {
    let mut by_ports: BTreeMap<Vec<MemberPort>, Vec<Member>> = BTreeMap::new();
    for member in members {
        by_ports
            .entry(member.ports.clone())
            .or_default()
            .push(member);
    }
    if by_ports.is_empty() {
        // A service without pods has one empty slice, so that watchers know it has none.
        by_ports.insert(Vec::new(), Vec::new());
    }
    let mut slices: BTreeMap<Vec<MemberPort>, Vec<Existing>> = BTreeMap::new();
    for slice in existing {
        slices.entry(ports_of(&slice.1)).or_default().push(slice);
    }
    for (ports, members) in by_ports {
        let kept = slices.remove(&ports).unwrap_or_default();
        arrange_group(plan, owner, service, &ports, members, kept)?;
    }
    for (object, _) in slices.into_values().flatten() {
        plan.writes.push(Intent::Delete {
            base: object,
            options: Options::default(),
        });
    }
    Ok(())
}

fn ports_of(slice: &EndpointSlice) -> Vec<MemberPort> {
    let port = |port: &k8s_openapi::api::discovery::v1::EndpointPort| MemberPort {
        name: port.name.clone().unwrap_or_default(),
        number: port.port.unwrap_or(0),
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
        app_protocol: port.app_protocol.clone(),
    };
    slice.ports.iter().flatten().map(port).collect()
}

fn arrange_group(
    plan: &mut Plan,
    owner: &OwnerOf<'_>,
    service: &Service,
    ports: &[MemberPort],
    members: Vec<Member>,
    kept: Vec<Existing>,
) -> Result<(), PlanError> {
    let mut left: BTreeMap<String, Member> = members
        .into_iter()
        .map(|member| (member.uid.clone(), member))
        .collect();
    let mut filled: Vec<(Existing, Vec<Member>)> = Vec::new();
    for slice in kept {
        let uids = slice
            .1
            .endpoints
            .iter()
            .flatten()
            .filter_map(|endpoint| endpoint.target_ref.as_ref()?.uid.clone());
        let stay = uids.filter_map(|uid| left.remove(&uid)).collect();
        filled.push((slice, stay));
    }
    let mut left = left.into_values();
    for (_, stay) in &mut filled {
        let room = PER_SLICE.saturating_sub(stay.len());
        stay.extend(left.by_ref().take(room));
    }
    let rest: Vec<Member> = left.collect();
    for chunk in rest.chunks(PER_SLICE) {
        plan.writes
            .push(Intent::Create(body(owner, service, ports, chunk)?));
    }
    let mut in_use = rest.len();
    let count = filled.len();
    for (at, ((object, _), stay)) in filled.into_iter().enumerate() {
        in_use += stay.len();
        let last_resort = at + 1 == count && in_use == 0;
        if stay.is_empty() && !last_resort {
            plan.writes.push(Intent::Delete {
                base: object,
                options: Options::default(),
            });
            continue;
        }
        change(plan, owner, service, ports, &stay, &object)?;
    }
    if count == 0 && rest.is_empty() {
        plan.writes
            .push(Intent::Create(body(owner, service, ports, &[])?));
    }
    Ok(())
}

fn change(
    plan: &mut Plan,
    owner: &OwnerOf<'_>,
    service: &Service,
    ports: &[MemberPort],
    members: &[Member],
    object: &Arc<Object>,
) -> Result<(), PlanError> {
    let before = object.value()?;
    let mut after = before.clone();
    let wanted = body(owner, service, ports, members)?;
    after["endpoints"] = wanted["endpoints"].clone();
    after["metadata"]["labels"] = wanted["metadata"]["labels"].clone();
    if after != before {
        plan.writes.push(Intent::Update {
            base: object.clone(),
            object: after,
            part: Part::Main,
        });
    }
    Ok(())
}

fn body(
    owner: &OwnerOf<'_>,
    service: &Service,
    ports: &[MemberPort],
    members: &[Member],
) -> Result<Value, PlanError> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), owner.object.key.name.to_string());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let spec = service.spec.clone().unwrap_or_default();
    if spec.cluster_ip.as_deref() == Some("None") {
        labels.insert("service.kubernetes.io/headless".into(), String::new());
    }
    Ok(json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": format!("{}-", owner.object.key.name),
            "namespace": &*owner.object.key.namespace,
            "labels": labels,
            "ownerReferences": [serde_json::to_value(owner.reference())?],
        },
        "addressType": "IPv4",
        "ports": ports.iter().map(port).collect::<Vec<_>>(),
        "endpoints": members.iter().map(|member| endpoint(member, &owner.object.key.namespace)).collect::<Vec<_>>(),
    }))
}

fn port(port: &MemberPort) -> Value {
    let mut value = json!({"name": port.name, "port": port.number, "protocol": port.protocol});
    if let Some(protocol) = &port.app_protocol {
        value["appProtocol"] = protocol.as_str().into();
    }
    value
}

fn endpoint(member: &Member, namespace: &str) -> Value {
    let mut value = json!({
        "addresses": [member.address],
        "conditions": {"ready": member.ready, "serving": member.serving, "terminating": member.terminating},
        "targetRef": {"kind": "Pod", "namespace": namespace, "name": member.pod, "uid": member.uid},
    });
    if let Some(node) = &member.node {
        value["nodeName"] = node.as_str().into();
    }
    if let Some(hostname) = &member.hostname {
        value["hostname"] = hostname.as_str().into();
    }
    value
}
