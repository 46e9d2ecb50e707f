//! The node's copy of services: what the data plane and the name server are told of them.
//!
//! A service's rules are made of the Service, its EndpointSlices, and what this node itself knows of its own pods: a local
//! pod that turns unready, or begins to end, leaves its services at once, long before the cluster has agreed on it.

use crate::ledger::{Ledger, ServiceEntry};
use crate::limits::{RULES_RETRY_FIRST, RULES_RETRY_MAX, SERVICES_PER_CHANGE_COUNT};
use crate::metrics;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;
use pontoon_api::name::NodeName;
use pontoon_network::dataplane::{
    Dataplane, DataplaneError, ServiceDelta, ServiceKey, ServiceRule,
};
use pontoon_network::limits::TEND_PERIOD;
use pontoon_world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use tokio::sync::Notify;

mod rule;

/// Where names are answered from: told of every service in full, and with the endpoints as this node knows them.
pub trait Names: Send + Sync + fmt::Debug + 'static {
    /// A service exists, or is another than before.
    fn upsert(&self, service: &Service, slices: &[EndpointSlice]);
    /// A service is gone.
    fn remove(&self, namespace: &str, name: &str);
}

/// Names that nobody asks for: a node without a name server.
#[derive(Clone, Copy, Debug)]
pub struct NoNames;

impl Names for NoNames {
    fn upsert(&self, _: &Service, _: &[EndpointSlice]) {}
    fn remove(&self, _: &str, _: &str) {}
}

#[derive(Debug)]
struct Known {
    service: Service,
    slices: Vec<EndpointSlice>,
}

#[derive(Debug, Default)]
struct State {
    services: BTreeMap<ServiceKey, Known>,
    /// Which services each pod is behind.
    by_pod: BTreeMap<String, BTreeSet<ServiceKey>>,
    /// Whether each pod of this node is ready. A removed pod stays here, as unready, while a service names it.
    local: BTreeMap<String, bool>,
    removed: BTreeSet<String>,
    dirty: BTreeSet<ServiceKey>,
    /// What the session has not named yet since it began; at its end these are gone.
    unseen: Option<BTreeSet<ServiceKey>>,
    /// All rules are to be replaced, not only those of the dirty services.
    replace: bool,
}

/// The node's services.
pub struct Services {
    node: NodeName,
    names: Arc<dyn Names>,
    state: Mutex<State>,
    work: Notify,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.state.lock().services.len();
        f.debug_struct("Services").field("count", &count).finish()
    }
}

fn pods_of(slices: &[EndpointSlice]) -> impl Iterator<Item = &str> {
    slices
        .iter()
        .flat_map(|slice| slice.endpoints.iter().flatten())
        .filter_map(|endpoint| endpoint.target_ref.as_ref()?.uid.as_deref())
}

impl Services {
    /// None yet.
    #[must_use]
    pub fn new(node: NodeName, names: Arc<dyn Names>) -> Self {
        Self {
            node,
            names,
            state: Mutex::default(),
            work: Notify::new(),
        }
    }

    /// Begins with what the ledger holds: rules and names are the same before the first server is reached.
    pub(crate) fn restore(&self, entries: &[ServiceEntry]) {
        for entry in entries {
            let service = serde_json::from_str(entry.service.get());
            let slices = entry.slices.iter().map(|s| serde_json::from_str(s.get()));
            let slices: Result<Vec<EndpointSlice>, _> = slices.collect();
            if let (Ok(service), Ok(slices)) = (service, slices) {
                self.upsert(service, slices);
            }
        }
        if !entries.is_empty() {
            self.state.lock().replace = true;
            self.work.notify_one();
        }
    }

    /// A session began: it will name every service that exists.
    pub(crate) fn begin_session(&self) {
        let mut state = self.state.lock();
        state.unseen = Some(state.services.keys().cloned().collect());
    }

    /// The session named every service: the others are gone, and so are rules of services that nobody knows.
    pub(crate) fn synced(&self, ledger: &Ledger) {
        let gone = self.state.lock().unseen.take().unwrap_or_default();
        for key in gone {
            self.remove(&key.namespace, &key.name);
            ledger.remove_service(&key.namespace, &key.name);
        }
        self.state.lock().replace = true;
        self.work.notify_one();
    }

    /// A service exists, or is another than before.
    pub(crate) fn upsert(&self, service: Service, slices: Vec<EndpointSlice>) {
        let key = ServiceKey {
            namespace: service.metadata.namespace.clone().unwrap_or_default(),
            name: service.metadata.name.clone().unwrap_or_default(),
        };
        let mut state = self.state.lock();
        if let Some(unseen) = &mut state.unseen {
            unseen.remove(&key);
        }
        state.unlink(&key);
        for uid in pods_of(&slices) {
            let services = state.by_pod.entry(uid.to_owned()).or_default();
            services.insert(key.clone());
        }
        let known = Known { service, slices };
        let adjusted = state.adjusted(&known);
        self.names.upsert(&known.service, &adjusted);
        state.services.insert(key.clone(), known);
        state.forget_removed();
        state.dirty.insert(key);
        drop(state);
        self.work.notify_one();
    }

    /// A service is gone.
    pub(crate) fn remove(&self, namespace: &str, name: &str) {
        let key = ServiceKey {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let mut state = self.state.lock();
        if let Some(unseen) = &mut state.unseen {
            unseen.remove(&key);
        }
        state.unlink(&key);
        state.services.remove(&key);
        state.forget_removed();
        state.dirty.insert(key);
        drop(state);
        self.names.remove(namespace, name);
        self.work.notify_one();
    }

    /// A pod of this node is ready, or not. Takes effect at once in every service the pod is behind.
    pub(crate) fn set_ready(&self, uid: &str, ready: bool) {
        let mut state = self.state.lock();
        if state.local.insert(uid.to_owned(), ready) == Some(ready) {
            return;
        }
        state.removed.remove(uid);
        self.touch(&mut state, uid);
        drop(state);
        self.work.notify_one();
    }

    /// A pod of this node is gone.
    pub(crate) fn pod_removed(&self, uid: &str) {
        let mut state = self.state.lock();
        let was = state.local.insert(uid.to_owned(), false);
        state.removed.insert(uid.to_owned());
        if was != Some(false) {
            self.touch(&mut state, uid);
        }
        state.forget_removed();
        drop(state);
        self.work.notify_one();
    }

    fn touch(&self, state: &mut State, uid: &str) {
        let services = state.by_pod.get(uid).cloned().unwrap_or_default();
        for key in &services {
            if let Some(known) = state.services.get(key) {
                let adjusted = state.adjusted(known);
                self.names.upsert(&known.service, &adjusted);
            }
        }
        state.dirty.extend(services);
    }

    /// Every service, for the environment of containers that start.
    pub(crate) fn all(&self) -> Vec<Service> {
        let state = self.state.lock();
        state.services.values().map(|k| k.service.clone()).collect()
    }

    /// Tells the data plane of every change; run it as a task for as long as the agent lives. Changes that arrive while
    /// one is under way go out together as the next.
    pub(crate) async fn run(self: Arc<Self>, dataplane: Arc<dyn Dataplane>, world: World) {
        let mut retry = RULES_RETRY_FIRST;
        loop {
            let Some((all, keys)) = self.take() else {
                tokio::select! {
                    () = self.work.notified() => {}
                    () = tokio::time::sleep(TEND_PERIOD) => dataplane.tend().await,
                }
                continue;
            };
            let began = world.clock().monotonic();
            match self.apply(&*dataplane, all, &keys).await {
                Ok(()) => {
                    metrics::rules_changed(world.clock().monotonic().saturating_sub(began));
                    retry = RULES_RETRY_FIRST;
                }
                Err(error) => {
                    tracing::warn!(%error, services = keys.len(), "service rules could not be changed; trying again");
                    self.put_back(all, keys);
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RULES_RETRY_MAX);
                }
            }
        }
    }

    fn put_back(&self, all: bool, keys: BTreeSet<ServiceKey>) {
        let mut state = self.state.lock();
        state.replace |= all;
        state.dirty.extend(keys);
    }

    fn take(&self) -> Option<(bool, BTreeSet<ServiceKey>)> {
        let mut state = self.state.lock();
        if state.replace {
            state.replace = false;
            return Some((true, std::mem::take(&mut state.dirty)));
        }
        if state.dirty.is_empty() {
            return None;
        }
        let mut keys = std::mem::take(&mut state.dirty);
        if keys.len() > SERVICES_PER_CHANGE_COUNT
            && let Some(rest) = keys.iter().nth(SERVICES_PER_CHANGE_COUNT).cloned()
        {
            state.dirty = keys.split_off(&rest);
        }
        Some((false, keys))
    }

    async fn apply(
        &self,
        dataplane: &dyn Dataplane,
        all: bool,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<(), DataplaneError> {
        if all {
            dataplane.replace_services(self.rules()).await
        } else {
            dataplane.apply_services(self.delta(keys)).await
        }
    }

    fn rules(&self) -> Vec<ServiceRule> {
        let state = self.state.lock();
        let known = state.services.iter();
        known
            .filter_map(|(key, known)| state.rule(&self.node, key, known))
            .collect()
    }

    fn delta(&self, keys: &BTreeSet<ServiceKey>) -> ServiceDelta {
        let state = self.state.lock();
        let mut delta = ServiceDelta::default();
        for key in keys {
            let known = state.services.get(key);
            match known.and_then(|known| state.rule(&self.node, key, known)) {
                Some(rule) => delta.upsert.push(rule),
                None => delta.remove.push(key.clone()),
            }
        }
        delta
    }
}

impl State {
    fn unlink(&mut self, key: &ServiceKey) {
        let Some(known) = self.services.get(key) else {
            return;
        };
        let pods: Vec<String> = pods_of(&known.slices).map(str::to_owned).collect();
        for uid in pods {
            if let Some(services) = self.by_pod.get_mut(&uid) {
                services.remove(key);
                if services.is_empty() {
                    self.by_pod.remove(&uid);
                }
            }
        }
    }

    /// Removed pods are remembered only while a service names them.
    fn forget_removed(&mut self) {
        let by_pod = &self.by_pod;
        let gone: Vec<String> = self
            .removed
            .iter()
            .filter(|uid| !by_pod.contains_key(*uid))
            .cloned()
            .collect();
        for uid in gone {
            self.removed.remove(&uid);
            self.local.remove(&uid);
        }
    }

    /// The slices with what this node knows of its own pods.
    fn adjusted(&self, known: &Known) -> Vec<EndpointSlice> {
        let spec = known.service.spec.as_ref();
        let unready_too = spec.and_then(|s| s.publish_not_ready_addresses) == Some(true);
        let mut slices = known.slices.clone();
        if unready_too {
            return slices;
        }
        for endpoint in slices
            .iter_mut()
            .flat_map(|s| s.endpoints.iter_mut().flatten())
        {
            let uid = endpoint.target_ref.as_ref().and_then(|t| t.uid.as_deref());
            if let Some(ready) = uid.and_then(|uid| self.local.get(uid)) {
                let conditions = endpoint.conditions.get_or_insert_default();
                conditions.ready = Some(*ready);
                if !ready {
                    conditions.serving = Some(false);
                }
            }
        }
        slices
    }

    fn rule(&self, node: &NodeName, key: &ServiceKey, known: &Known) -> Option<ServiceRule> {
        rule::of(node, key, &known.service, &self.adjusted(known))
    }
}

#[cfg(test)]
mod tests;
