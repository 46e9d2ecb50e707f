//! What others than a pod's own task may know of it: where its containers are, and whether they run.

use crate::report::PodRef;
use parking_lot::RwLock;
use pontoon_runtime::{ContainerId, Runtime};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// The newest attempt of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) id: ContainerId,
    pub(crate) running: bool,
}

/// A pod's place in the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) netns: Option<PathBuf>,
}

/// One pod, as far as others see it.
pub(crate) struct PodView {
    pub(crate) pod: PodRef,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) logs: PathBuf,
    pub(crate) place: RwLock<Place>,
    containers: watch::Sender<BTreeMap<String, Attempt>>,
}

impl fmt::Debug for PodView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodView")
            .field("pod", &self.pod)
            .finish_non_exhaustive()
    }
}

impl PodView {
    pub(crate) fn new(pod: PodRef, runtime: Arc<dyn Runtime>, logs: PathBuf) -> Self {
        Self {
            pod,
            runtime,
            logs,
            place: RwLock::default(),
            containers: watch::Sender::default(),
        }
    }

    pub(crate) fn attempt(&self, container: &str) -> Option<Attempt> {
        self.containers.borrow().get(container).cloned()
    }

    pub(crate) fn attempts(&self) -> BTreeMap<String, Attempt> {
        self.containers.borrow().clone()
    }

    /// Notes an attempt, unless a newer one is known.
    pub(crate) fn set(&self, container: &str, attempt: Attempt) {
        self.containers.send_if_modified(|all| {
            let newer = all
                .get(container)
                .is_some_and(|known| known.number > attempt.number);
            if newer {
                return false;
            }
            all.insert(container.to_owned(), attempt);
            true
        });
    }

    pub(crate) fn exited(&self, container: &str, number: u32) {
        self.containers
            .send_if_modified(|all| match all.get_mut(container) {
                Some(attempt) if attempt.number == number && attempt.running => {
                    attempt.running = false;
                    true
                }
                _ => false,
            });
    }

    /// Changes of attempts, for whoever follows one.
    pub(crate) fn subscribe(&self) -> watch::Receiver<BTreeMap<String, Attempt>> {
        self.containers.subscribe()
    }
}

impl PodView {
    /// Whether the attempt that a message says has ended is still believed to run.
    pub(crate) fn attempt_runs(&self, message: &crate::pod::Message) -> bool {
        let (name, number) = match message {
            crate::pod::Message::Exited(status) => (status.name.as_str(), status.attempt),
            crate::pod::Message::Vanished { container, attempt } => (container.as_str(), *attempt),
            _ => return false,
        };
        self.attempt(name)
            .is_some_and(|known| known.number == number && known.running)
    }
}
