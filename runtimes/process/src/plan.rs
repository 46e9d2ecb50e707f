//! What the agent and the shim tell each other, through files in an attempt's directory and one line on a pipe.
//!
//! These are private formats between two copies of one binary, but a shim may be older than the agent that finds it, so
//! fields are only added, with defaults.

use jiff::Timestamp;
use pontoon_runtime::{ContainerSpec, RunAs, RuntimeError};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Which namespaces a container gets of its own, as probed by the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Isolation {
    pub pid: bool,
    pub mount: bool,
    pub uts: bool,
}

/// The control groups an attempt belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CgroupPlan {
    /// Files to which a process writes `0` to join.
    pub procs: Vec<PathBuf>,
    /// File whose `oom_kill` line counts kills.
    pub oom: Option<PathBuf>,
}

/// `plan.json`: all a shim needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaunchPlan {
    pub spec: ContainerSpec,
    pub hostname: String,
    pub netns: Option<PathBuf>,
    pub resolv_conf: Option<PathBuf>,
    pub hosts: Option<PathBuf>,
    pub cgroups: CgroupPlan,
    pub isolation: Isolation,
    /// What could not be enforced, in words; part of the status.
    pub warnings: Vec<String>,
}

/// A process that a later agent can recognise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessIdentity {
    /// As the node sees it.
    pub pid: i32,
    /// See [`crate::procfs::ProcessStat::start`].
    pub start: u64,
    pub boot_id: String,
}

/// `shim.json`: written when the lock is held, before the program is started.
pub(crate) type ShimRecord = ProcessIdentity;

/// `started.json`: the program has been executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StartedRecord {
    pub program: ProcessIdentity,
    pub started_at: Timestamp,
    /// Found by the shim; added to the plan's.
    pub warnings: Vec<String>,
}

/// Why a program could not be started or executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StartFailure {
    CommandNotFound { command: String, message: String },
    CannotRun { command: String, message: String },
    Preparation { message: String },
}

impl StartFailure {
    pub(crate) fn preparation(what: impl std::fmt::Display, why: impl std::fmt::Display) -> Self {
        Self::Preparation {
            message: format!("{what}: {why}"),
        }
    }
}

impl From<StartFailure> for RuntimeError {
    fn from(failure: StartFailure) -> Self {
        match failure {
            StartFailure::CommandNotFound { command, message } => {
                Self::CommandNotFound { command, message }
            }
            StartFailure::CannotRun { command, message } => Self::CannotRun { command, message },
            StartFailure::Preparation { message } => Self::StartError { message },
        }
    }
}

/// The one line a shim writes to its standard output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The program runs; `started.json` says the same.
    Started,
    /// It does not; `exit.json` says the same.
    Failed(StartFailure),
    /// Another shim has this attempt, or had it.
    Exists,
    /// The shim itself failed before it marked the attempt; it can be repeated.
    Unable(String),
}

/// A command to run in a container, in a file that the helper removes once read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExecRequest {
    pub command: Vec<String>,
    pub env: Vec<(String, String)>,
    pub terminal: bool,
}

/// What a process becomes right before it executes a program, for the container's own and for an exec.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub run_as: Option<RunAs>,
    pub working_dir: Option<PathBuf>,
    pub env: Vec<(String, String)>,
}

/// What the probe found: `None` where something works, else the kernel's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProbeReport {
    pub pid_namespace: Option<String>,
    pub mount_namespace: Option<String>,
    pub uts_namespace: Option<String>,
    pub network_namespace: Option<String>,
    pub set_user: Option<String>,
}
