//! What a machine is told.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use std::net::IpAddr;
use std::time::Duration;

/// Something that happened to the pod, or the answer to an [`Action`](crate::Action).
#[derive(Clone, Debug)]
pub enum Input {
    /// The pod object, again: changed metadata, conditions set by others, a changed image, or a deletion timestamp
    /// (which begins the shutdown as [`Input::Delete`] does).
    Updated(Box<Pod>),
    /// Something the pod refers to (ConfigMap, Secret, a service's environment) changed: what waits for it is tried now.
    ReferencesChanged,
    /// The pod is to end within this time.
    Delete {
        /// How long its containers have.
        grace: Duration,
    },
    /// Answers `CreateSandbox`.
    SandboxCreated {
        /// As in the action.
        attempt: u32,
        /// The pod's addresses, the first is the `podIP`.
        ips: Vec<IpAddr>,
    },
    /// Answers `CreateSandbox`.
    SandboxFailed {
        /// As in the action.
        attempt: u32,
        /// Why.
        message: String,
    },
    /// The sandbox died, and every container with it.
    SandboxLost,
    /// Answers `StopSandbox`.
    SandboxStopped,
    /// Answers `RemoveSandbox`: nothing of the pod is on the node.
    SandboxRemoved,
    /// Answers `StopSandbox` and `RemoveSandbox`: it is worth another try.
    SandboxTeardownFailed {
        /// Why.
        message: String,
    },
    /// Answers `PrepareVolumes`.
    VolumesReady,
    /// Answers `PrepareVolumes`.
    VolumesFailed {
        /// The volume's name.
        volume: String,
        /// Why.
        message: String,
    },
    /// Answers `EnsureImage`.
    ImageReady {
        /// The container that wants it.
        container: String,
        /// The exact name of what was found.
        image_id: String,
    },
    /// Answers `EnsureImage`.
    ImageFailed {
        /// The container that wants it.
        container: String,
        /// `ErrImagePull`, `ErrImageNeverPull` or `InvalidImageName`.
        reason: String,
        /// Why.
        message: String,
    },
    /// Answers `StartContainer`.
    ContainerStarted {
        /// The container.
        container: String,
        /// As in the action.
        attempt: u32,
        /// The `containerID` of the pod status (`HANDLER://ID`).
        id: String,
        /// When its program was executed.
        started_at: Timestamp,
    },
    /// Answers `StartContainer`.
    ContainerStartFailed {
        /// The container.
        container: String,
        /// As in the action.
        attempt: u32,
        /// What stood in the way.
        failure: StartFailure,
    },
    /// A container ended, asked to or not. Repeats are passed over.
    ContainerExited {
        /// The container.
        container: String,
        /// Which attempt.
        attempt: u32,
        /// How.
        exit: Exit,
    },
    /// Answers `StopContainer` when the container could not be made to end. (Its end is a `ContainerExited`.)
    StopFailed {
        /// The container.
        container: String,
        /// Which attempt.
        attempt: u32,
        /// Why.
        message: String,
    },
    /// Answers `PostStart`.
    PostStartDone {
        /// The container.
        container: String,
        /// Which attempt.
        attempt: u32,
        /// Why it failed, or nothing.
        failure: Option<String>,
    },
    /// Answers `Probe`.
    Probed {
        /// The container.
        container: String,
        /// Which attempt.
        attempt: u32,
        /// Which probe.
        kind: ProbeKind,
        /// What it found.
        outcome: ProbeOutcome,
    },
    /// The time that [`Machine::poll_timeout`](crate::Machine::poll_timeout) named has come. Harmless at any time.
    Tick,
}

/// Which probe of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Holds the others back until it succeeds.
    Startup,
    /// Restarts the container when it fails.
    Liveness,
    /// Takes the pod out of its services when it fails.
    Readiness,
}

impl ProbeKind {
    /// All of them, the one that gates the others first.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// As Kubernetes' events begin: `Liveness probe failed: ...`.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// All well.
    Success,
    /// Not well, and what was seen.
    Failure(String),
    /// The probe could not be made; counts for nothing.
    Unknown(String),
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code, or 128 plus the signal.
    pub exit_code: i32,
    /// The signal.
    pub signal: Option<i32>,
    /// Kubernetes' word: `Completed`, `Error`, `OOMKilled`, ...
    pub reason: String,
    /// A sentence, or nothing.
    pub message: String,
    /// When its program was executed; `None` when it never was.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// Why an attempt did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// What the container needs is not there (`CreateContainerConfigError`). The attempt was not used.
    Config {
        /// For example `configmap "settings" not found`.
        message: String,
    },
    /// The runtime refused it for good, or could not be reached (`CreateContainerError`, `RunContainerError`). The
    /// attempt was not used.
    Refused {
        /// Kubernetes' word.
        reason: String,
        /// Why.
        message: String,
    },
    /// It was made and its program could not be run: the attempt is used up and has ended like this.
    Ended {
        /// The `containerID` of the pod status.
        id: String,
        /// How.
        exit: Exit,
    },
}

/// What a pod's status says of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// The node's addresses, the first is the `hostIP`.
    pub ips: Vec<IpAddr>,
}

/// What a runtime already has of a pod when its machine begins: after a restart of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The newest sandbox: its attempt, whether containers can be started in it, and the pod's addresses.
    pub sandbox: Option<(u32, bool, Vec<IpAddr>)>,
    /// Every attempt the runtime knows.
    pub containers: Vec<RecoveredContainer>,
}

/// One attempt found in a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredContainer {
    /// The container.
    pub name: String,
    /// Which attempt.
    pub attempt: u32,
    /// The `containerID` of the pod status.
    pub id: String,
    /// What it does.
    pub state: RecoveredState,
}

/// What a found attempt does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoveredState {
    /// It may be about to run: the driver has to answer with a started, failed or exited input.
    Starting,
    /// It runs.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// It ended.
    Exited(Exit),
}
