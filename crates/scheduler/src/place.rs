//! The control flow: which pod next, which nodes to look at, which one to take.
//!
//! Pods go by priority, then in the order given. For each, nodes are asked in a fixed shuffle
//! that continues where the last pod's search ended, until enough feasible ones are found to
//! choose from (kube-scheduler's `percentageOfNodesToScore`); a pod is refused only after every
//! node was asked. Pods of equal shape share what can be worked out once.

pub(crate) mod class;
pub(crate) mod counters;

use crate::cluster::Cluster;
use crate::explain::Explanation;
use crate::filter::{self, Refusal, ports, resources};
use crate::limits::{MAX_SAMPLED_NODES, MIN_SAMPLED_NODES};
use crate::pending::PendingPod;
use crate::score::Scores;
use crate::shape::{Handler, Shaped};
use crate::slots::{Slot, TextMap};
use crate::wake::Wake;
use class::{Class, Demand};
use counters::Counters;
use pontoon_api::{NodeName, PodUid};
use std::borrow::Cow;
use std::sync::Arc;

/// What becomes of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Bind it. The cluster counts it there already, as assumed.
    Bind {
        /// `namespace/name`.
        pod: Arc<str>,
        /// Its uid: the binding's precondition.
        uid: PodUid,
        /// Where.
        node: NodeName,
    },
    /// No node takes it.
    Unschedulable {
        /// `namespace/name`.
        pod: Arc<str>,
        /// Its uid.
        uid: PodUid,
        /// Why, and what to wait for.
        why: Arc<Explanation>,
    },
    /// The cluster counts it on a node already: nothing to do.
    AlreadyPlaced {
        /// `namespace/name`.
        pod: Arc<str>,
        /// Its uid.
        uid: PodUid,
        /// Where.
        node: NodeName,
    },
}

/// Places pods, by priority and then in the order given, and assumes each placement. One decision
/// per pod, in the order they were made.
///
/// Costs, per pod of a shape seen before in the batch, the nodes it looks at: up to
/// [`MAX_SAMPLED_NODES`] feasible ones and those refused on the way.
pub fn schedule(cluster: &mut Cluster, pending: &[PendingPod]) -> Vec<Decision> {
    let mut order: Vec<_> = pending.iter().map(|pod| resolved(cluster, pod)).collect();
    order.sort_by_key(|pod| std::cmp::Reverse(pod.priority));
    cluster.topologies.trim();
    cluster.verdicts.trim();
    let mut round = Round::new(cluster, &order);
    let decisions = order.iter().map(|pod| round.decide(pod)).collect();
    round.finish();
    decisions
}

/// The pod, with its runtime class if that appeared since the pod was read.
fn resolved<'a>(cluster: &Cluster, pod: &'a PendingPod) -> Cow<'a, PendingPod> {
    let Handler::UnknownClass(name) = &pod.shape.constraint.handler else {
        return Cow::Borrowed(pod);
    };
    let Some(class) = cluster.runtime_class(name) else {
        return Cow::Borrowed(pod);
    };
    let shape = Shaped::new(pod.shape.with_class(class));
    Cow::Owned(PendingPod {
        shape,
        ..pod.clone()
    })
}

struct Round<'a> {
    cluster: &'a mut Cluster,
    classes: Vec<Class>,
    by_shape: TextMap<Shaped, usize>,
    counters: Counters,
    scores: Scores,
    candidates: Vec<Slot>,
    /// Why pods of a demand were refused.
    refused: TextMap<Demand, Arc<Explanation>>,
    sample: usize,
    stride: usize,
}

impl<'a> Round<'a> {
    fn new(cluster: &'a mut Cluster, pods: &[Cow<'_, PendingPod>]) -> Self {
        let mut by_shape = TextMap::default();
        let mut held = Vec::new();
        for pod in pods {
            if !by_shape.contains_key(&pod.shape) {
                by_shape.insert(pod.shape.clone(), held.len());
                held.push((
                    pod.shape.clone(),
                    cluster.shapes.hold(&pod.shape, &cluster.ledger),
                ));
            }
        }
        let mut counters = Counters::default();
        let classes = held
            .iter()
            .map(|(shape, id)| Class::new(cluster, &mut counters, shape, *id))
            .collect();
        let sample = sample_size(cluster.node_count());
        let stride = stride(cluster.nodes.len(), cluster.seed);
        let (scores, candidates, refused) = (
            std::mem::take(&mut cluster.scratch),
            Vec::new(),
            TextMap::default(),
        );
        Self {
            cluster,
            classes,
            by_shape,
            counters,
            scores,
            candidates,
            refused,
            sample,
            stride,
        }
    }

    fn finish(self) {
        self.cluster.scratch = self.scores;
        for class in self.classes {
            self.cluster.shapes.release(class.id);
        }
    }

    fn decide(&mut self, pod: &PendingPod) -> Decision {
        let (key, uid) = (Arc::clone(&pod.key), pod.uid.clone());
        if let Some(entry) = self.cluster.pods.get(&pod.key)
            && entry.uid == pod.uid
        {
            return Decision::AlreadyPlaced {
                pod: key,
                uid,
                node: self.cluster.nodes[entry.slot].name.clone(),
            };
        }
        let class = *self
            .by_shape
            .get(&pod.shape)
            .expect("every pod of the batch has a class");
        if let Some(why) = self.standing_refusal(class) {
            return Decision::Unschedulable { pod: key, uid, why };
        }
        let Some(slot) = self.choose(class) else {
            // Preemption belongs here: no node takes the pod as things are.
            let why = Arc::new(self.explain(class));
            if let Some(demand) = self.classes[class].demand(self.cluster) {
                self.refused.insert(demand, Arc::clone(&why));
            }
            return Decision::Unschedulable { pod: key, uid, why };
        };
        self.assume(pod, class, slot);
        Decision::Bind {
            pod: key,
            uid,
            node: self.cluster.nodes[slot].name.clone(),
        }
    }

    fn standing_refusal(&self, class: usize) -> Option<Arc<Explanation>> {
        if self.refused.is_empty() {
            return None;
        }
        let demand = self.classes[class].demand(self.cluster)?;
        self.refused.get(&demand).cloned()
    }

    /// Asks nodes until enough are found, and takes the best.
    fn choose(&mut self, class: usize) -> Option<Slot> {
        let class = &mut self.classes[class];
        for hard in &mut class.hard {
            hard.refresh(&self.counters);
        }
        self.candidates.clear();
        let slots = self.cluster.nodes.len();
        let mut slot = self.cluster.cursor.checked_rem(slots)?;
        for _ in 0..slots {
            if admits(self.cluster, class, &self.counters, slot) {
                self.candidates.push(slot);
            }
            slot += self.stride;
            if slot >= slots {
                slot -= slots;
            }
            if self.candidates.len() == self.sample {
                break;
            }
        }
        self.cluster.cursor = slot;
        self.scores
            .best(self.cluster, class, &self.counters, &self.candidates)
    }

    fn assume(&mut self, pod: &PendingPod, class: usize, slot: Slot) {
        let node = self.cluster.nodes[slot].name.clone();
        let needs = &self.classes[class].needs;
        assert!(
            self.cluster.ledger.fits(slot, needs),
            "node {node} would be promised more than it has"
        );
        self.cluster.assume(pod, node.as_str());
        let matching = match self.classes[class].matching.take() {
            Some(matching) => matching,
            None => self.counters.matching(&pod.shape),
        };
        for counter in &matching {
            self.counters
                .placed(*counter, slot, &self.cluster.topologies);
        }
        self.classes[class].matching = Some(matching);
        if !pod.shape.anti_affinity.is_empty() {
            self.repel(class, slot);
        }
    }

    /// Keeps other classes out of the domains that a placed pod claims by anti-affinity.
    fn repel(&mut self, class: usize, slot: Slot) {
        let repels = match self.classes[class].repels.take() {
            Some(repels) => repels,
            None => self.repels(class),
        };
        for (other, domains) in &repels {
            if let Some(domain) = domains.of(slot, &self.cluster.topologies) {
                class::tally_of(&mut self.classes[*other].pods.repelled, *domains).add(domain, 1);
            }
        }
        self.classes[class].repels = Some(repels);
    }

    fn repels(&mut self, class: usize) -> Vec<(usize, counters::Domains)> {
        let mut found = Vec::new();
        let shape = self.classes[class].shape.clone();
        for term in &shape.anti_affinity {
            let domains = class::domains(self.cluster, &term.topology);
            let others = self
                .classes
                .iter()
                .enumerate()
                .filter(|(_, other)| term.matches(&other.shape));
            found.extend(others.map(|(other, _)| (other, domains)));
        }
        found
    }

    fn explain(&self, class: usize) -> Explanation {
        let class = &self.classes[class];
        let mut explanation = Explanation::new();
        if class.shape.constraint.handler != Handler::Default {
            // The class's own selector and tolerations are part of every rule's verdict.
            explanation.wait_for(Wake::RUNTIME_CLASS);
        }
        for slot in 0..self.cluster.nodes.len() {
            if self.cluster.nodes[slot].live {
                let refusal = refusal(self.cluster, class, &self.counters, slot);
                explanation.count(
                    refusal.expect("a node that was not admitted has a rule that refuses it"),
                );
            }
        }
        explanation
    }
}

/// Whether a node takes one more pod of the class.
fn admits(cluster: &mut Cluster, class: &Class, counters: &Counters, slot: Slot) -> bool {
    let Cluster {
        nodes,
        verdicts,
        ledger,
        topologies,
        ..
    } = cluster;
    verdicts.admits(class.table, &class.shape.constraint, slot, nodes)
        && ledger.fits(slot, &class.needs)
        && ports::admits(&class.shape.ports, &nodes[slot])
        && class
            .hard
            .iter()
            .all(|hard| hard.admits(slot, topologies, counters))
        && (class.pods.is_empty() || class.pods.admits(slot, topologies, counters))
}

/// The first rule by which a node does not take a pod of the class, in words.
fn refusal(cluster: &Cluster, class: &Class, counters: &Counters, slot: Slot) -> Option<Refusal> {
    let (node, topologies) = (&cluster.nodes[slot], &cluster.topologies);
    filter::refusal_of_node(&class.shape.constraint, node)
        .or_else(|| ports::refusal(&class.shape.ports, node))
        .or_else(|| resources::refusal(&cluster.ledger, slot, &class.needs))
        .or_else(|| {
            class
                .hard
                .iter()
                .find_map(|hard| hard.refusal(slot, topologies, counters))
        })
        .or_else(|| class.pods.refusal(slot, topologies, counters))
}

/// How many feasible nodes are enough to choose from (`numFeasibleNodesToFind`, with a ceiling).
fn sample_size(nodes: usize) -> usize {
    if nodes < MIN_SAMPLED_NODES {
        return nodes.max(1);
    }
    let percent = 50usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).clamp(MIN_SAMPLED_NODES, MAX_SAMPLED_NODES)
}

/// A step that visits every slot once before it returns to the first, and neighbours far apart:
/// nodes that joined one after another are often alike.
fn stride(slots: usize, seed: u64) -> usize {
    if slots < 3 {
        return 1;
    }
    // About the golden section of the ring, shifted by the seed.
    let shift = usize::try_from(seed % 16).expect("less than 16");
    let mut stride = (slots * 618 / 1000 + shift) % slots;
    while stride == 0 || gcd(stride, slots) != 1 {
        stride = (stride + 1) % slots;
    }
    stride
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use k8s_openapi::api::core::v1::{Node, Pod};
    use serde_json::json;

    #[test]
    fn a_search_visits_every_slot_once_whatever_the_seed() {
        for slots in (1..400).chain([1000, 5000, 5040]) {
            for seed in 0..16 {
                let step = stride(slots, seed);
                let mut seen = vec![false; slots];
                let mut slot = 0;
                for _ in 0..slots {
                    assert!(
                        !std::mem::replace(&mut seen[slot], true),
                        "{slots} slots, seed {seed}"
                    );
                    slot = (slot + step) % slots;
                }
            }
        }
    }

    #[test]
    fn samples_grow_with_the_cluster_up_to_a_ceiling() {
        assert_eq!(
            [0, 1, 99, 100, 1000, 5000, 100_000].map(sample_size),
            [1, 1, 99, 100, 420, 500, 500]
        );
    }

    #[test]
    fn a_topology_weighs_the_logarithm_of_its_size() {
        // ln 3, ln 5, ln 5002 in thousandths.
        assert_eq!(
            [1, 3, 5000].map(crate::score::spread::weight),
            [1098, 1609, 8517]
        );
    }

    #[test]
    fn a_pod_read_before_its_runtime_class_existed_is_placed_as_if_read_after() {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"namespace": "ns", "name": "p", "uid": "u"},
            "spec": {"runtimeClassName": "box", "containers": [{"name": "c"}]},
        }))
        .unwrap();
        let mut cluster = Cluster::new(0);
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n", "labels": {"boxes": "yes"}},
            "spec": {"taints": [{"key": "boxed", "effect": "NoSchedule"}]},
            "status": {
                "allocatable": {"cpu": "1", "pods": "2"}, "runtimeHandlers": [{"name": "runc"}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }))
        .unwrap();
        cluster.set_node(&node);
        let early = [cluster.pending(&pod).unwrap()];
        let Decision::Unschedulable { why, .. } = &schedule(&mut cluster, &early)[0] else {
            panic!("its class does not exist");
        };
        let class = serde_json::from_value(json!({
            "metadata": {"name": "box"}, "handler": "runc", "overhead": {"podFixed": {"cpu": "600m"}},
            "scheduling": {"nodeSelector": {"boxes": "yes"}, "tolerations": [{"operator": "Exists"}]},
        }));
        assert!(
            why.wake()
                .intersects(cluster.set_runtime_class(&class.unwrap()))
        );
        assert!(matches!(
            schedule(&mut cluster, &early)[0],
            Decision::Bind { .. }
        ));
        crate::invariant::check(&cluster).unwrap();
        // Seeing it assigned only confirms what was assumed: nothing is counted anew.
        pod.spec.as_mut().unwrap().node_name = Some("n".to_owned());
        assert_eq!(cluster.set_pod(&pod), Wake::POD_ADDED);
        assert_eq!(cluster.set_pod(&pod), Wake::NONE);
    }
}
