//! What a pod asks of a node, by Kubernetes' rule.
//!
//! Source: `k8s.io/component-helpers/resource` (`PodRequests`) and kube-scheduler's
//! `NonMissingContainerRequests` for what scoring assumes of containers that ask for nothing.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use pontoon_api::quantity::Quantity as Exact;
use std::collections::BTreeMap;

/// What scoring assumes of a container without a cpu request, in thousandths of a cpu.
const ASSUMED_CPU_MILLIS: i64 = 100;
/// What scoring assumes of a container without a memory request, in bytes.
const ASSUMED_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// The name of the resource that counts pods.
pub const PODS: &str = "pods";

/// Amounts by resource: cpu in thousandths, everything else in its own unit. No zeros.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Amounts(pub BTreeMap<String, i64>);

impl Amounts {
    /// Reads a resource list as it stands in an object.
    #[must_use]
    pub fn read(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in list.into_iter().flatten() {
            amounts.add(name, amount(name, quantity));
        }
        amounts
    }

    /// The amount of `name`, zero if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    fn add(&mut self, name: &str, amount: i64) {
        if amount > 0 {
            let sum = self.get(name).saturating_add(amount);
            self.set(name, sum);
        }
    }

    fn set(&mut self, name: &str, amount: i64) {
        if let Some(held) = self.0.get_mut(name) {
            *held = amount;
        } else {
            self.0.insert(name.to_owned(), amount);
        }
    }

    fn add_all(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            self.add(name, *amount);
        }
    }

    fn raise_to(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            if self.get(name) < *amount {
                self.set(name, *amount);
            }
        }
    }
}

/// What a pod takes from a node, and what scoring takes it for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Requests {
    /// What the node must have free, `pods` included.
    pub amounts: Amounts,
    /// Cpu in thousandths, with an assumed amount for containers that ask for none.
    pub scored_cpu: i64,
    /// Memory in bytes, likewise.
    pub scored_memory: i64,
}

impl Requests {
    /// Of a pod, with `overhead` for a pod whose runtime class's overhead admission did not write down.
    #[must_use]
    pub fn of(pod: &Pod, overhead: Option<&Amounts>) -> Self {
        let Some(spec) = &pod.spec else {
            return Self::default();
        };
        let own = spec.overhead.as_ref().map(|list| Amounts::read(Some(list)));
        let overhead = own.as_ref().or(overhead);
        let mut amounts = effective(spec, overhead, &|resources| {
            Amounts::read(resources.and_then(|resources| resources.requests.as_ref()))
        });
        let scored = effective(spec, overhead, &assumed);
        amounts.set(PODS, 1);
        Self {
            amounts,
            scored_cpu: scored.get("cpu"),
            scored_memory: scored.get("memory"),
        }
    }
}

impl Requests {
    /// Adds what a runtime class takes on top.
    pub(crate) fn add_overhead(&mut self, overhead: &Amounts) {
        self.amounts.add_all(overhead);
        self.scored_cpu = self.scored_cpu.saturating_add(overhead.get("cpu"));
        self.scored_memory = self.scored_memory.saturating_add(overhead.get("memory"));
    }
}

/// The largest of what runs at one time: all containers and sidecars, or one init container
/// beside the sidecars started before it; then the overhead.
fn effective(
    spec: &PodSpec,
    overhead: Option<&Amounts>,
    read: &dyn Fn(Option<&ResourceRequirements>) -> Amounts,
) -> Amounts {
    let mut running = Amounts::default();
    for container in &spec.containers {
        running.add_all(&read(container.resources.as_ref()));
    }
    let mut sidecars = Amounts::default();
    let mut starting = Amounts::default();
    for container in spec.init_containers.iter().flatten() {
        let own = read(container.resources.as_ref());
        if is_sidecar(container) {
            running.add_all(&own);
            sidecars.add_all(&own);
            starting.raise_to(&sidecars);
        } else {
            let mut beside = sidecars.clone();
            beside.add_all(&own);
            starting.raise_to(&beside);
        }
    }
    running.raise_to(&starting);
    // A request of the pod as a whole stands in place of its containers' (KEP-2837).
    let whole = Amounts::read(
        spec.resources
            .as_ref()
            .and_then(|resources| resources.requests.as_ref()),
    );
    for (name, amount) in &whole.0 {
        running.set(name, *amount);
    }
    if let Some(overhead) = overhead {
        running.add_all(overhead);
    }
    running
}

/// Whether an init container keeps running beside the others (KEP-753).
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn assumed(resources: Option<&ResourceRequirements>) -> Amounts {
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    let read = |name: &str, otherwise| {
        requests
            .and_then(|list| list.get(name))
            .map_or(otherwise, |quantity| amount(name, quantity))
    };
    let mut amounts = Amounts::default();
    amounts.add("cpu", read("cpu", ASSUMED_CPU_MILLIS));
    amounts.add("memory", read("memory", ASSUMED_MEMORY_BYTES));
    amounts
}

/// Rounded up. What cannot be read, or is below zero, counts as nothing: validation refuses it
/// before it is stored.
fn amount(name: &str, quantity: &Quantity) -> i64 {
    let exact: Exact = quantity.0.parse().unwrap_or(Exact::ZERO);
    let amount = if name == "cpu" {
        exact.millis()
    } else {
        exact.units()
    };
    amount.max(0)
}
