//! What can go wrong with a runtime, by what the caller does about it.

use thiserror::Error;

/// A runtime's refusal or failure. The message names the thing and, where there is one, the fix.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RuntimeError {
    /// The image reference cannot be read. The pod waits with `InvalidImageName`.
    #[error("invalid image name {image:?}: {message}")]
    InvalidImageName {
        /// As the pod names it.
        image: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The image is not there or may not be fetched. The pod waits with `ErrImagePull`, or `ErrImageNeverPull`.
    #[error("image {image:?} not found: {message}")]
    ImageNotFound {
        /// As the pod names it.
        image: String,
        /// Where it was looked for.
        message: String,
    },
    /// The program does not exist inside the container. The attempt has ended with `StartError`.
    #[error("command {command:?} not found: {message}")]
    CommandNotFound {
        /// The program as asked.
        command: String,
        /// Where it was looked for.
        message: String,
    },
    /// The program exists and cannot be executed. The attempt has ended with `ContainerCannotRun`.
    #[error("command {command:?} cannot run: {message}")]
    CannotRun {
        /// The program as asked.
        command: String,
        /// The kernel's answer.
        message: String,
    },
    /// The container could not be prepared as asked (working directory, mount, user). The attempt has ended with
    /// `StartError`.
    #[error("container cannot be started: {message}")]
    StartError {
        /// What could not be prepared, and why.
        message: String,
    },
    /// The node does not permit it; repeating does not help.
    #[error("not permitted: {message}")]
    NotPermitted {
        /// What was refused, and what would permit it.
        message: String,
    },
    /// No such sandbox, container or namespace.
    #[error("{what} not found")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The container exists but does not run.
    #[error("{what} is not running")]
    NotRunning {
        /// Which one.
        what: String,
    },
    /// Something else of that identity exists.
    #[error("{what} already exists")]
    AlreadyExists {
        /// What exists.
        what: String,
    },
    /// It is in use; end that first.
    #[error("{what} is in use")]
    Busy {
        /// What is in use.
        what: String,
    },
    /// This runtime cannot do that at all.
    #[error("unsupported: {what}")]
    Unsupported {
        /// What was asked.
        what: String,
    },
    /// It failed for a reason that may pass; repeat with back-off.
    #[error("runtime unavailable: {message}")]
    Unavailable {
        /// The cause.
        message: String,
    },
}

impl RuntimeError {
    /// Whether repeating the same call can succeed with nothing else changed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Busy { .. })
    }

    /// The word Kubernetes uses for it in a container's `waiting.reason` or `terminated.reason`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidImageName { .. } => "InvalidImageName",
            Self::ImageNotFound { .. } => "ErrImagePull",
            Self::CommandNotFound { .. } | Self::StartError { .. } => "StartError",
            Self::CannotRun { .. } => "ContainerCannotRun",
            Self::NotPermitted { .. } | Self::Unsupported { .. } | Self::AlreadyExists { .. } => {
                "CreateContainerError"
            }
            Self::NotFound { .. }
            | Self::NotRunning { .. }
            | Self::Busy { .. }
            | Self::Unavailable { .. } => "RunContainerError",
        }
    }
}
