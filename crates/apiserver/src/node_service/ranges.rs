//! Which part of the pods' network each node has: a /24, claimed as services claim addresses.

use crate::error::VerbError;
use crate::services::{RangeError, ServiceAddresses};
use crate::verbs::encoded;
use pontoon_api::claim;
use pontoon_state::{Key, Precondition, Transaction, View, Write};
use serde_json::json;
use std::net::Ipv4Addr;

/// Bits of a node's range: 254 pods, more than Kubernetes' 110.
const NODE_PREFIX: u8 = 24;

/// The pods' network, cut into nodes' ranges.
#[derive(Debug, Clone, Copy)]
pub(super) struct PodRanges {
    first: u32,
    count: u32,
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
            Ok(Self { first, count })
        }
    }

    fn range(&self, index: u32) -> String {
        format!(
            "{}/{NODE_PREFIX}",
            Ipv4Addr::from(self.first + (index << (32 - NODE_PREFIX)))
        )
    }

    /// A range that no living node has, and its claim in the transaction.
    ///
    /// # Errors
    /// 500 when the network is full.
    pub(super) fn claim(
        &self,
        view: &View,
        node: &str,
        transaction: &mut Transaction,
    ) -> Result<String, VerbError> {
        for index in 0..self.count {
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
            return Ok(range);
        }
        Err(VerbError::Internal(
            "every pod range is taken by a node".into(),
        ))
    }
}
