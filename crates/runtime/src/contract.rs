//! The trait that every runtime implements. It is owned by the side that calls it, the agent.

use async_trait::async_trait;
use futures::stream::BoxStream;
use std::time::Duration;

use crate::error::RuntimeError;

pub mod capabilities;
pub mod exec;
pub mod id;
pub mod spec;
pub mod status;

use capabilities::Capabilities;
use exec::{ExecSession, ExecSpec};
use id::{ContainerId, SandboxId};
use spec::{ContainerSpec, PullPolicy, SandboxSpec};
use status::{
    ContainerStats, ContainerStatus, Inventory, RuntimeEvent, RuntimeVersion, SandboxStatus,
};

/// Runs sandboxes (one per pod and attempt) and containers inside them.
///
/// All calls are idempotent and may be repeated after a crash of the caller. A call that is dropped half-way leaves
/// nothing that a repetition of the same call does not finish.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// The name a RuntimeClass uses in `handler`: `process`, `docker`, `containerd`.
    fn handler(&self) -> &str;

    /// What runs underneath, for the node's `containerRuntimeVersion`. Also serves as the health check.
    ///
    /// # Errors
    /// [`RuntimeError::Unavailable`] when the daemon behind it does not answer.
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError>;

    /// What this runtime isolates and limits on this node, and in words what it does not. Cheap: probed once.
    fn capabilities(&self) -> &Capabilities;

    /// Whether pods of this runtime have files on the node: volumes and logs, for which the agent makes directories. One
    /// that starts nothing has none.
    fn uses_files(&self) -> bool {
        true
    }

    /// Makes sure the image can be started, pulling it when the policy asks; returns the reference by which the
    /// image is known exactly (the pod status' `imageID`).
    ///
    /// # Errors
    /// [`RuntimeError::InvalidImageName`], [`RuntimeError::ImageNotFound`], [`RuntimeError::Unavailable`].
    async fn ensure_image(&self, image: &str, policy: PullPolicy) -> Result<String, RuntimeError>;

    /// Makes what the containers of a pod share. The same pod uid and attempt give the same sandbox again.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`] when the network namespace is gone, [`RuntimeError::NotPermitted`] otherwise.
    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxId, RuntimeError>;

    /// Starts one attempt of a container and returns once its program has been executed (or has already ended).
    ///
    /// An attempt that exists is not started again: its present status is returned, whatever it is. A start that
    /// fails because of what was asked (no such command, no such working directory, a mount that cannot be made)
    /// returns the error and leaves the attempt in [`Runtime::list`] as exited with
    /// [`status::ExitReason::StartError`], so that its cause survives a restart of the caller.
    ///
    /// # Errors
    /// [`RuntimeError::CommandNotFound`], [`RuntimeError::StartError`], [`RuntimeError::NotFound`] for the sandbox,
    /// [`RuntimeError::Unavailable`] when it is worth repeating the same attempt.
    async fn start_container(
        &self,
        sandbox: &SandboxId,
        spec: &ContainerSpec,
    ) -> Result<ContainerStatus, RuntimeError>;

    /// Asks the program to end (TERM), waits up to `grace`, then kills everything in the container. Returns when
    /// nothing of it runs. A container that has exited is left as it is.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`]; [`RuntimeError::Unavailable`] when it could not be made to end.
    async fn stop_container(
        &self,
        id: &ContainerId,
        grace: Duration,
    ) -> Result<ContainerStatus, RuntimeError>;

    /// Forgets an exited container (its log files stay; they belong to the agent). Absence is success.
    ///
    /// # Errors
    /// [`RuntimeError::Busy`] while it runs.
    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// Kills every container of the sandbox at once and marks it stopped. Absence is success.
    ///
    /// # Errors
    /// [`RuntimeError::Unavailable`] when something could not be made to end.
    async fn stop_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError>;

    /// Stops the sandbox and forgets it with all its containers. Absence is success.
    ///
    /// # Errors
    /// As [`Runtime::stop_sandbox`].
    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError>;

    /// All sandboxes and containers that exist, whoever started them: the truth after a restart, and whenever
    /// an event says to look.
    ///
    /// # Errors
    /// [`RuntimeError::Unavailable`].
    async fn list(&self) -> Result<Inventory, RuntimeError>;

    /// The status of one container.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`].
    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus, RuntimeError> {
        let inventory = self.list().await?;
        inventory
            .containers
            .into_iter()
            .find(|status| status.id == *id)
            .ok_or_else(|| RuntimeError::NotFound {
                what: format!("container {id}"),
            })
    }

    /// The status of one sandbox.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`].
    async fn sandbox_status(&self, id: &SandboxId) -> Result<SandboxStatus, RuntimeError> {
        let inventory = self.list().await?;
        inventory
            .sandboxes
            .into_iter()
            .find(|status| status.id == *id)
            .ok_or_else(|| RuntimeError::NotFound {
                what: format!("sandbox {id}"),
            })
    }

    /// Signals of change from the moment of the call on. The stream is bounded: a listener that falls behind gets
    /// [`RuntimeEvent::Lost`] and must list. It ends when the runtime object is dropped.
    fn events(&self) -> BoxStream<'static, RuntimeEvent>;

    /// Runs a command beside the program of a running container, in the same namespaces and limits.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`], [`RuntimeError::NotRunning`], [`RuntimeError::CommandNotFound`].
    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<ExecSession, RuntimeError>;

    /// Connects to the program's own standard input and output.
    ///
    /// # Errors
    /// [`RuntimeError::Unsupported`] unless the runtime can.
    async fn attach(&self, id: &ContainerId) -> Result<ExecSession, RuntimeError> {
        Err(RuntimeError::Unsupported {
            what: format!(
                "attach to container {id}: the {} runtime keeps no attachable streams",
                self.handler()
            ),
        })
    }

    /// What the container uses at this moment.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`], [`RuntimeError::NotRunning`].
    async fn stats(&self, id: &ContainerId) -> Result<ContainerStats, RuntimeError>;
}
