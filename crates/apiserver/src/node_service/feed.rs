//! What goes down a session: first where the servers are and everything that concerns the node, then each change of it.

use super::{down, references};
use bytes::Bytes;
use pontoon_state::records::{MEMBERS, Wish, members};
use pontoon_state::{Change, ChangeSet, Key, Object, View};
use pontoon_wire::node::v1 as wire;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wire::down::Message;

const SLICES: &str = "endpointslices.discovery.k8s.io";
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// What a session has told its agent, as far as the next message depends on it.
pub(super) struct NodeFeed {
    node: String,
    /// Which pods of the node refer to an object.
    referrers: BTreeMap<Key, BTreeSet<Key>>,
    /// What each assigned pod refers to.
    referred: BTreeMap<Key, BTreeSet<Key>>,
}

impl NodeFeed {
    pub(super) fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            referrers: BTreeMap::new(),
            referred: BTreeMap::new(),
        }
    }

    /// Everything that exists: pods of the node, every service, and the mark that this was all.
    pub(super) fn present(&mut self, view: &View) -> Vec<wire::Down> {
        let mut messages = Vec::from_iter(servers(view));
        for service in view.list("services", None) {
            messages.push(service_update(
                view,
                &service.key.namespace,
                &service.key.name,
            ));
        }
        let pods: Vec<Arc<Object>> = view.on_node(&self.node).cloned().collect();
        for pod in &pods {
            messages.extend(self.assign(view, pod, ""));
        }
        messages.push(down(Message::Synced(wire::Synced {})));
        messages
    }

    /// What a set of changes means to the node. `view` is at least as new as the set.
    pub(super) fn changes(&mut self, view: &View, set: &ChangeSet) -> Vec<wire::Down> {
        let mut messages = Vec::new();
        let mut again = BTreeSet::new();
        let mut services = BTreeSet::new();
        for change in &set.changes {
            let key = &change.object().key;
            match &*key.resource {
                "pods" => match self.pod_change(change) {
                    PodChange::Assign => {
                        again.insert(key.clone());
                    }
                    PodChange::Unassign => messages.extend(self.unassign(change)),
                    PodChange::Nothing => {}
                },
                MEMBERS => messages.extend(servers(view)),
                "services" => {
                    services.insert((key.namespace.clone(), key.name.clone()));
                }
                SLICES => {
                    let names = [&change.before, &change.after].into_iter().flatten();
                    let names = names.filter_map(|slice| slice.meta.labels.get(SERVICE_LABEL));
                    services.extend(names.map(|name| (key.namespace.clone(), name.clone())));
                }
                // Binding thousands of pods is thousands of changes to look at on every session: only what pods can refer
                // to is looked up.
                _ => again.extend(self.referrers.get(key).into_iter().flatten().cloned()),
            }
        }
        for (namespace, name) in services {
            messages.push(service_update(view, &namespace, &name));
        }
        for key in again {
            // One that is gone already comes as its own change.
            if let Some(pod) = view
                .get(&key)
                .filter(|pod| pod.meta.node.as_deref() == Some(self.node.as_str()))
            {
                messages.extend(self.assign(view, &pod.clone(), &set.trace));
            }
        }
        messages
    }

    fn pod_change(&self, change: &Change) -> PodChange {
        let here = |object: &Option<Arc<Object>>| {
            object
                .as_ref()
                .is_some_and(|object| object.meta.node.as_deref() == Some(self.node.as_str()))
        };
        match (here(&change.before), here(&change.after)) {
            (true, false) => PodChange::Unassign,
            (false, true) => PodChange::Assign,
            (true, true) if only_status(change) => PodChange::Nothing,
            (true, true) => PodChange::Assign,
            (false, false) => PodChange::Nothing,
        }
    }

    fn assign(&mut self, view: &View, pod: &Object, trace: &str) -> Option<wire::Down> {
        let value = pod.value().ok()?;
        let keys = references::of(&value);
        self.forget(&pod.key);
        for key in &keys {
            self.referrers
                .entry(key.clone())
                .or_default()
                .insert(pod.key.clone());
        }
        let objects: Vec<Bytes> = keys
            .iter()
            .filter_map(|key| view.get(key))
            .map(|object| object.json.clone())
            .collect();
        self.referred.insert(pod.key.clone(), keys);
        Some(down(Message::Assign(wire::Assign {
            pod: pod.json.clone(),
            references: objects,
            trace: trace.to_owned(),
        })))
    }

    fn unassign(&mut self, change: &Change) -> Option<wire::Down> {
        let pod = change.before.as_ref()?;
        self.forget(&pod.key);
        Some(down(Message::Unassign(wire::Unassign {
            namespace: pod.key.namespace.to_string(),
            name: pod.key.name.to_string(),
            uid: pod.meta.uid.to_string(),
        })))
    }

    fn forget(&mut self, pod: &Key) {
        for key in self.referred.remove(pod).unwrap_or_default() {
            if let Some(pods) = self.referrers.get_mut(&key) {
                pods.remove(pod);
                if pods.is_empty() {
                    self.referrers.remove(&key);
                }
            }
        }
    }
}

/// Where every server is reached; nothing in a cluster that keeps no members.
fn servers(view: &View) -> Option<wire::Down> {
    let present = members(view).into_iter().map(|(_, member)| member);
    let present = present.filter(|member| member.wish != Wish::Removed);
    let urls: Vec<String> = present
        .filter(|member| !member.api_address.is_empty())
        .map(|member| format!("https://{}", member.api_address))
        .collect();
    (!urls.is_empty()).then(|| down(Message::Servers(wire::Servers { urls })))
}

enum PodChange {
    Assign,
    Unassign,
    Nothing,
}

/// Whether nothing but status changed, which the agent itself said. A replaced pod (another uid) is never that.
fn only_status(change: &Change) -> bool {
    let (Some(before), Some(after)) = (&change.before, &change.after) else {
        return false;
    };
    if before.meta != after.meta {
        return false;
    }
    let plain = |object: &Object| {
        let mut value = object.value().ok()?;
        let members = value.as_object_mut()?;
        members.remove("status");
        members
            .get_mut("metadata")
            .and_then(Value::as_object_mut)?
            .remove("resourceVersion");
        Some(value)
    };
    match (plain(before), plain(after)) {
        (Some(before), Some(after)) => before == after,
        _ => false,
    }
}

fn service_update(view: &View, namespace: &str, name: &str) -> wire::Down {
    let service = view.get(&Key::new("services", namespace, name));
    let slices = view
        .labelled(SLICES, Some(namespace), SERVICE_LABEL, name)
        .map(|slice| slice.json.clone());
    down(Message::Service(wire::ServiceUpdate {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        deleted: service.is_none(),
        service: service
            .map(|service| service.json.clone())
            .unwrap_or_default(),
        slices: if service.is_some() {
            slices.collect()
        } else {
            Vec::new()
        },
    }))
}
