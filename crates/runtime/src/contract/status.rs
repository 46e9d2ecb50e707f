//! What a runtime reports.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

use super::id::{ContainerId, SandboxId};
use super::spec::PodIdentity;

/// Name and version of what runs underneath; a node shows it as `NAME://VERSION`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeVersion {
    /// For example `process`, `docker`.
    pub name: String,
    /// Version in its own scheme.
    pub version: String,
}

/// Everything a runtime holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Sandboxes in order of id.
    pub sandboxes: Vec<SandboxStatus>,
    /// Containers in order of id, exited ones included until they are removed.
    pub containers: Vec<ContainerStatus>,
}

/// Whether containers can be started in a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxState {
    /// They can.
    Ready,
    /// They cannot: it was stopped, or what it consists of has died.
    NotReady,
}

/// One sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxStatus {
    /// Its name in the runtime.
    pub id: SandboxId,
    /// The pod it was made for.
    pub pod: PodIdentity,
    /// As given in its spec.
    pub attempt: u32,
    /// Whether containers can be started in it.
    pub state: SandboxState,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One attempt of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Its name in the runtime.
    pub id: ContainerId,
    /// The sandbox it runs in.
    pub sandbox: SandboxId,
    /// The uid of its pod.
    pub pod_uid: String,
    /// As given in its spec.
    pub name: String,
    /// As given in its spec.
    pub attempt: u32,
    /// The image as the pod names it.
    pub image: String,
    /// What it does.
    pub state: ContainerState,
    /// What was asked but could not be enforced on this node, a sentence each; for an event on the pod.
    pub warnings: Vec<String>,
}

/// What a container does. It only moves downwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Being started; its program does not run yet.
    Created,
    /// Its program runs.
    Running {
        /// The program's process id as the node sees it, where the runtime knows it.
        pid: Option<i32>,
        /// When the program was executed.
        started_at: Timestamp,
    },
    /// Nothing of it runs.
    Exited(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code of the program, or 128 plus the signal that ended it; 128 when it never ran, 137 when it is unknown.
    pub exit_code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The cause in one word.
    pub reason: ExitReason,
    /// The cause in a sentence; empty when there is nothing to add.
    pub message: String,
    /// When its program was executed; `None` when it never was.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// Why a container ended: `reason` of the pod status' terminated state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// The program ended with code 0.
    Completed,
    /// The program ended with another code or by a signal.
    Error,
    /// The kernel killed it for exceeding its memory limit.
    OomKilled,
    /// The program was found and could not be executed.
    ContainerCannotRun,
    /// The container could not be prepared, or its program was not found.
    StartError,
    /// Its end was not witnessed, so code and time are guesses.
    Unknown,
}

impl ExitReason {
    /// The word Kubernetes writes into `state.terminated.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::OomKilled => "OOMKilled",
            Self::ContainerCannotRun => "ContainerCannotRun",
            Self::StartError => "StartError",
            Self::Unknown => "ContainerStatusUnknown",
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A hint that something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// A container is in [`ContainerState::Exited`]; the status is what a list would say.
    ContainerExited(Box<ContainerStatus>),
    /// A sandbox stopped being ready without having been asked to.
    SandboxNotReady(SandboxId),
    /// The listener was too slow and signals were dropped: list.
    Lost,
}

/// What a container uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStats {
    /// When it was measured.
    pub at: Timestamp,
    /// Processor time used since its start, in nanoseconds; grows only.
    pub cpu_usage_nanos: u64,
    /// Memory in use without what the kernel can drop at once, in bytes: Kubernetes' working set.
    pub memory_working_set_bytes: u64,
    /// Processes and threads alive, where the node counts them.
    pub pids: Option<u64>,
}
