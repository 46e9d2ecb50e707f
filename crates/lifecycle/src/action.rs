//! What a machine wants done.

use crate::input::ProbeKind;
use k8s_openapi::api::core::v1::PodStatus;
use std::time::Duration;

/// One thing for the driver to do. Each but the last four is answered by exactly one input.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Give the pod its network and its sandbox.
    CreateSandbox {
        /// Counts sandboxes of the pod from 0.
        attempt: u32,
    },
    /// Bring the pod's volumes up to what it refers to.
    PrepareVolumes,
    /// Make sure the image of a container is on the node.
    EnsureImage {
        /// The container.
        container: String,
    },
    /// Start one attempt.
    StartContainer {
        /// The container.
        container: String,
        /// A number never used before for this container.
        attempt: u32,
    },
    /// Run the container's `postStart` hook.
    PostStart {
        /// The container.
        container: String,
        /// The running attempt.
        attempt: u32,
    },
    /// Run the container's `preStop` hook if it has one, then ask it to end, and kill it when the grace is over. May be
    /// asked again with less grace.
    StopContainer {
        /// The container.
        container: String,
        /// The running attempt.
        attempt: u32,
        /// For hook and program together.
        grace: Duration,
    },
    /// Run a probe once.
    Probe {
        /// The container.
        container: String,
        /// The running attempt.
        attempt: u32,
        /// Which.
        kind: ProbeKind,
        /// How long it may take.
        timeout: Duration,
    },
    /// The pod ended but its object stays: free its network and volumes, keep its logs.
    StopSandbox,
    /// Remove everything of the pod from the node.
    RemoveSandbox,
    /// The pod's status as it is; only sent when it differs from the last.
    Report(Box<PodStatus>),
    /// Tell people.
    Event(Event),
    /// Everything is removed and the last report is out: forget the pod.
    Removed,
}

impl Action {
    /// One word for what it does, as spans and logs show it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CreateSandbox { .. } => "CreateSandbox",
            Self::PrepareVolumes => "PrepareVolumes",
            Self::EnsureImage { .. } => "EnsureImage",
            Self::StartContainer { .. } => "StartContainer",
            Self::PostStart { .. } => "PostStart",
            Self::StopContainer { .. } => "StopContainer",
            Self::Probe { .. } => "Probe",
            Self::StopSandbox => "StopSandbox",
            Self::RemoveSandbox => "RemoveSandbox",
            Self::Report(_) => "Report",
            Self::Event(_) => "Event",
            Self::Removed => "Removed",
        }
    }
}

/// Whether an event is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// It is.
    Normal,
    /// It is not.
    Warning,
}

impl EventType {
    /// As in an Event's `type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What a core/v1 Event would say, with kubelet's wording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Normal or Warning.
    pub kind: EventType,
    /// For example `BackOff`.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    /// The container's field path (`spec.containers{web}`); `None` for the pod itself.
    pub field_path: Option<String>,
}
