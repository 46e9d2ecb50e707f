//! Everything about a pod that placement looks at.
//!
//! Pods made from one template have equal shapes, so that a shape is compiled and compared
//! once per template and counted, not copied, per pod.

use crate::requests::{Amounts, Requests, is_sidecar};
use crate::selector::{NodeTerm, Requirement, Selector};
use k8s_openapi::api::core::v1::{
    Affinity, Container, NodeAffinity, Pod, PodAffinityTerm, PodSpec, Taint as ApiTaint,
    Toleration as ApiToleration, TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use k8s_openapi::api::node::v1::RuntimeClass;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What a RuntimeClass asks of the nodes its pods run on.
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeRequirement {
    /// The handler a node must publish in `status.runtimeHandlers`.
    pub handler: String,
    /// What a pod takes beside its containers, unless the pod itself says (`spec.overhead`).
    pub overhead: Amounts,
    /// Labels that the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Tolerations that the pods are given.
    pub tolerations: Vec<ApiToleration>,
}

impl RuntimeRequirement {
    /// Reads a class.
    #[must_use]
    pub fn of(class: &RuntimeClass) -> Self {
        let scheduling = class.scheduling.clone().unwrap_or_default();
        Self {
            handler: class.handler.clone(),
            overhead: Amounts::read(
                class
                    .overhead
                    .as_ref()
                    .and_then(|overhead| overhead.pod_fixed.as_ref()),
            ),
            node_selector: scheduling.node_selector.unwrap_or_default(),
            tolerations: scheduling.tolerations.unwrap_or_default(),
        }
    }
}

/// What a pod runs with, as far as a node must offer it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Handler {
    /// The node's default: every node has one.
    Default,
    /// A handler by name.
    Named(String),
    /// The pod's RuntimeClass, of this name, does not exist.
    UnknownClass(String),
}

/// An address on the node that a container listens on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// `0.0.0.0` for all addresses.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The port on the node.
    pub port: i32,
}

impl HostPort {
    const EVERY_IP: &str = "0.0.0.0";

    /// Whether both cannot be held on one node.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || self.ip == Self::EVERY_IP || other.ip == Self::EVERY_IP)
    }
}

/// A taint's effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Effect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

impl Effect {
    fn read(text: &str) -> Option<Self> {
        match text {
            "NoSchedule" => Some(Self::NoSchedule),
            "PreferNoSchedule" => Some(Self::PreferNoSchedule),
            "NoExecute" => Some(Self::NoExecute),
            _ => None,
        }
    }
}

/// A node's taint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Taint {
    pub key: String,
    pub value: String,
    pub effect: Effect,
}

impl Taint {
    pub fn read(taint: &ApiTaint) -> Option<Self> {
        let value = taint.value.clone().unwrap_or_default();
        Some(Self {
            key: taint.key.clone(),
            value,
            effect: Effect::read(&taint.effect)?,
        })
    }

    pub fn implied(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            value: String::new(),
            effect: Effect::NoSchedule,
        }
    }
}

/// A pod's toleration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Toleration {
    /// `None` tolerates every key.
    key: Option<String>,
    /// `None` tolerates every value.
    value: Option<String>,
    /// `None` tolerates every effect.
    effect: Option<Effect>,
}

impl Toleration {
    /// An operator or effect that cannot be read tolerates nothing.
    fn read(toleration: &ApiToleration) -> Option<Self> {
        let key = toleration.key.clone().filter(|key| !key.is_empty());
        let value = match toleration.operator.as_deref().unwrap_or_default() {
            "" | "Equal" => Some(toleration.value.clone().unwrap_or_default()),
            "Exists" => None,
            _ => return None,
        };
        let effect = match toleration.effect.as_deref().unwrap_or_default() {
            "" => None,
            text => Some(Effect::read(text)?),
        };
        Some(Self { key, value, effect })
    }

    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|effect| effect == taint.effect)
            && self.key.as_ref().is_none_or(|key| *key == taint.key)
            && self
                .value
                .as_ref()
                .is_none_or(|value| *value == taint.value)
    }
}

/// What depends on a node's description alone, not on what runs there. Verdicts are remembered
/// per value of this.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct NodeConstraint {
    /// `spec.nodeSelector`, with the runtime class's.
    pub selector: Selector,
    /// One of these must match, where there is a requirement at all.
    pub terms: Option<Vec<NodeTerm>>,
    pub tolerations: Vec<Toleration>,
    pub handler: Handler,
}

impl NodeConstraint {
    fn with_class(mut self, class: &RuntimeRequirement) -> Self {
        for (key, value) in &class.node_selector {
            self.selector.and(Requirement::equals(key, value));
        }
        self.tolerations
            .extend(class.tolerations.iter().filter_map(Toleration::read));
        self.handler = Handler::Named(class.handler.clone());
        self
    }

    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|one| one.tolerates(taint))
    }
}

/// A topology spread constraint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Spread {
    pub topology: String,
    pub max_skew: i64,
    pub min_domains: i64,
    /// `DoNotSchedule` rather than `ScheduleAnyway`.
    pub required: bool,
    pub honor_affinity: bool,
    pub honor_taints: bool,
    pub selector: Option<Selector>,
}

/// A term of pod affinity or anti-affinity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PodTerm {
    pub topology: String,
    /// Sorted; empty only together with `every_namespace`.
    pub namespaces: Vec<String>,
    pub every_namespace: bool,
    pub selector: Option<Selector>,
}

/// Everything about a pod that placement looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shape {
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// The uid of the controller that owns the pod.
    pub(crate) owner: Option<String>,
    pub(crate) requests: Requests,
    pub(crate) ports: Vec<HostPort>,
    pub(crate) constraint: Arc<NodeConstraint>,
    /// Preferred node affinity: weight and term.
    pub(crate) preferred: Vec<(i64, NodeTerm)>,
    pub(crate) spread: Vec<Spread>,
    pub(crate) affinity: Vec<PodTerm>,
    pub(crate) anti_affinity: Vec<PodTerm>,
    /// Preferred pod affinity; a negative weight stands for anti-affinity.
    pub(crate) preferred_pods: Vec<(i64, PodTerm)>,
}

impl Shape {
    /// Compiles a pod. `class` is its RuntimeClass where it names one that exists.
    #[must_use]
    pub fn of(pod: &Pod, class: Option<&RuntimeRequirement>) -> Self {
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let affinity = spec.affinity.clone().unwrap_or_default();
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let owners = pod.metadata.owner_references.iter().flatten();
        let owner = owners
            .filter(|owner| owner.controller == Some(true))
            .map(|owner| owner.uid.clone())
            .next();
        let spread = spec.topology_spread_constraints.iter().flatten();
        Self {
            owner,
            requests: Requests::of(pod, class.map(|class| &class.overhead)),
            ports: host_ports(spec),
            constraint: Arc::new(constraint(spec, &affinity, class)),
            preferred: preferred(affinity.node_affinity.as_ref()),
            spread: spread.map(|one| Spread::read(one, &labels)).collect(),
            affinity: required_pods(&affinity, &namespace, &labels),
            anti_affinity: required_anti(&affinity, &namespace, &labels),
            preferred_pods: preferred_pods(&affinity, &namespace, &labels),
            namespace,
            labels,
        }
    }

    /// The shape of a pod that was read before its class existed.
    pub(crate) fn with_class(&self, class: &RuntimeRequirement) -> Self {
        let mut shape = self.clone();
        shape.requests.add_overhead(&class.overhead);
        shape.constraint = Arc::new(NodeConstraint::clone(&self.constraint).with_class(class));
        shape
    }
}

fn constraint(
    spec: &PodSpec,
    affinity: &Affinity,
    class: Option<&RuntimeRequirement>,
) -> NodeConstraint {
    let selector = Selector::all_of(spec.node_selector.as_ref().unwrap_or(&BTreeMap::new()));
    let tolerations = spec
        .tolerations
        .iter()
        .flatten()
        .filter_map(Toleration::read)
        .collect();
    let handler = match spec.runtime_class_name.as_deref() {
        None | Some("") => Handler::Default,
        Some(name) => Handler::UnknownClass(name.to_owned()),
    };
    let required = affinity.node_affinity.as_ref();
    let required = required.and_then(|node| {
        node.required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let terms = required.map(|required| {
        required
            .node_selector_terms
            .iter()
            .map(NodeTerm::new)
            .collect()
    });
    let constraint = NodeConstraint {
        selector,
        terms,
        tolerations,
        handler,
    };
    match class {
        Some(class) if constraint.handler != Handler::Default => constraint.with_class(class),
        _ => constraint,
    }
}

fn preferred(affinity: Option<&NodeAffinity>) -> Vec<(i64, NodeTerm)> {
    let list = affinity.and_then(|node| {
        node.preferred_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let list = list.into_iter().flatten();
    list.map(|one| (i64::from(one.weight), NodeTerm::new(&one.preference)))
        .collect()
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|one| is_sidecar(one));
    let containers = spec.containers.iter().chain(sidecars);
    let ports = |container: &Container| container.ports.clone().unwrap_or_default();
    let mut found: Vec<_> = containers
        .flat_map(ports)
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let ip = port.host_ip.filter(|ip| !ip.is_empty());
            Some(HostPort {
                ip: ip.unwrap_or_else(|| HostPort::EVERY_IP.to_owned()),
                protocol: port.protocol.unwrap_or_else(|| "TCP".to_owned()),
                port: number,
            })
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

impl Spread {
    fn read(constraint: &TopologySpreadConstraint, labels: &BTreeMap<String, String>) -> Self {
        let mut selector = Selector::new(constraint.label_selector.as_ref());
        narrow(&mut selector, constraint.match_label_keys.as_ref(), labels);
        Self {
            topology: constraint.topology_key.clone(),
            max_skew: i64::from(constraint.max_skew),
            min_domains: i64::from(constraint.min_domains.unwrap_or(1)),
            required: constraint.when_unsatisfiable == "DoNotSchedule",
            honor_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honor_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
            selector,
        }
    }
}

/// Asks for the pod's own values of some label keys as well (KEP-3243).
fn narrow(
    selector: &mut Option<Selector>,
    keys: Option<&Vec<String>>,
    labels: &BTreeMap<String, String>,
) {
    for key in keys.into_iter().flatten() {
        if let (Some(selector), Some(value)) = (selector.as_mut(), labels.get(key)) {
            selector.and(Requirement::equals(key, value));
        }
    }
}

fn pod_term(term: &PodAffinityTerm, namespace: &str, labels: &BTreeMap<String, String>) -> PodTerm {
    let mut namespaces = term.namespaces.clone().unwrap_or_default();
    if namespaces.is_empty() && term.namespace_selector.is_none() {
        namespaces.push(namespace.to_owned());
    }
    namespaces.sort();
    let every = term.namespace_selector.as_ref().is_some_and(|selector| {
        let labels = selector
            .match_labels
            .as_ref()
            .is_none_or(BTreeMap::is_empty);
        labels
            && selector
                .match_expressions
                .as_ref()
                .is_none_or(Vec::is_empty)
    });
    let mut selector = Selector::new(term.label_selector.as_ref());
    narrow(&mut selector, term.match_label_keys.as_ref(), labels);
    PodTerm {
        topology: term.topology_key.clone(),
        namespaces,
        every_namespace: every,
        selector,
    }
}

type PodLabels = BTreeMap<String, String>;

fn required_pods(affinity: &Affinity, namespace: &str, labels: &PodLabels) -> Vec<PodTerm> {
    let list = affinity.pod_affinity.as_ref();
    let list = list.and_then(|one| {
        one.required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    list.into_iter()
        .flatten()
        .map(|term| pod_term(term, namespace, labels))
        .collect()
}

fn required_anti(affinity: &Affinity, namespace: &str, labels: &PodLabels) -> Vec<PodTerm> {
    let list = affinity.pod_anti_affinity.as_ref();
    let list = list.and_then(|one| {
        one.required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    list.into_iter()
        .flatten()
        .map(|term| pod_term(term, namespace, labels))
        .collect()
}

fn preferred_pods(affinity: &Affinity, namespace: &str, labels: &PodLabels) -> Vec<(i64, PodTerm)> {
    let towards = affinity.pod_affinity.as_ref();
    let towards = towards.and_then(|one| {
        one.preferred_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let away = affinity.pod_anti_affinity.as_ref();
    let away = away.and_then(|one| {
        one.preferred_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let read = |sign: i64| {
        move |one: &WeightedPodAffinityTerm| {
            (
                sign * i64::from(one.weight),
                pod_term(&one.pod_affinity_term, namespace, labels),
            )
        }
    };
    let towards = towards.into_iter().flatten().map(read(1));
    towards
        .chain(away.into_iter().flatten().map(read(-1)))
        .collect()
}

/// A shape that is shared, and hashed once.
#[derive(Debug, Clone)]
pub(crate) struct Shaped(Arc<(u64, Shape)>);

impl Shaped {
    pub fn new(shape: Shape) -> Self {
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        shape.hash(&mut hasher);
        Self(Arc::new((hasher.finish(), shape)))
    }
}

impl std::ops::Deref for Shaped {
    type Target = Shape;

    fn deref(&self) -> &Shape {
        &self.0.1
    }
}

impl Hash for Shaped {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.0);
    }
}

impl PartialEq for Shaped {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Shaped {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    fn tolerates(toleration: serde_json::Value, effect: &str) -> bool {
        let taint = ApiTaint {
            key: "k".into(),
            value: Some("v".into()),
            effect: effect.into(),
            time_added: None,
        };
        let toleration: ApiToleration = serde_json::from_value(toleration).unwrap();
        Toleration::read(&toleration)
            .is_some_and(|one| one.tolerates(&Taint::read(&taint).unwrap()))
    }

    #[test]
    fn tolerations_match_by_key_value_and_effect() {
        for effect in ["NoSchedule", "NoExecute", "PreferNoSchedule"] {
            assert!(tolerates(json!({"operator": "Exists"}), effect));
            assert!(tolerates(json!({"key": "k", "operator": "Exists"}), effect));
            assert!(tolerates(json!({"key": "k", "value": "v"}), effect));
            assert!(tolerates(
                json!({"key": "k", "operator": "Equal", "value": "v", "effect": effect}),
                effect
            ));
            assert!(!tolerates(json!({"key": "k"}), effect));
            assert!(!tolerates(json!({"key": "k", "value": "w"}), effect));
            assert!(!tolerates(
                json!({"key": "l", "operator": "Exists"}),
                effect
            ));
            assert!(!tolerates(
                json!({"key": "k", "operator": "Exists", "effect": "Other"}),
                effect
            ));
            assert!(!tolerates(
                json!({"key": "k", "operator": "Like", "value": "v"}),
                effect
            ));
        }
        assert!(!tolerates(
            json!({"operator": "Exists", "effect": "NoExecute"}),
            "NoSchedule"
        ));
    }

    #[test]
    fn host_ports_clash_by_port_protocol_and_overlapping_address() {
        let port = |ip: &str, protocol: &str, port| HostPort {
            ip: ip.into(),
            protocol: protocol.into(),
            port,
        };
        let every = port("0.0.0.0", "TCP", 80);
        assert!(
            every.conflicts(&port("10.0.0.1", "TCP", 80))
                && port("10.0.0.1", "TCP", 80).conflicts(&every)
        );
        assert!(!port("10.0.0.2", "TCP", 80).conflicts(&port("10.0.0.1", "TCP", 80)));
        assert!(
            !every.conflicts(&port("0.0.0.0", "UDP", 80))
                && !every.conflicts(&port("0.0.0.0", "TCP", 81))
        );
    }

    #[test]
    fn pods_of_one_template_have_one_shape() {
        let pod = |name: &str, app: &str| -> Shaped {
            let pod = json!({"metadata": {"name": name, "labels": {"app": app}}, "spec": {"containers": []}});
            Shaped::new(Shape::of(&serde_json::from_value(pod).unwrap(), None))
        };
        assert_eq!(pod("a", "x"), pod("b", "x"));
        assert_ne!(pod("a", "x"), pod("a", "y"));
    }
}
