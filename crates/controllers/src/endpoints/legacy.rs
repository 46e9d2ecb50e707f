//! Endpoints, for clients that do not read slices.

use super::members::{Member, MemberPort, members};
use super::{selector, wake_services};
use crate::controller::{Context, Controller, Intent, Plan, PlanError};
use k8s_openapi::api::core::v1::Service;
use pontoon_api::Part;
use pontoon_api::deletion::Options;
use pontoon_state::{Change, Key, View};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const RESOURCE: &str = "endpoints";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// Addresses one Endpoints object lists: Kubernetes' limit since 1.22.
const CAPACITY: usize = 1_000;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct EndpointsController;

impl Controller for EndpointsController {
    fn name(&self) -> &'static str {
        "endpoint-controller"
    }

    fn wakes(&self, change: &Change, view: &View, wake: &mut dyn FnMut(Key)) {
        let key = &change.object().key;
        if &*key.resource == RESOURCE {
            wake(Key::new(super::SERVICES, &key.namespace, &key.name));
        } else {
            wake_services(change, view, wake);
        }
    }

    fn keys(&self, view: &View) -> Vec<Key> {
        let services = view
            .list(super::SERVICES, None)
            .map(|object| object.key.clone());
        // Endpoints whose service went while nobody looked.
        let left = view
            .labelled(RESOURCE, None, MANAGED_BY, MANAGER)
            .map(|object| Key::new(super::SERVICES, &object.key.namespace, &object.key.name));
        let mut keys: Vec<Key> = services.chain(left).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    fn plan(&self, view: &View, key: &Key, _context: &Context<'_>) -> Result<Plan, PlanError> {
        let mut plan = Plan::default();
        let existing = view.get(&Key::new(RESOURCE, &key.namespace, &key.name));
        let ours = existing.filter(|object| {
            object
                .meta
                .labels
                .get(MANAGED_BY)
                .is_some_and(|manager| &**manager == MANAGER)
        });
        let Some(object) = view.get(key) else {
            plan.writes.extend(ours.map(|object| Intent::Delete {
                base: object.clone(),
                options: Options::default(),
            }));
            return Ok(plan);
        };
        let service: Service = object.decode()?;
        let Some(selector) = selector(&service).filter(|_| !object.meta.deleting) else {
            return Ok(plan);
        };
        let members = members(view, &service, &selector)?;
        let wanted = body(&service, key, &members);
        match existing {
            None => plan.writes.push(Intent::Create(wanted)),
            Some(object) => {
                let before = object.value()?;
                let mut after = before.clone();
                after["metadata"]["labels"] = wanted["metadata"]["labels"].clone();
                set_or_remove(&mut after, "subsets", &wanted["subsets"]);
                set_or_remove(
                    &mut after["metadata"],
                    "annotations",
                    &wanted["metadata"]["annotations"],
                );
                if after != before {
                    plan.writes.push(Intent::Update {
                        base: object.clone(),
                        object: after,
                        part: Part::Main,
                    });
                }
            }
        }
        Ok(plan)
    }
}

fn set_or_remove(object: &mut Value, name: &str, value: &Value) {
    if let Some(object) = object.as_object_mut() {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.to_owned(), value.clone());
        }
    }
}

fn body(service: &Service, key: &Key, members: &[Member]) -> Value {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref())
        == Some("None")
    {
        labels.insert("service.kubernetes.io/headless".into(), String::new());
    }
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": &*key.name, "namespace": &*key.namespace, "labels": labels},
    });
    // Ready ones first, so that those are cut last.
    let mut listed: Vec<&Member> = members
        .iter()
        .filter(|member| !member.terminating || member.ready)
        .collect();
    listed.sort_by_key(|member| !member.ready);
    if listed.len() > CAPACITY {
        listed.truncate(CAPACITY);
        body["metadata"]["annotations"][OVER_CAPACITY] = "truncated".into();
    }
    let mut groups: BTreeMap<&[MemberPort], Vec<&Member>> = BTreeMap::new();
    for member in listed {
        groups.entry(&member.ports).or_default().push(member);
    }
    if !groups.is_empty() {
        body["subsets"] = groups
            .into_iter()
            .map(|(ports, members)| subset(ports, &members, &key.namespace))
            .collect();
    }
    body
}

fn subset(ports: &[MemberPort], members: &[&Member], namespace: &str) -> Value {
    let addresses = |ready: bool| -> Vec<Value> {
        let mut found: Vec<&&Member> = members
            .iter()
            .filter(|member| member.ready == ready)
            .collect();
        found.sort_by(|a, b| a.address.cmp(&b.address));
        found
            .into_iter()
            .map(|member| address(member, namespace))
            .collect()
    };
    let mut subset = json!({});
    for (name, ready) in [("addresses", true), ("notReadyAddresses", false)] {
        let found = addresses(ready);
        if !found.is_empty() {
            subset[name] = found.into();
        }
    }
    let port = |port: &MemberPort| {
        let mut value = json!({"port": port.number, "protocol": port.protocol});
        if !port.name.is_empty() {
            value["name"] = port.name.as_str().into();
        }
        if let Some(protocol) = &port.app_protocol {
            value["appProtocol"] = protocol.as_str().into();
        }
        value
    };
    if !ports.is_empty() {
        subset["ports"] = ports.iter().map(port).collect();
    }
    subset
}

fn address(member: &Member, namespace: &str) -> Value {
    let mut value = json!({
        "ip": member.address,
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
