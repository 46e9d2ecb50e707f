//! One attempt of one container in memory, and where its files are.

use parking_lot::Mutex;
use pontoon_runtime::{ContainerId, ContainerState, ContainerStatus, Exit, SandboxId};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::sync::watch;

use super::Inner;
use crate::cgroup::Group;
use crate::layout::{self, ContainerDirectory};

/// The shim of a running container.
#[derive(Debug)]
pub(super) struct Shim {
    /// Readable once it has ended; signals reach exactly this process.
    pub pidfd: OwnedFd,
}

pub(super) struct Container {
    pub id: ContainerId,
    pub sandbox: SandboxId,
    pub directory: ContainerDirectory,
    /// Name of its control group below the sandbox's.
    pub group: String,
    /// Held while it is being started, so that of several callers one starts and the others see the outcome.
    pub gate: tokio::sync::Mutex<()>,
    state: Mutex<Inside>,
    ended: watch::Sender<bool>,
}

struct Inside {
    status: ContainerStatus,
    shim: Option<Arc<Shim>>,
}

impl Container {
    pub(super) fn new(status: ContainerStatus, directory: ContainerDirectory) -> Self {
        let ended = matches!(status.state, ContainerState::Exited(_));
        Self {
            id: status.id.clone(),
            sandbox: status.sandbox.clone(),
            group: format!("{}-{}", status.name, status.attempt),
            directory,
            gate: tokio::sync::Mutex::new(()),
            state: Mutex::new(Inside { status, shim: None }),
            ended: watch::Sender::new(ended),
        }
    }

    pub(super) fn status(&self) -> ContainerStatus {
        self.state.lock().status.clone()
    }

    pub(super) fn shim(&self) -> Option<Arc<Shim>> {
        self.state.lock().shim.clone()
    }

    pub(super) fn set_running(
        &self,
        state: ContainerState,
        warnings: Vec<String>,
        shim: Arc<Shim>,
    ) {
        let mut inside = self.state.lock();
        inside.status.state = state;
        inside.status.warnings = warnings;
        inside.shim = Some(shim);
    }

    /// Records the end; false when it was recorded before.
    pub(super) fn set_exited(&self, exit: Exit) -> bool {
        {
            let mut inside = self.state.lock();
            if matches!(inside.status.state, ContainerState::Exited(_)) {
                return false;
            }
            inside.status.state = ContainerState::Exited(exit);
            inside.shim = None;
        }
        self.ended.send_replace(true);
        true
    }

    /// Resolves once the end is recorded.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ended = self.ended.subscribe();
        async move {
            // An error means that the container was removed, hence has ended.
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }
}

impl Inner {
    /// The container's control group, where there are any.
    pub(super) fn group_of(&self, container: &Container) -> Option<Group> {
        let cgroups = self.cgroups.as_ref()?;
        Some(cgroups.group(container.sandbox.as_str(), Some(&container.group)))
    }
}

/// Name of an attempt.
pub(super) fn id_of(sandbox: &SandboxId, name: &str, attempt: u32) -> ContainerId {
    layout::container_id(sandbox, name, attempt)
}
