//! Our own judgement of lists over transactions: one graph, no cycle in it.
//!
//! Reads give the order of each list. From it follow who wrote after whom (ww), who read whose write (wr), and who read what another
//! then changed (rw); the clock gives who had ended before whom (rt), by way of one node for each moment of an end, so that the graph stays small.
//! An acknowledged append that no read shows comes after all that reads show.

use super::{Answer, Call, History, Mop};
use crate::operation::{Moment, Operation};
use crate::verdict::{Anomaly, Verdict};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Why one transaction comes before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    WriteWrite(u64),
    WriteRead(u64),
    ReadWrite(u64),
    Time,
}

/// Judges the transactions.
#[must_use]
pub fn check(history: &History) -> Verdict {
    let mut analysis = Analysis::default();
    analysis.learn_appends(history);
    analysis.learn_orders(history);
    if !analysis.anomalies.is_empty() {
        return Verdict::Invalid(analysis.anomalies);
    }
    let graph = analysis.graph(history);
    match graph.shortest_cycle(history.len()) {
        None => Verdict::Valid,
        Some(cycle) => Verdict::Invalid(vec![tell(history, &cycle)]),
    }
}

#[derive(Default)]
struct Analysis {
    /// Who appended what.
    appends: BTreeMap<(u64, u64), usize>,
    /// The longest list seen of each key.
    orders: BTreeMap<u64, Vec<u64>>,
    anomalies: Vec<Anomaly>,
}

impl Analysis {
    fn learn_appends(&mut self, history: &History) {
        for (place, operation) in history.iter().enumerate() {
            for mop in &operation.call {
                if let Mop::Append { key, value } = mop
                    && self.appends.insert((*key, *value), place).is_some()
                {
                    self.blame("appended-twice", format!("{value} to {key} by the clients"));
                }
            }
        }
    }

    fn blame(&mut self, kind: &'static str, story: String) {
        self.anomalies.push(Anomaly::new(kind, story));
    }

    fn learn_orders(&mut self, history: &History) {
        for (place, operation) in history.iter().enumerate() {
            for (key, list, own) in reads(operation) {
                let Some(outside) = list.strip_suffix(own.as_slice()) else {
                    self.blame(
                        "own-append-unseen",
                        format!("#{place} read {list:?} of {key} after appending {own:?}"),
                    );
                    continue;
                };
                self.learn_list(history, place, key, outside);
                // With its own appends it is the order too, once they are committed.
                self.learn_list(history, place, key, list);
            }
        }
        let orders = self.orders.clone();
        for (place, operation) in history.iter().enumerate() {
            for (key, list, _) in reads(operation) {
                if !orders[&key].starts_with(list) {
                    self.blame(
                        "orders-differ",
                        format!(
                            "#{place} read {list:?} of {key}; another read {:?}",
                            orders[&key]
                        ),
                    );
                }
            }
        }
    }

    fn learn_list(&mut self, history: &History, place: usize, key: u64, list: &[u64]) {
        let mut once = BTreeSet::new();
        for value in list {
            if !once.insert(value) {
                self.blame("element-twice", format!("#{place} read {list:?} of {key}"));
            }
            let kind = match self.appends.get(&(key, *value)) {
                None => "value-from-nowhere",
                Some(writer) if !history[*writer].may_have_happened() => "aborted-read",
                Some(_) => continue,
            };
            self.blame(kind, format!("#{place} read {value} in {key}"));
        }
        let known = self.orders.entry(key).or_default();
        if list.len() > known.len() {
            *known = list.to_vec();
        }
    }

    fn graph(&self, history: &History) -> Graph {
        let mut graph = Graph::default();
        for (key, order) in &self.orders {
            for pair in order.windows(2) {
                let (first, second) = (
                    self.appends[&(*key, pair[0])],
                    self.appends[&(*key, pair[1])],
                );
                graph.link(first, second, Reason::WriteWrite(*key));
            }
        }
        // Acknowledged appends that nobody saw come after those that somebody saw.
        let mut unseen: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for ((key, value), place) in &self.appends {
            let order = self.orders.get(key).map_or(&[][..], Vec::as_slice);
            if history[*place].answer().is_some() && !order.contains(value) {
                unseen.entry(*key).or_default().push(*place);
                if let Some(last) = order.last() {
                    graph.link(
                        self.appends[&(*key, *last)],
                        *place,
                        Reason::WriteWrite(*key),
                    );
                }
            }
        }
        for (place, operation) in history.iter().enumerate() {
            for (key, list, own) in reads(operation) {
                let outside = list.len() - own.len();
                if let Some(last) = outside.checked_sub(1) {
                    graph.link(
                        self.appends[&(key, list[last])],
                        place,
                        Reason::WriteRead(key),
                    );
                }
                match self.orders[&key].get(list.len()) {
                    Some(next) => {
                        graph.link(place, self.appends[&(key, *next)], Reason::ReadWrite(key))
                    }
                    None => {
                        for writer in unseen.get(&key).into_iter().flatten() {
                            graph.link(place, *writer, Reason::ReadWrite(key));
                        }
                    }
                }
            }
        }
        graph.add_time(history);
        graph
    }
}

/// Each read with its key, what it saw, and what of that the transaction itself had appended before.
fn reads(operation: &Operation<Call, Answer>) -> Vec<(u64, &Vec<u64>, Vec<u64>)> {
    let Some(answer) = operation.answer() else {
        return Vec::new();
    };
    let mut lists = answer.iter();
    let mut own: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut found = Vec::new();
    for mop in &operation.call {
        match mop {
            Mop::Append { key, value } => own.entry(*key).or_default().push(*value),
            Mop::Read { key } => {
                if let Some(list) = lists.next() {
                    found.push((*key, list, own.get(key).cloned().unwrap_or_default()));
                }
            }
        }
    }
    found
}

#[derive(Default)]
struct Graph {
    edges: BTreeMap<usize, BTreeMap<usize, Reason>>,
}

impl Graph {
    fn link(&mut self, from: usize, to: usize, reason: Reason) {
        if from != to {
            self.edges
                .entry(from)
                .or_default()
                .entry(to)
                .or_insert(reason);
        }
    }

    /// One node for each end, in a chain: an operation leads to its end's node, and the last node before an invocation leads to it.
    fn add_time(&mut self, history: &History) {
        let mut ends: Vec<(Moment, usize)> = history
            .iter()
            .enumerate()
            .filter(|(_, one)| one.answer().is_some())
            .map(|(place, one)| (one.ended, place))
            .collect();
        ends.sort_unstable();
        let node = |end: usize| history.len() + end;
        for (end, (_, place)) in ends.iter().enumerate() {
            self.link(*place, node(end), Reason::Time);
            if end + 1 < ends.len() {
                self.link(node(end), node(end + 1), Reason::Time);
            }
        }
        for (place, operation) in history.iter().enumerate() {
            let before = ends.partition_point(|(ended, _)| *ended < operation.invoked);
            if before > 0 && operation.may_have_happened() {
                self.link(node(before - 1), place, Reason::Time);
            }
        }
    }

    fn after(&self, node: usize) -> impl Iterator<Item = (usize, Reason)> + '_ {
        let edges = self.edges.get(&node).into_iter().flatten();
        edges.map(|(to, reason)| (*to, *reason))
    }

    /// Nodes that lie on some cycle: those which are left when sources are taken away again and again, from both ends.
    fn on_cycles(&self) -> BTreeSet<usize> {
        let forward = self.left_without_sources(false);
        let backward = self.left_without_sources(true);
        forward.intersection(&backward).copied().collect()
    }

    fn left_without_sources(&self, reversed: bool) -> BTreeSet<usize> {
        let mut incoming: BTreeMap<usize, usize> = BTreeMap::new();
        let mut outgoing: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (from, edges) in &self.edges {
            for to in edges.keys() {
                let (from, to) = if reversed { (to, from) } else { (from, to) };
                *incoming.entry(*to).or_default() += 1;
                incoming.entry(*from).or_default();
                outgoing.entry(*from).or_default().push(*to);
            }
        }
        let mut sources: Vec<usize> = incoming
            .iter()
            .filter(|(_, count)| **count == 0)
            .map(|(node, _)| *node)
            .collect();
        let mut left: BTreeSet<usize> = incoming.keys().copied().collect();
        while let Some(node) = sources.pop() {
            left.remove(&node);
            for to in outgoing.get(&node).into_iter().flatten() {
                if let Some(count) = incoming.get_mut(to) {
                    *count -= 1;
                    if *count == 0 {
                        sources.push(*to);
                    }
                }
            }
        }
        left
    }

    /// A shortest cycle through one of the first transactions that lie on any. Nodes from `transactions` on are moments.
    fn shortest_cycle(&self, transactions: usize) -> Option<Vec<(usize, Reason)>> {
        /// Starting points tried: a shorter cycle elsewhere tells no more.
        const STARTS: usize = 64;
        let on_cycles = self.on_cycles();
        let starts = on_cycles.iter().filter(|node| **node < transactions);
        let cycles = starts
            .take(STARTS)
            .filter_map(|start| self.cycle_through(*start, &on_cycles));
        cycles
            .map(|mut cycle| {
                cycle.retain(|(node, _)| *node < transactions);
                cycle
            })
            .min_by_key(Vec::len)
    }

    fn cycle_through(
        &self,
        start: usize,
        within: &BTreeSet<usize>,
    ) -> Option<Vec<(usize, Reason)>> {
        let mut from: BTreeMap<usize, (usize, Reason)> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for (to, reason) in self.after(node) {
                if to == start {
                    let mut path = vec![(node, reason)];
                    let mut at = node;
                    while at != start {
                        let (before, reason) = from[&at];
                        path.push((before, reason));
                        at = before;
                    }
                    path.reverse();
                    return Some(path);
                }
                if within.contains(&to) && !from.contains_key(&to) {
                    from.insert(to, (node, reason));
                    queue.push_back(to);
                }
            }
        }
        None
    }
}

/// A cycle in words; each entry is a transaction and why it comes before the next.
fn tell(history: &History, cycle: &[(usize, Reason)]) -> Anomaly {
    let anti = cycle
        .iter()
        .filter(|(_, reason)| matches!(reason, Reason::ReadWrite(_)))
        .count();
    let reads = cycle
        .iter()
        .any(|(_, reason)| matches!(reason, Reason::WriteRead(_)));
    let time = cycle.iter().any(|(_, reason)| *reason == Reason::Time);
    let kind = match (anti, reads, time) {
        (0, false, false) => "G0",
        (0, true, false) => "G1c",
        (1, _, false) => "G-single",
        (_, _, false) => "G2",
        (0, _, true) => "G1c-realtime",
        (1, _, true) => "G-single-realtime",
        (_, _, true) => "G2-realtime",
    };
    let steps = cycle.iter().map(|(place, reason)| {
        let operation = &history[*place];
        let why = match reason {
            Reason::WriteWrite(key) => format!("wrote {key} before"),
            Reason::WriteRead(key) => format!("wrote what was read of {key} by"),
            Reason::ReadWrite(key) => format!("did not see of {key} what was written by"),
            Reason::Time => "had ended before".to_owned(),
        };
        format!(
            "\n    #{place} [{}..{}] {:?} = {:?} {why}",
            operation.invoked,
            operation.ended,
            operation.call,
            operation.answer()
        )
    });
    Anomaly::new(
        kind,
        format!(
            "each comes before the next, the last before the first:{}",
            steps.collect::<String>()
        ),
    )
}
