//! The agent's side: the runtime contract over attempts' directories, shims and control groups.
//!
//! What is held in memory is a copy of the directory, kept current by one task per running container that waits on the
//! shim's pidfd. Decisions stand here, steps in the modules below.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use parking_lot::Mutex;
use pontoon_runtime::limits::EVENT_QUEUE_EVENTS;
use pontoon_runtime::{
    Capabilities, ContainerId, ContainerSpec, ContainerState, ContainerStats, ContainerStatus,
    ExecSession, ExecSpec, Inventory, PullPolicy, Runtime, RuntimeError, RuntimeEvent,
    RuntimeVersion, SandboxId, SandboxSpec, SandboxState,
};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

mod container;
mod exec;
mod image;
mod launch;
mod probe;
mod recover;
mod sandbox;
mod stats;
mod stop;
mod watch;

use crate::cgroup::Cgroups;
use crate::layout::{self, StateDirectory};
use crate::limits::{LOCK_ATTEMPTS, LOCK_PAUSE_MILLIS};
use crate::plan::Isolation;
use crate::syscall;
use container::Container;
use sandbox::Sandbox;

/// What the process runtime is told by the binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessConfig {
    /// Directory of this runtime alone; made if absent, readable by its owner only.
    pub state_dir: PathBuf,
    /// Command that ends in [`crate::shim_main`], to which its arguments are appended: for the `pontoon` binary its
    /// own path and `__shim`.
    pub shim_command: Vec<OsString>,
    /// Control group under which all others are made, relative to each hierarchy's root, such as `pontoon`; `None`
    /// uses none, and no limit is enforced.
    pub cgroup_parent: Option<PathBuf>,
}

/// Why the runtime cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The state directory cannot be made or read.
    #[error("state directory {path}")]
    StateDirectory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another agent has the state directory.
    #[error("state directory {path} is in use by another agent")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The shim command does not work.
    #[error("shim command {command:?} does not work: {message}")]
    Shim {
        /// As configured.
        command: Vec<OsString>,
        /// What it did.
        message: String,
    },
}

/// Pods as processes of the node.
pub struct ProcessRuntime {
    inner: Arc<Inner>,
    /// Held open: its lock says that the directory is taken.
    _lock: File,
}

/// What the watching tasks share with the runtime. They hold it weakly, so that dropping the runtime lets go of the
/// state directory; the containers run on.
struct Inner {
    state: StateDirectory,
    shim_command: Vec<OsString>,
    cgroups: Option<Cgroups>,
    isolation: Isolation,
    capabilities: Capabilities,
    table: Mutex<Table>,
    events: broadcast::Sender<RuntimeEvent>,
}

#[derive(Default)]
struct Table {
    sandboxes: BTreeMap<SandboxId, Arc<Sandbox>>,
    containers: BTreeMap<ContainerId, Arc<Container>>,
}

impl ProcessRuntime {
    /// Takes the state directory, finds what runs, and probes what the node permits.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(config: ProcessConfig) -> Result<Self, OpenError> {
        let failed = |source| OpenError::StateDirectory {
            path: config.state_dir.clone(),
            source,
        };
        let state = StateDirectory::new(config.state_dir.clone());
        layout::make_private_directory(&state.sandboxes()).map_err(failed)?;
        let lock = take(&state, &config.state_dir).await?;
        let report = probe::ask(&config.shim_command)
            .await
            .map_err(|message| OpenError::Shim {
                command: config.shim_command.clone(),
                message,
            })?;
        let cgroups = match &config.cgroup_parent {
            Some(parent) => Some(Cgroups::detect(parent).map_err(failed)?),
            None => None,
        };
        let (events, _) = broadcast::channel(EVENT_QUEUE_EVENTS);
        let inner = Arc::new(Inner {
            capabilities: probe::capabilities(&report, cgroups.as_ref()),
            isolation: probe::isolation(&report),
            cgroups: cgroups.filter(Cgroups::is_usable),
            shim_command: config.shim_command.clone(),
            state,
            table: Mutex::default(),
            events,
        });
        recover::recover(&inner).await.map_err(failed)?;
        Ok(Self { inner, _lock: lock })
    }
}

/// Takes the state directory's lock. A process that the former owner was forking when it died holds a copy of the lock
/// until it executes its program, so one refusal is not believed.
async fn take(state: &StateDirectory, path: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::StateDirectory {
        path: path.to_owned(),
        source,
    };
    let lock = layout::open_lock(&state.lock()).map_err(failed)?;
    for _ in 0..LOCK_ATTEMPTS {
        if syscall::try_lock(&lock).map_err(|errno| failed(errno.into()))? {
            return Ok(lock);
        }
        tokio::time::sleep(Duration::from_millis(LOCK_PAUSE_MILLIS)).await;
    }
    Err(OpenError::InUse {
        path: path.to_owned(),
    })
}

impl Inner {
    fn sandbox(&self, id: &SandboxId) -> Option<Arc<Sandbox>> {
        self.table.lock().sandboxes.get(id).cloned()
    }

    fn container(&self, id: &ContainerId) -> Result<Arc<Container>, RuntimeError> {
        let found = self.table.lock().containers.get(id).cloned();
        found.ok_or_else(|| RuntimeError::NotFound {
            what: format!("container {id}"),
        })
    }

    fn containers_of(&self, sandbox: &SandboxId) -> Vec<Arc<Container>> {
        let table = self.table.lock();
        table
            .containers
            .values()
            .filter(|container| container.sandbox == *sandbox)
            .cloned()
            .collect()
    }

    fn announce(&self, status: ContainerStatus) {
        // An error means that nobody listens; who asks later lists.
        let _ = self
            .events
            .send(RuntimeEvent::ContainerExited(Box::new(status)));
    }
}

/// A failure of the node that may pass.
fn unavailable(what: impl std::fmt::Display, error: impl std::fmt::Display) -> RuntimeError {
    RuntimeError::Unavailable {
        message: format!("{what}: {error}"),
    }
}

/// Runs a short piece of file work where it may block. Dropping the caller's future does not interrupt it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RuntimeError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| unavailable("file work", error))
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn handler(&self) -> &str {
        "process"
    }

    async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
        Ok(RuntimeVersion {
            name: "process".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    async fn ensure_image(&self, image: &str, _policy: PullPolicy) -> Result<String, RuntimeError> {
        image::judge(image)
    }

    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxId, RuntimeError> {
        let (inner, spec) = (self.inner.clone(), spec.clone());
        blocking(move || sandbox::create(&inner, spec, Timestamp::now())).await?
    }

    async fn start_container(
        &self,
        sandbox: &SandboxId,
        spec: &ContainerSpec,
    ) -> Result<ContainerStatus, RuntimeError> {
        let (inner, sandbox, spec) = (self.inner.clone(), sandbox.clone(), spec.clone());
        // In a task of its own, so that a caller who gives up does not leave a start half-way.
        let start = tokio::spawn(async move { launch::start(&inner, &sandbox, spec).await });
        start.await.map_err(|error| unavailable("start", error))?
    }

    async fn stop_container(
        &self,
        id: &ContainerId,
        grace: Duration,
    ) -> Result<ContainerStatus, RuntimeError> {
        let container = self.inner.container(id)?;
        stop::stop(&self.inner, &container, grace).await?;
        Ok(container.status())
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let Ok(container) = self.inner.container(id) else {
            return Ok(());
        };
        stop::remove_container(&self.inner, &container).await
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        stop::stop_sandbox(&self.inner, id).await
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        stop::remove_sandbox(&self.inner, id).await
    }

    async fn list(&self) -> Result<Inventory, RuntimeError> {
        let (sandboxes, containers): (Vec<_>, Vec<_>) = {
            let table = self.inner.table.lock();
            (
                table.sandboxes.values().cloned().collect(),
                table.containers.values().cloned().collect(),
            )
        };
        Ok(Inventory {
            sandboxes: sandboxes.iter().map(|sandbox| sandbox.status()).collect(),
            containers: containers
                .iter()
                .map(|container| container.status())
                .collect(),
        })
    }

    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus, RuntimeError> {
        Ok(self.inner.container(id)?.status())
    }

    fn events(&self) -> BoxStream<'static, RuntimeEvent> {
        let events = BroadcastStream::new(self.inner.events.subscribe());
        events
            .map(|event| event.unwrap_or(RuntimeEvent::Lost))
            .boxed()
    }

    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<ExecSession, RuntimeError> {
        let container = self.inner.container(id)?;
        exec::exec(&self.inner, &container, spec).await
    }

    async fn stats(&self, id: &ContainerId) -> Result<ContainerStats, RuntimeError> {
        let container = self.inner.container(id)?;
        let ContainerState::Running { pid: Some(pid), .. } = container.status().state else {
            return Err(RuntimeError::NotRunning {
                what: format!("container {id}"),
            });
        };
        let group = self.inner.group_of(&container);
        blocking(move || stats::measure(group.as_ref(), pid, Timestamp::now())).await
    }
}

impl std::fmt::Debug for ProcessRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let table = self.inner.table.lock();
        let ready = table
            .sandboxes
            .values()
            .filter(|sandbox| sandbox.status().state == SandboxState::Ready)
            .count();
        f.debug_struct("ProcessRuntime")
            .field("state", &self.inner.state)
            .field("ready_sandboxes", &ready)
            .finish()
    }
}
