//! The data plane of a machine that lets us make no namespace: pods share the node's own network.
//!
//! Nothing is asked of the kernel. Pods have the node's address, so two pods cannot listen on one port; service addresses do
//! not exist, and [`Dataplane::describe`] says so. It is what `pontoon dev` falls back on, so that a newcomer sees something run.

use std::net::IpAddr;
use std::path::PathBuf;

use async_trait::async_trait;
use parking_lot::Mutex;
use pontoon_api::name::PodUid;

use crate::dataplane::{
    Attached, Dataplane, DataplaneError, Description, PodAttachment, ServiceDelta, ServiceRule,
    check_limits, within,
};
use crate::ledger::Ledger;
use crate::limits::PORTS_PER_OBJECT_COUNT;

/// A [`Dataplane`] without isolation and without service addresses.
#[derive(Debug)]
pub struct HostDataplane {
    address: IpAddr,
    dns_address: IpAddr,
    why: String,
    /// Only remembers who is attached; its addresses mean nothing.
    ledger: Mutex<Ledger>,
}

impl HostDataplane {
    /// A data plane whose pods have the node's `address`. DNS is served at `dns_address`, one of the machine's own; `why` is a sentence
    /// that tells why there is nothing better.
    ///
    /// # Errors
    /// [`DataplaneError::Ledger`].
    pub fn start(
        state_dir: PathBuf,
        address: IpAddr,
        dns_address: IpAddr,
        why: String,
    ) -> Result<Self, DataplaneError> {
        std::fs::create_dir_all(&state_dir).map_err(|source| DataplaneError::Ledger {
            path: state_dir.clone(),
            source,
        })?;
        // Any network with room enough: the addresses in it are never used.
        let network = "0.0.0.0/8".parse().expect("this is a network");
        let ledger = Ledger::open(state_dir.join("shared-pods.json"), network)?;
        Ok(Self {
            address,
            dns_address,
            why,
            ledger: Mutex::new(ledger),
        })
    }

    fn attached_of(&self, uid: &str, namespace: &str, name: &str) -> Attached {
        Attached {
            uid: PodUid::new(uid),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ip: self.address,
            netns_path: None,
        }
    }
}

#[async_trait]
impl Dataplane for HostDataplane {
    async fn attach(&self, pod: &PodAttachment) -> Result<Attached, DataplaneError> {
        within(
            "host ports of a pod",
            pod.host_ports.len(),
            PORTS_PER_OBJECT_COUNT,
        )?;
        self.ledger
            .lock()
            .lease(pod.uid.as_str(), &pod.namespace, &pod.name, &pod.host_ports)?;
        Ok(self.attached_of(pod.uid.as_str(), &pod.namespace, &pod.name))
    }

    async fn detach(&self, uid: &PodUid) -> Result<(), DataplaneError> {
        self.ledger.lock().release(uid.as_str())
    }

    fn attached(&self) -> Vec<Attached> {
        let ledger = self.ledger.lock();
        ledger
            .iter()
            .map(|(uid, lease)| self.attached_of(uid, &lease.namespace, &lease.name))
            .collect()
    }

    async fn apply_services(&self, delta: ServiceDelta) -> Result<(), DataplaneError> {
        check_limits(&delta.upsert)
    }

    async fn replace_services(&self, services: Vec<ServiceRule>) -> Result<(), DataplaneError> {
        check_limits(&services)
    }

    fn node_address(&self) -> IpAddr {
        self.address
    }

    fn dns_address(&self) -> IpAddr {
        self.dns_address
    }

    fn describe(&self) -> Description {
        Description {
            kind: "host",
            gives: vec!["Pods reach whatever this machine reaches.".to_owned()],
            lacks: vec![
                self.why.clone(),
                format!(
                    "Pods share this machine's network and its address {}: no two can listen on one port.",
                    self.address
                ),
                "Service addresses cannot be reached; a service's endpoints can.".to_owned(),
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
        let dir = tempfile::tempdir().unwrap();
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let plane =
            HostDataplane::start(dir.path().to_owned(), local, local, "Because.".to_owned())
                .unwrap();
        conforms(&plane, Addresses::Shared).await;
    }

    #[tokio::test]
    async fn pods_have_the_nodes_address_and_are_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let start = || {
            HostDataplane::start(dir.path().to_owned(), local, local, "Because.".to_owned())
                .unwrap()
        };
        let pod = PodAttachment {
            uid: PodUid::new("a"),
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            hostname: "web".to_owned(),
            host_ports: Vec::new(),
        };
        let attached = start().attach(&pod).await.unwrap();
        assert_eq!((attached.ip, attached.netns_path.clone()), (local, None));
        let plane = start();
        assert_eq!(plane.attached(), [attached]);
        assert_eq!(plane.describe().lacks[0], "Because.");
        plane.teardown().await.unwrap();
        assert!(start().attached().is_empty());
    }
}
