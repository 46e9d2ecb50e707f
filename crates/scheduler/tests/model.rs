//! Placement against a brute-force model: never over-commits a node, never binds a pod twice, always
//! binds when a feasible node exists, and explains every refusal by as many nodes as there are.
#![allow(clippy::unwrap_used, missing_docs)]

use k8s_openapi::api::core::v1::{Node, Pod};
use pontoon_scheduler::{Cluster, Decision, Wake, invariant, schedule};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";

/// A node as the model sees it.
#[derive(Debug, Clone)]
struct ModelNode {
    cpu: i64,
    memory: i64,
    pods: usize,
    gpus: i64,
    zone: Option<u8>,
    tainted: bool,
    cordoned: bool,
    ready: bool,
    handler: bool,
}

/// A pod as the model sees it.
#[derive(Debug, Clone)]
struct ModelPod {
    cpu: i64,
    memory: i64,
    gpus: i64,
    app: u8,
    priority: i32,
    zone: Option<u8>,
    tolerates: bool,
    port: Option<u16>,
    handler: bool,
    /// Required anti-affinity to its own app, per host or per zone.
    apart: Option<&'static str>,
    /// Required affinity to an app, per zone.
    with: Option<u8>,
    /// DoNotSchedule over zones.
    spread: Option<i64>,
}

#[derive(Debug, Clone)]
enum Step {
    SetNode(usize, ModelNode),
    RemoveNode(usize),
    /// Pods arrive and everything that waits is scheduled.
    Schedule(Vec<ModelPod>),
    /// The binding of one placed pod is seen, or refused, or the pod ends or goes.
    Confirm(usize),
    Refuse(usize),
    End(usize),
    Remove(usize),
}

fn model_node() -> impl Strategy<Value = ModelNode> {
    let sizes = (0..6i64, 0..6i64, 0..5usize, 0..2i64);
    let flags = (
        prop::option::weighted(0.8, 0..2u8),
        0..5u8,
        0..8u8,
        0..8u8,
        any::<bool>(),
    );
    (sizes, flags).prop_map(
        |((cpu, memory, pods, gpus), (zone, tainted, cordoned, unready, handler))| ModelNode {
            cpu,
            memory,
            pods,
            gpus,
            zone,
            tainted: tainted == 0,
            cordoned: cordoned == 0,
            ready: unready != 0,
            handler,
        },
    )
}

fn model_pod() -> impl Strategy<Value = ModelPod> {
    let sizes = (0..3i64, 0..3i64, 0..8i64, 0..3u8, 0..3i32);
    let flags = (
        prop::option::weighted(0.2, 0..2u8),
        any::<bool>(),
        prop::option::weighted(0.2, 80..82u16),
        0..6u8,
    );
    let apart = prop_oneof![4 => Just(None), 1 => Just(Some(HOST)), 1 => Just(Some(ZONE))];
    let company = (
        apart,
        prop::option::weighted(0.2, 0..3u8),
        prop::option::weighted(0.2, 1..3i64),
    );
    (sizes, flags, company).prop_map(
        |(sizes, (zone, tolerates, port, handler), (apart, with, spread))| {
            let (cpu, memory, gpus, app, priority) = sizes;
            let gpus = i64::from(gpus == 0);
            let handler = handler == 0;
            ModelPod {
                cpu,
                memory,
                gpus,
                app,
                priority,
                zone,
                tolerates,
                port,
                handler,
                apart,
                with,
                spread,
            }
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6usize, model_node()).prop_map(|(at, node)| Step::SetNode(at, node)),
        1 => (0..6usize).prop_map(Step::RemoveNode),
        // Copies of one pod share what is worked out per shape, though other pods come between.
        4 => (prop::collection::vec(model_pod(), 0..4), 1..4usize).prop_map(|(kinds, copies)| {
            Step::Schedule((0..copies).flat_map(|_| kinds.clone()).collect())
        }),
        2 => (0..20usize).prop_map(Step::Confirm),
        1 => (0..20usize).prop_map(Step::Refuse),
        1 => (0..20usize).prop_map(Step::End),
        2 => (0..20usize).prop_map(Step::Remove),
    ]
}

fn node_name(at: usize) -> String {
    format!("n{at}")
}

fn node_object(at: usize, node: &ModelNode) -> Node {
    let mut labels = json!({HOST: node_name(at)});
    if let Some(zone) = node.zone {
        labels[ZONE] = json!(format!("z{zone}"));
    }
    let taints = if node.tainted {
        json!([{"key": "k", "value": "v", "effect": "NoSchedule"}])
    } else {
        json!([])
    };
    let handlers = if node.handler {
        json!([{"name": "special"}])
    } else {
        json!([])
    };
    serde_json::from_value(json!({
        "metadata": {"name": node_name(at), "labels": labels},
        "spec": {"taints": taints, "unschedulable": node.cordoned},
        "status": {
            "conditions": [{"type": "Ready", "status": if node.ready { "True" } else { "False" }}],
            "runtimeHandlers": handlers,
            "allocatable": {
                "cpu": node.cpu.to_string(), "memory": format!("{}Gi", node.memory),
                "pods": node.pods.to_string(), "example.com/gpu": node.gpus.to_string(),
            },
        },
    }))
    .unwrap()
}

fn pod_object(name: &str, pod: &ModelPod, node: Option<&str>, phase: &str) -> Pod {
    let term = |app: u8, key: &str| {
        let terms = json!([{"labelSelector": {"matchLabels": {"app": format!("a{app}")}}, "topologyKey": key}]);
        json!({"requiredDuringSchedulingIgnoredDuringExecution": terms})
    };
    let mut spec = json!({
        "priority": pod.priority,
        "containers": [{"name": "c", "resources": {"requests": {
            "cpu": pod.cpu.to_string(), "memory": format!("{}Gi", pod.memory), "example.com/gpu": pod.gpus.to_string(),
        }}}],
        "affinity": {},
    });
    if let Some(port) = pod.port {
        spec["containers"][0]["ports"] = json!([{"containerPort": 1, "hostPort": port}]);
    }
    if let Some(zone) = pod.zone {
        spec["nodeSelector"] = json!({ZONE: format!("z{zone}")});
    }
    if pod.tolerates {
        spec["tolerations"] =
            json!([{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}]);
    }
    if pod.handler {
        spec["runtimeClassName"] = json!("special");
    }
    if let Some(key) = pod.apart {
        spec["affinity"]["podAntiAffinity"] = term(pod.app, key);
    }
    if let Some(app) = pod.with {
        spec["affinity"]["podAffinity"] = term(app, ZONE);
    }
    if let Some(skew) = pod.spread {
        spec["topologySpreadConstraints"] = json!([{
            "maxSkew": skew, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": format!("a{}", pod.app)}},
        }]);
    }
    if let Some(node) = node {
        spec["nodeName"] = json!(node);
    }
    serde_json::from_value(json!({
        "metadata": {"namespace": "ns", "name": name, "uid": format!("u-{name}"),
            "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "o", "uid": format!("o{}", pod.app), "controller": true}], "labels": {"app": format!("a{}", pod.app)}},
        "spec": spec,
        "status": {"phase": phase},
    }))
    .unwrap()
}

#[derive(Debug)]
struct Model {
    cluster: Cluster,
    nodes: BTreeMap<usize, ModelNode>,
    pods: BTreeMap<String, ModelPod>,
    /// Where pods are, by name.
    placed: BTreeMap<String, usize>,
    confirmed: BTreeMap<String, bool>,
    /// Refused pods: what they wait for, and what happened since.
    refused: BTreeMap<String, (Wake, Wake)>,
    made: usize,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut cluster = Cluster::new(seed);
        let class = json!({"metadata": {"name": "special"}, "handler": "special"});
        cluster.set_runtime_class(&serde_json::from_value(class).unwrap());
        let (nodes, pods, placed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            cluster,
            nodes,
            pods,
            placed,
            confirmed: BTreeMap::new(),
            refused: BTreeMap::new(),
            made: 0,
        }
    }

    /// The value of a topology key of a node that exists.
    fn domain(&self, at: usize, key: &str) -> Option<String> {
        let node = self.nodes.get(&at)?;
        if key == HOST {
            Some(node_name(at))
        } else {
            node.zone.map(|zone| zone.to_string())
        }
    }

    /// How many placed pods of an app are in the same domain as a node.
    fn near(&self, app: u8, at: usize, key: &str) -> usize {
        let here = self.domain(at, key);
        let same = |(name, place): &(&String, &usize)| {
            self.pods[*name].app == app && here.is_some() && self.domain(**place, key) == here
        };
        self.placed.iter().filter(same).count()
    }

    fn fits(&self, pod: &ModelPod, at: usize) -> bool {
        let node = &self.nodes[&at];
        let here: Vec<_> = self
            .placed
            .iter()
            .filter(|(_, place)| **place == at)
            .map(|(name, _)| &self.pods[name])
            .collect();
        let sum = |read: fn(&ModelPod) -> i64| here.iter().map(|pod| read(pod)).sum::<i64>();
        let room = |want: i64, used: i64, has: i64| want == 0 || used + want <= has;
        (node.ready && !node.cordoned)
            && (!node.tainted || pod.tolerates)
            && (pod.zone.is_none() || pod.zone == node.zone)
            && (!pod.handler || node.handler)
            && room(pod.cpu, sum(|pod| pod.cpu), node.cpu)
            && room(pod.memory, sum(|pod| pod.memory), node.memory)
            && room(pod.gpus, sum(|pod| pod.gpus), node.gpus)
            && here.len() < node.pods
            && (pod.port.is_none() || here.iter().all(|other| other.port != pod.port))
    }

    fn company(&self, pod: &ModelPod, at: usize) -> bool {
        let node = &self.nodes[&at];
        if let Some(key) = pod.apart
            && self.near(pod.app, at, key) > 0
        {
            return false;
        }
        for (name, place) in &self.placed {
            let other = &self.pods[name];
            if let Some(key) = other.apart.filter(|_| other.app == pod.app) {
                let there = self.domain(*place, key);
                if there.is_some() && there == self.domain(at, key) {
                    return false;
                }
            }
        }
        if let Some(app) = pod.with {
            let zoned = |(name, place): (&String, &usize)| {
                self.pods[name].app == app && self.domain(*place, ZONE).is_some()
            };
            let first = app == pod.app && !self.placed.iter().any(zoned);
            if node.zone.is_none() || (self.near(app, at, ZONE) == 0 && !first) {
                return false;
            }
        }
        pod.spread.is_none_or(|skew| self.spreads(pod, at, skew))
    }

    fn spreads(&self, pod: &ModelPod, at: usize, skew: i64) -> bool {
        let eligible =
            |node: &ModelNode| node.zone.is_some() && (pod.zone.is_none() || pod.zone == node.zone);
        let mut counts: BTreeMap<u8, i64> = BTreeMap::new();
        for node in self.nodes.values().filter(|node| eligible(node)) {
            counts.insert(node.zone.unwrap(), 0);
        }
        for (name, place) in &self.placed {
            if let Some(node) = self.nodes.get(place).filter(|node| eligible(node))
                && self.pods[name].app == pod.app
            {
                *counts.get_mut(&node.zone.unwrap()).unwrap() += 1;
            }
        }
        let fewest = counts.values().copied().min().unwrap_or(0);
        self.nodes[&at]
            .zone
            .is_some_and(|zone| counts.get(&zone).copied().unwrap_or(0) + 1 - fewest <= skew)
    }

    fn feasible(&self, pod: &ModelPod) -> Vec<usize> {
        self.nodes
            .keys()
            .copied()
            .filter(|at| self.fits(pod, *at) && self.company(pod, *at))
            .collect()
    }

    fn schedule(&mut self, arrivals: Vec<ModelPod>) {
        for pod in arrivals {
            self.pods.insert(format!("p{:04}", self.made), pod);
            self.made += 1;
        }
        // Placed ones are offered again, to see that they are left alone.
        let pending: Vec<_> = self
            .pods
            .iter()
            .map(|(name, pod)| {
                self.cluster
                    .pending(&pod_object(name, pod, None, "Pending"))
                    .unwrap()
            })
            .collect();
        let decisions = schedule(&mut self.cluster, &pending);
        assert_eq!(decisions.len(), pending.len());
        let mut last = i32::MAX;
        for decision in decisions {
            let (Decision::Bind { pod, .. }
            | Decision::Unschedulable { pod, .. }
            | Decision::AlreadyPlaced { pod, .. }) = &decision;
            let name = pod.strip_prefix("ns/").unwrap().to_owned();
            let model = self.pods[&name].clone();
            assert!(model.priority <= last, "{name} was placed out of turn");
            last = model.priority;
            self.compare(decision, name, &model);
        }
    }

    fn compare(&mut self, decision: Decision, name: String, model: &ModelPod) {
        match decision {
            Decision::Bind { node, .. } => {
                let at = node.as_str()[1..].parse().unwrap();
                assert!(
                    self.feasible(model).contains(&at),
                    "{name} does not belong on {node}: {model:?}"
                );
                if let Some((wake, events)) = self.refused.remove(&name) {
                    assert!(
                        wake.intersects(events),
                        "{name} would not have been tried again: {wake}, {events}"
                    );
                }
                self.happened(Wake::POD_ADDED);
                assert!(
                    self.placed.insert(name.clone(), at).is_none(),
                    "{name} was bound twice"
                );
            }
            Decision::Unschedulable { why, .. } => {
                assert!(!self.placed.contains_key(&name));
                assert_eq!(
                    self.feasible(model),
                    Vec::<usize>::new(),
                    "{name} could be placed: {model:?}, {why}"
                );
                assert_eq!(why.nodes(), self.nodes.len());
                assert_eq!(why.by_rule().values().sum::<usize>(), self.nodes.len());
                assert!(
                    why.reasons()
                        .values()
                        .all(|count| *count <= self.nodes.len())
                );
                // A pod that was not worth trying again stands by its first refusal's word.
                let (wake, events) = self
                    .refused
                    .get(&name)
                    .copied()
                    .unwrap_or((why.wake(), Wake::NONE));
                let tried = if wake.intersects(events) {
                    (why.wake(), Wake::NONE)
                } else {
                    (wake, events)
                };
                self.refused.insert(name, tried);
            }
            Decision::AlreadyPlaced { node, .. } => {
                assert_eq!(node_name(self.placed[&name]), node.as_str())
            }
        }
    }

    fn happened(&mut self, event: Wake) {
        for (_, events) in self.refused.values_mut() {
            *events |= event;
        }
    }

    fn nth_placed(&self, at: usize) -> Option<String> {
        self.placed
            .keys()
            .nth(at % self.placed.len().max(1))
            .cloned()
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::SetNode(at, node) => {
                let events = self.cluster.set_node(&node_object(at, &node));
                self.happened(events);
                self.nodes.insert(at, node);
            }
            Step::RemoveNode(at) => {
                let events = self.cluster.remove_node(&node_name(at));
                self.happened(events);
                self.nodes.remove(&at);
            }
            Step::Schedule(arrivals) => self.schedule(arrivals),
            Step::Confirm(at) => {
                if let Some(name) = self.nth_placed(at) {
                    let node = node_name(self.placed[&name]);
                    self.cluster.set_pod(&pod_object(
                        &name,
                        &self.pods[&name],
                        Some(&node),
                        "Running",
                    ));
                    self.confirmed.insert(name, true);
                }
            }
            Step::Refuse(at) => {
                if let Some(name) = self.nth_placed(at) {
                    let uid = pontoon_api::PodUid::new(&format!("u-{name}"));
                    let events = self.cluster.forget(&format!("ns/{name}"), &uid);
                    self.happened(events);
                    // An assignment that was seen is not taken back by a late refusal.
                    if !self.confirmed.contains_key(&name) {
                        self.placed.remove(&name);
                    }
                }
            }
            Step::End(at) => {
                if let Some(name) = self.nth_placed(at) {
                    let node = node_name(self.placed[&name]);
                    let events = self.cluster.set_pod(&pod_object(
                        &name,
                        &self.pods[&name],
                        Some(&node),
                        "Succeeded",
                    ));
                    self.happened(events);
                    self.drop_pod(&name);
                }
            }
            Step::Remove(at) => {
                if let Some(name) = self.nth_placed(at) {
                    let events = self.cluster.remove_pod(&format!("ns/{name}"));
                    self.happened(events);
                    self.drop_pod(&name);
                }
            }
        }
        invariant::check(&self.cluster).unwrap();
        assert_eq!(self.cluster.node_count(), self.nodes.len());
        assert_eq!(self.cluster.pod_count(), self.placed.len());
        self.check_over_commitments();
    }

    fn drop_pod(&mut self, name: &str) {
        self.placed.remove(name);
        self.confirmed.remove(name);
        self.pods.remove(name);
    }

    /// What the cluster calls over-committed is what the model does: only nodes that shrank.
    fn check_over_commitments(&self) {
        let mut expected = Vec::new();
        for (at, node) in &self.nodes {
            let here: Vec<_> = self
                .placed
                .iter()
                .filter(|(_, place)| *place == at)
                .map(|(name, _)| &self.pods[name])
                .collect();
            let over = here.len() > node.pods
                || here.iter().map(|pod| pod.cpu).sum::<i64>() > node.cpu
                || here.iter().map(|pod| pod.memory).sum::<i64>() > node.memory
                || here.iter().map(|pod| pod.gpus).sum::<i64>() > node.gpus;
            if over {
                expected.push(node_name(*at));
            }
        }
        let mut found: Vec<_> = invariant::over_commitments(&self.cluster)
            .into_iter()
            .map(|one| one.node)
            .collect();
        found.sort();
        found.dedup();
        assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn placement_does_what_a_brute_force_model_says(seed: u64, steps in prop::collection::vec(step(), 1..30)) {
        let mut model = Model::new(seed);
        for step in steps {
            model.play(step);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// With more nodes than a search samples, the few that can take a pod are still found, and none
    /// takes more than it has.
    #[test]
    fn a_feasible_node_is_found_among_hundreds(seed: u64, nodes in 1..700usize, roomy in prop::collection::btree_set(0..700usize, 1..4)) {
        let mut cluster = Cluster::new(seed);
        let roomy: Vec<_> = roomy.into_iter().filter(|at| *at < nodes).collect();
        for at in 0..nodes {
            let (cpu, zone, tainted, cordoned) = (if roomy.contains(&at) { 2 } else { 0 }, None, false, false);
            let node = ModelNode { cpu, memory: 8, pods: 5, gpus: 0, zone, tainted, cordoned, ready: true, handler: false };
            cluster.set_node(&node_object(at, &node));
        }
        let pod = ModelPod {
            cpu: 1, memory: 1, gpus: 0, app: 0, priority: 0, zone: None, tolerates: false, port: None,
            handler: false, apart: None, with: None, spread: None,
        };
        let pending: Vec<_> = (0..10)
            .map(|at| cluster.pending(&pod_object(&format!("p{at}"), &pod, None, "Pending")).unwrap())
            .collect();
        let decisions = schedule(&mut cluster, &pending);
        let bound = decisions.iter().filter(|one| matches!(one, Decision::Bind { .. })).count();
        prop_assert_eq!(bound, (2 * roomy.len()).min(10));
        prop_assert_eq!(invariant::over_commitments(&cluster), vec![]);
        invariant::check(&cluster).unwrap();
    }

    #[test]
    fn the_same_inputs_with_the_same_seed_give_the_same_placements(seed: u64, arrivals in prop::collection::vec(model_pod(), 0..20), nodes in prop::collection::vec(model_node(), 0..130)) {
        let run = || {
            let mut cluster = Cluster::new(seed);
            for (at, node) in nodes.iter().enumerate() {
                cluster.set_node(&node_object(at, node));
            }
            let pods = arrivals.iter().enumerate();
            let pending: Vec<_> = pods
                .map(|(at, pod)| cluster.pending(&pod_object(&format!("p{at}"), pod, None, "Pending")).unwrap())
                .collect();
            schedule(&mut cluster, &pending)
        };
        prop_assert_eq!(run(), run());
    }
}
