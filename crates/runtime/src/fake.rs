//! A runtime in memory, for tests of the agent.
//!
//! Containers run until told to end, unless their command is a script of the conformance suite
//! ([`crate::conformance::program::Program::scripted`]). Any call can be made to fail. It starts no process and
//! touches no file but the log of a scripted program.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use crate::contract::Runtime;
use crate::contract::capabilities::{Capabilities, Capability, Support};
use crate::contract::exec::{ExecSession, ExecSpec};
use crate::contract::id::{ContainerId, SandboxId};
use crate::contract::spec::{ContainerSpec, PullPolicy, SandboxSpec};
use crate::contract::status::{
    ContainerState, ContainerStats, ContainerStatus, Exit, ExitReason, Inventory, RuntimeEvent,
    RuntimeVersion, SandboxState, SandboxStatus,
};
use crate::error::RuntimeError;
use crate::limits::{EVENT_QUEUE_EVENTS, FAKE_CALLS};

mod interpreter;

use interpreter::Behaviour;

/// A call of [`Runtime`], to be failed or counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FakeCall {
    /// [`Runtime::version`]
    Version,
    /// [`Runtime::ensure_image`]
    EnsureImage,
    /// [`Runtime::create_sandbox`]
    CreateSandbox,
    /// [`Runtime::start_container`]
    StartContainer,
    /// [`Runtime::stop_container`]
    StopContainer,
    /// [`Runtime::remove_container`]
    RemoveContainer,
    /// [`Runtime::stop_sandbox`]
    StopSandbox,
    /// [`Runtime::remove_sandbox`]
    RemoveSandbox,
    /// [`Runtime::list`]
    List,
    /// [`Runtime::exec`]
    Exec,
    /// [`Runtime::stats`]
    Stats,
}

struct Container {
    spec: ContainerSpec,
    status: ContainerStatus,
    behaviour: Behaviour,
}

struct Sandbox {
    spec: SandboxSpec,
    status: SandboxStatus,
}

#[derive(Default)]
struct Node {
    sandboxes: BTreeMap<SandboxId, Sandbox>,
    containers: BTreeMap<ContainerId, Container>,
    missing_images: BTreeSet<String>,
    failures: Vec<(FakeCall, RuntimeError)>,
    calls: VecDeque<(FakeCall, String)>,
    exec_results: BTreeMap<String, (i32, String)>,
    next_pid: i32,
}

/// A source of time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A runtime in memory. A clone is a second agent's view of the same node.
#[derive(Clone)]
pub struct FakeRuntime {
    node: Arc<Mutex<Node>>,
    events: broadcast::Sender<RuntimeEvent>,
    clock: Clock,
    capabilities: Arc<Capabilities>,
}

impl fmt::Debug for FakeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeRuntime")
            .field("containers", &self.node.lock().containers.len())
            .finish()
    }
}

impl FakeRuntime {
    /// An empty node whose times come from `clock`.
    pub fn new(clock: Clock) -> Self {
        let (events, _) = broadcast::channel(EVENT_QUEUE_EVENTS);
        let absent = |what: &str| Support::No(format!("The fake runtime has no {what}."));
        let capabilities = Capabilities::new(vec![
            (Capability::MountNamespace, absent("mounts")),
            (Capability::CpuLimit, absent("cpu limits")),
            (Capability::MemoryLimit, Support::Yes("scripted".to_owned())),
            (Capability::KillDescendants, absent("descendants")),
        ]);
        Self {
            node: Arc::default(),
            events,
            clock,
            capabilities: Arc::new(capabilities),
        }
    }

    /// Ends a running container as if its program had ended with this code. False when no such container runs.
    pub fn exit(&self, pod_uid: &str, container: &str, code: i32) -> bool {
        let reason = if code == 0 {
            ExitReason::Completed
        } else {
            ExitReason::Error
        };
        self.end_running(pod_uid, container, code, reason)
    }

    /// Ends a running container as if it had exceeded its memory limit. False when no such container runs.
    pub fn oom_kill(&self, pod_uid: &str, container: &str) -> bool {
        self.end_running(pod_uid, container, 137, ExitReason::OomKilled)
    }

    /// Makes the next such call fail; several failures of one call are used in order.
    pub fn fail_next(&self, call: FakeCall, error: RuntimeError) {
        self.node.lock().failures.push((call, error));
    }

    /// Makes an image unknown to [`Runtime::ensure_image`].
    pub fn lose_image(&self, image: &str) {
        self.node.lock().missing_images.insert(image.to_owned());
    }

    /// Makes an image known again.
    pub fn restore_image(&self, image: &str) {
        self.node.lock().missing_images.remove(image);
    }

    /// What an exec in containers of this name answers from now on; without it, 0 and nothing.
    pub fn set_exec_result(&self, container: &str, exit_code: i32, stdout: &str) {
        self.node
            .lock()
            .exec_results
            .insert(container.to_owned(), (exit_code, stdout.to_owned()));
    }

    /// The latest calls with what they were about (a pod uid, an id, an image, a container's name), oldest first.
    pub fn calls(&self) -> Vec<(FakeCall, String)> {
        self.node.lock().calls.iter().cloned().collect()
    }

    /// How often a call was made, among those remembered.
    pub fn count(&self, call: FakeCall) -> usize {
        self.node
            .lock()
            .calls
            .iter()
            .filter(|(made, _)| *made == call)
            .count()
    }

    /// The spec a container was started with.
    pub fn container_spec(
        &self,
        pod_uid: &str,
        container: &str,
        attempt: u32,
    ) -> Option<ContainerSpec> {
        let node = self.node.lock();
        let matches = |c: &&Container| {
            c.status.pod_uid == pod_uid && c.spec.name == container && c.spec.attempt == attempt
        };
        node.containers
            .values()
            .find(matches)
            .map(|c| c.spec.clone())
    }

    /// The spec a sandbox was made with.
    pub fn sandbox_spec(&self, pod_uid: &str) -> Option<SandboxSpec> {
        let node = self.node.lock();
        node.sandboxes
            .values()
            .find(|s| s.spec.pod.uid == pod_uid)
            .map(|s| s.spec.clone())
    }

    /// Makes a sandbox unready, as when what it consists of has died.
    pub fn break_sandbox(&self, id: &SandboxId) {
        let broken = {
            let mut node = self.node.lock();
            node.sandboxes
                .get_mut(id)
                .map(|sandbox| sandbox.status.state = SandboxState::NotReady)
        };
        if broken.is_some() {
            self.announce(RuntimeEvent::SandboxNotReady(id.clone()));
        }
    }

    fn begin(&self, call: FakeCall, subject: &str) -> Result<(), RuntimeError> {
        let mut node = self.node.lock();
        if node.calls.len() == FAKE_CALLS {
            node.calls.pop_front();
        }
        node.calls.push_back((call, subject.to_owned()));
        match node
            .failures
            .iter()
            .position(|(failing, _)| *failing == call)
        {
            Some(index) => Err(node.failures.remove(index).1),
            None => Ok(()),
        }
    }

    fn end_running(&self, pod_uid: &str, container: &str, code: i32, reason: ExitReason) -> bool {
        let id = {
            let node = self.node.lock();
            let running = |c: &&Container| {
                c.status.pod_uid == pod_uid
                    && c.spec.name == container
                    && matches!(c.status.state, ContainerState::Running { .. })
            };
            node.containers
                .values()
                .find(running)
                .map(|c| c.status.id.clone())
        };
        id.is_some_and(|id| self.end(&id, code, reason, "").is_some())
    }

    /// Moves a container to its end unless it is there, and tells.
    fn end(
        &self,
        id: &ContainerId,
        code: i32,
        reason: ExitReason,
        message: &str,
    ) -> Option<ContainerStatus> {
        let status = {
            let mut node = self.node.lock();
            let container = node.containers.get_mut(id)?;
            let started_at = match &container.status.state {
                ContainerState::Exited(_) => return None,
                ContainerState::Running { started_at, .. } => Some(*started_at),
                ContainerState::Created => None,
            };
            container.status.state = ContainerState::Exited(Exit {
                exit_code: code,
                signal: (code > 128 && started_at.is_some()).then_some(code - 128),
                reason,
                message: message.to_owned(),
                started_at,
                finished_at: (self.clock)(),
            });
            container.status.clone()
        };
        self.announce(RuntimeEvent::ContainerExited(Box::new(status.clone())));
        Some(status)
    }

    fn announce(&self, event: RuntimeEvent) {
        // An error means that nobody listens, which is fine: events are hints.
        let _ = self.events.send(event);
    }

    fn status(&self, id: &ContainerId) -> Result<ContainerStatus, RuntimeError> {
        let node = self.node.lock();
        let container = node.containers.get(id);
        container
            .map(|c| c.status.clone())
            .ok_or_else(|| not_found(id))
    }

    /// Records the attempt as running; `Err` holds the status of one that exists.
    fn admit(&self, sandbox: &SandboxId, spec: &ContainerSpec) -> Result<Admission, RuntimeError> {
        let mut node = self.node.lock();
        let pod_uid = match node.sandboxes.get(sandbox) {
            Some(found) if found.status.state == SandboxState::Ready => found.spec.pod.uid.clone(),
            _ => {
                return Err(RuntimeError::NotFound {
                    what: format!("sandbox {sandbox}"),
                });
            }
        };
        let id = ContainerId::new(format!("{sandbox}_{}_{}", spec.name, spec.attempt));
        if let Some(existing) = node.containers.get(&id) {
            return Ok(Admission::Exists(existing.status.clone()));
        }
        node.next_pid += 1;
        let status = ContainerStatus {
            id: id.clone(),
            sandbox: sandbox.clone(),
            pod_uid,
            name: spec.name.clone(),
            attempt: spec.attempt,
            image: spec.image.clone(),
            state: ContainerState::Running {
                pid: Some(node.next_pid),
                started_at: (self.clock)(),
            },
            warnings: Vec::new(),
        };
        let behaviour = Behaviour::of(spec);
        if let Behaviour::FailsToStart(_) = behaviour {
            let mut failed = status.clone();
            failed.state = ContainerState::Created;
            node.containers.insert(
                id,
                Container {
                    spec: spec.clone(),
                    status: failed,
                    behaviour: behaviour.clone(),
                },
            );
        } else {
            node.containers.insert(
                id,
                Container {
                    spec: spec.clone(),
                    status: status.clone(),
                    behaviour: behaviour.clone(),
                },
            );
        }
        Ok(Admission::Started(status, behaviour))
    }
}

enum Admission {
    Exists(ContainerStatus),
    Started(ContainerStatus, Behaviour),
}

fn not_found(id: &ContainerId) -> RuntimeError {
    RuntimeError::NotFound {
        what: format!("container {id}"),
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn handler(&self) -> &str {
        "fake"
    }

    async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
        self.begin(FakeCall::Version, "")?;
        Ok(RuntimeVersion {
            name: "fake".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn ensure_image(&self, image: &str, _policy: PullPolicy) -> Result<String, RuntimeError> {
        self.begin(FakeCall::EnsureImage, image)?;
        if image.is_empty() || image.contains(char::is_whitespace) {
            let message = "a reference has neither spaces nor is it empty".to_owned();
            return Err(RuntimeError::InvalidImageName {
                image: image.to_owned(),
                message,
            });
        }
        if self.node.lock().missing_images.contains(image) {
            let message = "the fake was told to lose it".to_owned();
            return Err(RuntimeError::ImageNotFound {
                image: image.to_owned(),
                message,
            });
        }
        Ok(format!("fake://{image}"))
    }

    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxId, RuntimeError> {
        self.begin(FakeCall::CreateSandbox, &spec.pod.uid)?;
        let id = SandboxId::new(format!("{}-{}", spec.pod.uid, spec.attempt));
        let created_at = (self.clock)();
        let mut node = self.node.lock();
        node.sandboxes.entry(id.clone()).or_insert_with(|| Sandbox {
            spec: spec.clone(),
            status: SandboxStatus {
                id: id.clone(),
                pod: spec.pod.clone(),
                attempt: spec.attempt,
                state: SandboxState::Ready,
                created_at,
            },
        });
        Ok(id)
    }

    async fn start_container(
        &self,
        sandbox: &SandboxId,
        spec: &ContainerSpec,
    ) -> Result<ContainerStatus, RuntimeError> {
        self.begin(FakeCall::StartContainer, &spec.name)?;
        let (status, behaviour) = match self.admit(sandbox, spec)? {
            Admission::Exists(status) => return Ok(status),
            Admission::Started(status, behaviour) => (status, behaviour),
        };
        match behaviour {
            Behaviour::FailsToStart(error) => {
                let reason = if error.reason() == "ContainerCannotRun" {
                    ExitReason::ContainerCannotRun
                } else {
                    ExitReason::StartError
                };
                self.end(&status.id, 128, reason, &error.to_string());
                Err(error)
            }
            Behaviour::Ends { code, reason } => {
                interpreter::write_log(spec, (self.clock)());
                Ok(self.end(&status.id, code, reason, "").unwrap_or(status))
            }
            Behaviour::ToldByFifo { fifo, code } => {
                let (fake, id) = (self.clone(), status.id.clone());
                tokio::spawn(async move {
                    if interpreter::await_word(&fifo).await.is_ok() {
                        let reason = if code == 0 {
                            ExitReason::Completed
                        } else {
                            ExitReason::Error
                        };
                        fake.end(&id, code, reason, "");
                    }
                });
                Ok(status)
            }
            Behaviour::Runs { .. } => {
                interpreter::leave_mark(spec);
                Ok(status)
            }
        }
    }

    async fn stop_container(
        &self,
        id: &ContainerId,
        grace: Duration,
    ) -> Result<ContainerStatus, RuntimeError> {
        self.begin(FakeCall::StopContainer, id.as_str())?;
        let on_term = {
            let node = self.node.lock();
            node.containers
                .get(id)
                .ok_or_else(|| not_found(id))?
                .behaviour
                .on_term()
        };
        let code = match on_term {
            Some(code) if !grace.is_zero() => code,
            Some(_) => 137,
            None => {
                tokio::time::sleep(grace).await;
                137
            }
        };
        let reason = if code == 0 {
            ExitReason::Completed
        } else {
            ExitReason::Error
        };
        match self.end(id, code, reason, "") {
            Some(status) => Ok(status),
            None => self.status(id),
        }
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.begin(FakeCall::RemoveContainer, id.as_str())?;
        let mut node = self.node.lock();
        match node.containers.get(id).map(|c| &c.status.state) {
            Some(ContainerState::Running { .. }) => Err(RuntimeError::Busy {
                what: format!("container {id}"),
            }),
            _ => {
                node.containers.remove(id);
                Ok(())
            }
        }
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.begin(FakeCall::StopSandbox, id.as_str())?;
        let ids: Vec<ContainerId> = {
            let mut node = self.node.lock();
            if let Some(sandbox) = node.sandboxes.get_mut(id) {
                sandbox.status.state = SandboxState::NotReady;
            }
            node.containers
                .values()
                .filter(|c| c.status.sandbox == *id)
                .map(|c| c.status.id.clone())
                .collect()
        };
        for container in ids {
            self.end(&container, 137, ExitReason::Error, "");
        }
        Ok(())
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.begin(FakeCall::RemoveSandbox, id.as_str())?;
        self.stop_sandbox(id).await?;
        let mut node = self.node.lock();
        node.containers
            .retain(|_, container| container.status.sandbox != *id);
        node.sandboxes.remove(id);
        Ok(())
    }

    async fn list(&self) -> Result<Inventory, RuntimeError> {
        self.begin(FakeCall::List, "")?;
        let node = self.node.lock();
        Ok(Inventory {
            sandboxes: node.sandboxes.values().map(|s| s.status.clone()).collect(),
            containers: node.containers.values().map(|c| c.status.clone()).collect(),
        })
    }

    fn events(&self) -> BoxStream<'static, RuntimeEvent> {
        let events = BroadcastStream::new(self.events.subscribe());
        events
            .map(|event| event.unwrap_or(RuntimeEvent::Lost))
            .boxed()
    }

    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<ExecSession, RuntimeError> {
        self.begin(FakeCall::Exec, id.as_str())?;
        let node = self.node.lock();
        let container = node.containers.get(id).ok_or_else(|| not_found(id))?;
        if !matches!(container.status.state, ContainerState::Running { .. }) {
            return Err(RuntimeError::NotRunning {
                what: format!("container {id}"),
            });
        }
        let scripted = node.exec_results.get(&container.spec.name).cloned();
        interpreter::exec(&container.spec, spec, scripted)
    }

    async fn stats(&self, id: &ContainerId) -> Result<ContainerStats, RuntimeError> {
        self.begin(FakeCall::Stats, id.as_str())?;
        match self.status(id)?.state {
            ContainerState::Running { .. } => Ok(ContainerStats {
                at: (self.clock)(),
                cpu_usage_nanos: 1_000_000,
                memory_working_set_bytes: 1 << 20,
                pids: Some(1),
            }),
            _ => Err(RuntimeError::NotRunning {
                what: format!("container {id}"),
            }),
        }
    }
}
