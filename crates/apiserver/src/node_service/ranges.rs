//! Which part of the pods' network each node has: a /24, claimed as services claim addresses.
//!
//! A node that had one gets it again if nobody else has it: its data plane and pods live in it, also when its object was deleted
//! in between. Everybody else gets the next free one, in order.

use crate::error::VerbError;
use crate::services::{RangeError, ServiceAddresses};
use crate::verbs::encoded;
use pontoon_api::claim;
use pontoon_state::{Key, Precondition, Transaction, View, Write};
use serde_json::json;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bits of a node's range: 254 pods, more than Kubernetes' 110.
const NODE_PREFIX: u8 = 24;

/// The pods' network, cut into nodes' ranges.
#[derive(Debug)]
pub(super) struct PodRanges {
    first: u32,
    count: u32,
    /// Where to look first: behind the range that was given last, as Kubernetes does. It is a hint that saves looking at all of them.
    next: AtomicU32,
}

impl PodRanges {
    pub(super) fn parse(cidr: &str) -> Result<Self, RangeError> {
        // The same syntax and bounds as the services' range; more than /24 holds no node.
        let range = ServiceAddresses::parse(cidr)?;
        let (first, size) = range.bounds();
        let count = size >> (32 - NODE_PREFIX);
        if count == 0 {
            Err(RangeError(cidr.to_owned()))
        } else {
            Ok(Self {
                first,
                count,
                next: AtomicU32::new(0),
            })
        }
    }

    fn range(&self, index: u32) -> String {
        format!(
            "{}/{NODE_PREFIX}",
            Ipv4Addr::from(self.first + (index << (32 - NODE_PREFIX)))
        )
    }

    /// A range's index, if it is one of ours.
    fn index(&self, range: &str) -> Option<u32> {
        let address: Ipv4Addr = range.split('/').next()?.parse().ok()?;
        let index = u32::from(address).checked_sub(self.first)? >> (32 - NODE_PREFIX);
        (index < self.count && self.range(index) == range).then_some(index)
    }

    /// A range that no other living node has, and its claim in the transaction: `wanted`, if that is free.
    ///
    /// # Errors
    /// 500 when the network is full.
    pub(super) fn claim(
        &self,
        view: &View,
        node: &str,
        wanted: &str,
        transaction: &mut Transaction,
    ) -> Result<String, VerbError> {
        let next = self.next.load(Ordering::Relaxed);
        let in_turn = (0..self.count).map(|turn| (next + turn) % self.count);
        for index in self.index(wanted).into_iter().chain(in_turn) {
            let range = self.range(index);
            let key = Key::new(
                claim::RESOURCE,
                "",
                &format!("pod-cidr.{}", range.replace('/', "-")),
            );
            let guard = match view.get(&key) {
                None => Precondition::Absent(key.clone()),
                Some(held) => {
                    let owner = held.value()?["node"].as_str().unwrap_or("").to_owned();
                    let alive = owner != node && view.get(&Key::new("nodes", "", &owner)).is_some();
                    if alive {
                        continue;
                    }
                    Precondition::Revision(key.clone(), held.revision)
                }
            };
            let record = json!({
                "apiVersion": "claims.pontoon/v1", "kind": "Claim", "metadata": {"name": &*key.name}, "node": node,
            });
            transaction.preconditions.push(guard);
            transaction.writes.push(Write::Put(key, encoded(&record)?));
            if range != wanted {
                self.next.store((index + 1) % self.count, Ordering::Relaxed);
            }
            return Ok(range);
        }
        Err(VerbError::Internal(
            "every pod range is taken by a node".into(),
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pontoon_state::{Replica as _, Solo};

    async fn claimed(solo: &Solo, ranges: &PodRanges, node: &str, wanted: &str) -> String {
        let mut transaction = Transaction::default();
        let range = ranges
            .claim(&solo.view(), node, wanted, &mut transaction)
            .unwrap();
        let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}});
        let key = Key::new("nodes", "", node);
        let transaction = transaction.put(key, encoded(&object).unwrap());
        solo.propose(transaction).await.unwrap();
        range
    }

    #[tokio::test]
    async fn nodes_get_ranges_in_order_and_one_that_comes_back_gets_its_own() {
        let solo = Solo::new();
        let ranges = PodRanges::parse("10.244.0.0/22").unwrap();
        assert_eq!(claimed(&solo, &ranges, "a", "").await, "10.244.0.0/24");
        assert_eq!(claimed(&solo, &ranges, "b", "").await, "10.244.1.0/24");
        let gone = Transaction::default();
        let gone = Transaction {
            writes: vec![Write::Delete(Key::new("nodes", "", "a"))],
            ..gone
        };
        solo.propose(gone).await.unwrap();
        assert_eq!(claimed(&solo, &ranges, "c", "").await, "10.244.2.0/24");
        let own = claimed(&solo, &ranges, "a", "10.244.0.0/24").await;
        assert_eq!(own, "10.244.0.0/24");
        let taken = claimed(&solo, &ranges, "d", "10.244.1.0/24").await;
        assert_eq!(taken, "10.244.3.0/24", "b lives and keeps its range");
        let foreign = PodRanges::parse("10.244.0.0/22").unwrap();
        assert_eq!(foreign.index("10.9.0.0/24"), None);
        assert_eq!(foreign.index("10.244.1.0/25"), None);
    }
}
