//! A data plane without a kernel: it keeps the books as the real one does and can be told to fail.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use async_trait::async_trait;
use parking_lot::Mutex;
use pontoon_api::name::PodUid;

use crate::cidr::Cidr;
use crate::dataplane::{
    Attached, Dataplane, DataplaneError, Description, PodAttachment, ServiceDelta, ServiceKey,
    ServiceRule, check_limits, within,
};
use crate::ledger::{Lease, Ledger};
use crate::limits::PORTS_PER_OBJECT_COUNT;

/// A [`Dataplane`] that only remembers. Pods share the host's network (`netns_path` is `None`).
#[derive(Debug)]
pub struct FakeDataplane {
    state: Mutex<State>,
    node_address: Ipv4Addr,
    dns_address: Ipv4Addr,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    services: BTreeMap<ServiceKey, ServiceRule>,
    failures: VecDeque<DataplaneError>,
}

impl FakeDataplane {
    /// A fake whose pods get addresses of `pods`; the node takes the first, and DNS is said to be at `dns_address`.
    #[must_use]
    pub fn new(pods: Cidr, dns_address: Ipv4Addr) -> Self {
        let state = State {
            ledger: Ledger::in_memory(pods),
            services: BTreeMap::new(),
            failures: VecDeque::new(),
        };
        Self {
            state: Mutex::new(state),
            node_address: pods.nth(1).unwrap_or(pods.base()),
            dns_address,
        }
    }

    /// Makes the next attach, detach or change of services fail with `error`. Several calls queue up.
    pub fn fail_next(&self, error: DataplaneError) {
        self.state.lock().failures.push_back(error);
    }

    /// The services whose rules are in force.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceRule> {
        self.state.lock().services.values().cloned().collect()
    }
}

impl State {
    fn take_failure(&mut self) -> Result<(), DataplaneError> {
        self.failures.pop_front().map_or(Ok(()), Err)
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
impl Dataplane for FakeDataplane {
    async fn attach(&self, pod: &PodAttachment) -> Result<Attached, DataplaneError> {
        within(
            "host ports of a pod",
            pod.host_ports.len(),
            PORTS_PER_OBJECT_COUNT,
        )?;
        let mut state = self.state.lock();
        state.take_failure()?;
        let uid = pod.uid.as_str();
        state
            .ledger
            .lease(uid, &pod.namespace, &pod.name, &pod.host_ports)?;
        let lease = state.ledger.get(uid).expect("the lease was made above");
        Ok(attached(uid, lease))
    }

    async fn detach(&self, uid: &PodUid) -> Result<(), DataplaneError> {
        let mut state = self.state.lock();
        state.take_failure()?;
        state.ledger.release(uid.as_str())
    }

    fn attached(&self) -> Vec<Attached> {
        self.state
            .lock()
            .ledger
            .iter()
            .map(|(uid, lease)| attached(uid, lease))
            .collect()
    }

    async fn apply_services(&self, delta: ServiceDelta) -> Result<(), DataplaneError> {
        check_limits(&delta.upsert)?;
        let mut state = self.state.lock();
        state.take_failure()?;
        for key in &delta.remove {
            state.services.remove(key);
        }
        state.services.extend(
            delta
                .upsert
                .into_iter()
                .map(|rule| (rule.key.clone(), rule)),
        );
        Ok(())
    }

    async fn replace_services(&self, services: Vec<ServiceRule>) -> Result<(), DataplaneError> {
        check_limits(&services)?;
        let mut state = self.state.lock();
        state.take_failure()?;
        state.services = services
            .into_iter()
            .map(|rule| (rule.key.clone(), rule))
            .collect();
        Ok(())
    }

    fn node_address(&self) -> IpAddr {
        IpAddr::V4(self.node_address)
    }

    fn dns_address(&self) -> IpAddr {
        IpAddr::V4(self.dns_address)
    }

    fn describe(&self) -> Description {
        Description {
            kind: "fake",
            gives: vec!["Addresses are given out and services are remembered.".to_owned()],
            lacks: vec!["No packet ever travels: this data plane exists for tests.".to_owned()],
        }
    }

    async fn teardown(&self) -> Result<(), DataplaneError> {
        let mut state = self.state.lock();
        state.services.clear();
        state.ledger.clear()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conformance::{Addresses, conforms};

    fn pod(uid: &str) -> PodAttachment {
        PodAttachment {
            uid: PodUid::new(uid),
            namespace: "default".to_owned(),
            name: uid.to_owned(),
            hostname: uid.to_owned(),
            host_ports: Vec::new(),
        }
    }

    #[tokio::test]
    async fn it_conforms() {
        let plane = FakeDataplane::new(
            "10.244.0.0/24".parse().unwrap(),
            "10.96.0.10".parse().unwrap(),
        );
        conforms(&plane, Addresses::Own).await;
    }

    #[tokio::test]
    async fn attaching_twice_gives_one_address_and_a_planned_failure_changes_nothing() {
        let plane = FakeDataplane::new(
            "10.244.0.0/24".parse().unwrap(),
            "10.96.0.10".parse().unwrap(),
        );
        let first = plane.attach(&pod("a")).await.unwrap();
        assert_eq!(plane.attach(&pod("a")).await.unwrap(), first);
        plane.fail_next(DataplaneError::Kernel {
            operation: "test".to_owned(),
            detail: "planned".to_owned(),
        });
        assert!(plane.attach(&pod("b")).await.is_err());
        assert_eq!(plane.attached(), vec![first]);
        plane.detach(&PodUid::new("a")).await.unwrap();
        plane.detach(&PodUid::new("a")).await.unwrap();
        assert!(plane.attached().is_empty());
    }
}
