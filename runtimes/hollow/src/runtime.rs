//! The runtime contract over a map.

use crate::limits::EVENTS_COUNT;
use crate::script::Script;
use crate::talk;
use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;
use parking_lot::Mutex;
use pontoon_runtime::{
    Capabilities, Capability, ContainerId, ContainerSpec, ContainerState, ContainerStats,
    ContainerStatus, ExecSession, ExecSpec, Exit, ExitReason, Inventory, PullPolicy,
    ResourceLimits, Runtime, RuntimeError, RuntimeEvent, RuntimeVersion, SandboxId, SandboxSpec,
    SandboxState, SandboxStatus, Support,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// The name a RuntimeClass uses.
const HANDLER: &str = "hollow";

/// A signal's number above this is an exit code.
const SIGNAL_BASE: i32 = 128;

/// What a container that is asked to end does: it has no handler for TERM.
const TERMINATED: i32 = SIGNAL_BASE + 15;

/// What one that gets no grace does.
const KILLED: i32 = SIGNAL_BASE + 9;

/// A source of time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

#[derive(Default)]
struct Node {
    sandboxes: BTreeMap<SandboxId, SandboxStatus>,
    containers: BTreeMap<ContainerId, ContainerStatus>,
}

/// One node that is played.
pub struct HollowRuntime {
    node: Arc<Mutex<Node>>,
    events: broadcast::Sender<RuntimeEvent>,
    clock: Clock,
    capabilities: Capabilities,
}

impl fmt::Debug for HollowRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HollowRuntime")
            .field("containers", &self.node.lock().containers.len())
            .finish_non_exhaustive()
    }
}

impl HollowRuntime {
    /// An empty node whose times come from `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let why =
            "Pods are hollow: nothing is started, so nothing is isolated, limited or measured.";
        let lacks = [
            Capability::NetworkNamespace,
            Capability::MountNamespace,
            Capability::RootFilesystem,
            Capability::PidNamespace,
            Capability::UtsNamespace,
            Capability::MemoryLimit,
            Capability::CpuLimit,
            Capability::PidsLimit,
            Capability::KillDescendants,
            Capability::RunAsUser,
            Capability::Stats,
        ];
        let entries = lacks.map(|capability| (capability, Support::No(why.to_owned())));
        Self {
            node: Arc::default(),
            events: broadcast::channel(EVENTS_COUNT).0,
            clock,
            capabilities: Capabilities::new(entries.into()),
        }
    }

    /// Records an attempt as running. `Err` has the status of one that exists.
    fn admit(
        &self,
        sandbox: &SandboxId,
        spec: &ContainerSpec,
    ) -> Result<Result<ContainerStatus, ContainerStatus>, RuntimeError> {
        let mut node = self.node.lock();
        let ready = node
            .sandboxes
            .get(sandbox)
            .filter(|found| found.state == SandboxState::Ready);
        let pod_uid = match ready {
            Some(found) => found.pod.uid.clone(),
            None => {
                return Err(RuntimeError::NotFound {
                    what: format!("sandbox {sandbox}"),
                });
            }
        };
        let id = ContainerId::new(format!("{sandbox}_{}_{}", spec.name, spec.attempt));
        if let Some(existing) = node.containers.get(&id) {
            return Ok(Err(existing.clone()));
        }
        let status = ContainerStatus {
            id: id.clone(),
            sandbox: sandbox.clone(),
            pod_uid,
            name: spec.name.clone(),
            attempt: spec.attempt,
            image: spec.image.clone(),
            state: ContainerState::Running {
                pid: None,
                started_at: (self.clock)(),
            },
            warnings: warnings(&spec.limits),
        };
        node.containers.insert(id, status.clone());
        Ok(Ok(status))
    }

    fn end(&self, id: &ContainerId, code: i32) -> Option<ContainerStatus> {
        end(&self.node, &self.events, &self.clock, id, code)
    }

    fn end_later(&self, id: ContainerId, code: i32, after: Duration) {
        let node: Weak<Mutex<Node>> = Arc::downgrade(&self.node);
        let (events, clock) = (self.events.clone(), Arc::clone(&self.clock));
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if let Some(node) = node.upgrade() {
                end(&node, &events, &clock, &id, code);
            }
        });
    }

    fn running(&self, id: &ContainerId) -> Result<String, RuntimeError> {
        let node = self.node.lock();
        let container = node.containers.get(id).ok_or_else(|| not_found(id))?;
        match container.state {
            ContainerState::Running { .. } => Ok(container.name.clone()),
            ContainerState::Created | ContainerState::Exited(_) => Err(RuntimeError::NotRunning {
                what: format!("container {id}"),
            }),
        }
    }
}

/// Moves a container to its end, and tells; `None` when it is there already, or gone.
fn end(
    node: &Mutex<Node>,
    events: &broadcast::Sender<RuntimeEvent>,
    clock: &Clock,
    id: &ContainerId,
    code: i32,
) -> Option<ContainerStatus> {
    let status = {
        let mut node = node.lock();
        let container = node.containers.get_mut(id)?;
        let ContainerState::Running { started_at, .. } = container.state else {
            return None;
        };
        container.state = ContainerState::Exited(Exit {
            exit_code: code,
            signal: (code > SIGNAL_BASE).then_some(code - SIGNAL_BASE),
            reason: if code == 0 {
                ExitReason::Completed
            } else {
                ExitReason::Error
            },
            message: String::new(),
            started_at: Some(started_at),
            finished_at: clock(),
        });
        container.clone()
    };
    // An error means that nobody listens, which is fine: events are hints.
    let _ = events.send(RuntimeEvent::ContainerExited(Box::new(status.clone())));
    Some(status)
}

fn not_found(id: &ContainerId) -> RuntimeError {
    RuntimeError::NotFound {
        what: format!("container {id}"),
    }
}

/// What was asked and is not there, in one sentence.
fn warnings(limits: &ResourceLimits) -> Vec<String> {
    let asked = [
        ("cpu", limits.cpu_limit_millis.is_some()),
        ("memory", limits.memory_limit_bytes.is_some()),
        ("pids", limits.pids_limit.is_some()),
    ];
    let asked: Vec<&str> = asked
        .iter()
        .filter_map(|(what, is)| is.then_some(*what))
        .collect();
    if asked.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "The limit on {} is not enforced: the pod is hollow.",
        asked.join(", ")
    )]
}

#[async_trait]
impl Runtime for HollowRuntime {
    fn handler(&self) -> &str {
        HANDLER
    }

    async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
        Ok(RuntimeVersion {
            name: HANDLER.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn uses_files(&self) -> bool {
        false
    }

    async fn ensure_image(&self, image: &str, _policy: PullPolicy) -> Result<String, RuntimeError> {
        if image.is_empty() || image.contains(char::is_whitespace) {
            return Err(RuntimeError::InvalidImageName {
                image: image.to_owned(),
                message: "a reference is not empty and has no spaces".to_owned(),
            });
        }
        Ok(format!("{HANDLER}://{image}"))
    }

    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxId, RuntimeError> {
        let id = SandboxId::new(format!("{}-{}", spec.pod.uid, spec.attempt));
        let mut node = self.node.lock();
        node.sandboxes
            .entry(id.clone())
            .or_insert_with(|| SandboxStatus {
                id: id.clone(),
                pod: spec.pod.clone(),
                attempt: spec.attempt,
                state: SandboxState::Ready,
                created_at: (self.clock)(),
            });
        Ok(id)
    }

    async fn start_container(
        &self,
        sandbox: &SandboxId,
        spec: &ContainerSpec,
    ) -> Result<ContainerStatus, RuntimeError> {
        let status = match self.admit(sandbox, spec)? {
            Ok(started) => started,
            Err(existing) => return Ok(existing),
        };
        match Script::of(&spec.command, &spec.args) {
            Script::Runs => Ok(status),
            Script::Exits { code, after } if after.is_zero() => {
                Ok(self.end(&status.id, code).unwrap_or(status))
            }
            Script::Exits { code, after } => {
                self.end_later(status.id.clone(), code, after);
                Ok(status)
            }
        }
    }

    async fn stop_container(
        &self,
        id: &ContainerId,
        grace: Duration,
    ) -> Result<ContainerStatus, RuntimeError> {
        let code = if grace.is_zero() { KILLED } else { TERMINATED };
        match self.end(id, code) {
            Some(status) => Ok(status),
            None => self.container_status(id).await,
        }
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let mut node = self.node.lock();
        let state = node.containers.get(id).map(|container| &container.state);
        if let Some(ContainerState::Running { .. }) = state {
            return Err(RuntimeError::Busy {
                what: format!("container {id}"),
            });
        }
        node.containers.remove(id);
        Ok(())
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let ids: Vec<ContainerId> = {
            let mut node = self.node.lock();
            if let Some(sandbox) = node.sandboxes.get_mut(id) {
                sandbox.state = SandboxState::NotReady;
            }
            let inside = node.containers.values().filter(|c| c.sandbox == *id);
            inside.map(|container| container.id.clone()).collect()
        };
        for container in ids {
            self.end(&container, KILLED);
        }
        Ok(())
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.stop_sandbox(id).await?;
        let mut node = self.node.lock();
        node.containers
            .retain(|_, container| container.sandbox != *id);
        node.sandboxes.remove(id);
        Ok(())
    }

    async fn list(&self) -> Result<Inventory, RuntimeError> {
        let node = self.node.lock();
        Ok(Inventory {
            sandboxes: node.sandboxes.values().cloned().collect(),
            containers: node.containers.values().cloned().collect(),
        })
    }

    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus, RuntimeError> {
        let node = self.node.lock();
        node.containers
            .get(id)
            .cloned()
            .ok_or_else(|| not_found(id))
    }

    async fn sandbox_status(&self, id: &SandboxId) -> Result<SandboxStatus, RuntimeError> {
        let node = self.node.lock();
        let found = node.sandboxes.get(id).cloned();
        found.ok_or_else(|| RuntimeError::NotFound {
            what: format!("sandbox {id}"),
        })
    }

    fn events(&self) -> BoxStream<'static, RuntimeEvent> {
        let events = BroadcastStream::new(self.events.subscribe());
        events
            .map(|event| event.unwrap_or(RuntimeEvent::Lost))
            .boxed()
    }

    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<ExecSession, RuntimeError> {
        Ok(talk::session(&self.running(id)?, spec))
    }

    async fn stats(&self, id: &ContainerId) -> Result<ContainerStats, RuntimeError> {
        self.running(id)?;
        Err(RuntimeError::Unsupported {
            what: format!("usage of container {id}: it is hollow and uses nothing"),
        })
    }
}
