//! The data plane of a node that is only played: addresses are given out of the node's range, and no packet ever travels.
//!
//! Nothing is asked of the kernel and nothing is written. Services are checked and forgotten: thousands of nodes in one
//! process would each keep all of them, and nobody reads them.

use crate::cidr::Cidr;
use crate::dataplane::{
    Attached, Dataplane, DataplaneError, Description, PodAttachment, ServiceDelta, ServiceRule,
    check_limits, within,
};
use crate::ledger::{Lease, Ledger};
use crate::limits::PORTS_PER_OBJECT_COUNT;
use async_trait::async_trait;
use parking_lot::Mutex;
use pontoon_api::name::PodUid;
use std::net::{IpAddr, Ipv4Addr};

/// A [`Dataplane`] that gives addresses and nothing else.
#[derive(Debug)]
pub struct HollowDataplane {
    ledger: Mutex<Ledger>,
    node_address: Ipv4Addr,
    dns_address: Ipv4Addr,
}

impl HollowDataplane {
    /// A data plane whose pods get addresses of `pods`, the node itself the first of them. `dns_address` is what pods would have as their
    /// resolver.
    #[must_use]
    pub fn new(pods: Cidr, dns_address: Ipv4Addr) -> Self {
        Self {
            ledger: Mutex::new(Ledger::in_memory(pods)),
            node_address: pods.nth(1).unwrap_or(pods.base()),
            dns_address,
        }
    }
}

fn attached(uid: &str, lease: &Lease) -> Attached {
    Attached {
        uid: PodUid::new(uid),
        namespace: lease.namespace.clone(),
        name: lease.name.clone(),
        ip: IpAddr::V4(lease.ip),
        netns_path: None,
    }
}

#[async_trait]
impl Dataplane for HollowDataplane {
    async fn attach(&self, pod: &PodAttachment) -> Result<Attached, DataplaneError> {
        within(
            "host ports of a pod",
            pod.host_ports.len(),
            PORTS_PER_OBJECT_COUNT,
        )?;
        let (mut ledger, uid) = (self.ledger.lock(), pod.uid.as_str());
        ledger.lease(uid, &pod.namespace, &pod.name, &pod.host_ports)?;
        let lease = ledger.get(uid).expect("the lease was made above");
        Ok(attached(uid, lease))
    }

    async fn detach(&self, uid: &PodUid) -> Result<(), DataplaneError> {
        self.ledger.lock().release(uid.as_str())
    }

    fn attached(&self) -> Vec<Attached> {
        let ledger = self.ledger.lock();
        ledger
            .iter()
            .map(|(uid, lease)| attached(uid, lease))
            .collect()
    }

    async fn apply_services(&self, delta: ServiceDelta) -> Result<(), DataplaneError> {
        check_limits(&delta.upsert)
    }

    async fn replace_services(&self, services: Vec<ServiceRule>) -> Result<(), DataplaneError> {
        check_limits(&services)
    }

    fn node_address(&self) -> IpAddr {
        IpAddr::V4(self.node_address)
    }

    fn dns_address(&self) -> IpAddr {
        IpAddr::V4(self.dns_address)
    }

    fn describe(&self) -> Description {
        Description {
            kind: "hollow",
            gives: vec!["Pods have addresses.".to_owned()],
            lacks: vec![
                "No packet travels to or from a pod: the node is hollow, and nothing runs on it."
                    .to_owned(),
            ],
        }
    }

    async fn teardown(&self) -> Result<(), DataplaneError> {
        self.ledger.lock().clear()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conformance::{Addresses, conforms};

    #[tokio::test]
    async fn it_conforms() {
        let pods = "10.244.3.0/24".parse().unwrap();
        let plane = HollowDataplane::new(pods, Ipv4Addr::new(10, 96, 0, 10));
        assert_eq!(plane.node_address().to_string(), "10.244.3.1");
        conforms(&plane, Addresses::Own).await;
    }
}
