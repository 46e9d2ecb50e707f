//! What a caller asks for.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// When to fetch an image: the pod's `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// Ask the source each time.
    Always,
    /// Fetch only what is not on the node.
    IfNotPresent,
    /// Use what is on the node or fail.
    Never,
}

/// The pod a sandbox belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodIdentity {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's uid, which alone identifies it.
    pub uid: String,
}

/// Upper bounds and weights, enforced by cgroups where the node permits. `None` means unbounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// Guaranteed share of cpu in thousandths of a core; becomes a weight.
    pub cpu_request_millis: Option<u64>,
    /// Hard limit of cpu in thousandths of a core; becomes a quota.
    pub cpu_limit_millis: Option<u64>,
    /// Hard limit of memory in bytes; beyond it the kernel kills.
    pub memory_limit_bytes: Option<u64>,
    /// Most processes and threads at once.
    pub pids_limit: Option<u64>,
}

impl ResourceLimits {
    /// No bound on anything.
    pub const UNLIMITED: Self = Self {
        cpu_request_millis: None,
        cpu_limit_millis: None,
        memory_limit_bytes: None,
        pids_limit: None,
    };
}

/// What the containers of one pod share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The pod.
    pub pod: PodIdentity,
    /// Counts sandboxes of the same pod, from 0; raised when a sandbox has to be rebuilt.
    pub attempt: u32,
    /// The pod's labels, for a person who looks at the runtime with its own tools.
    pub labels: BTreeMap<String, String>,
    /// Host name inside the pod.
    pub hostname: String,
    /// A network namespace prepared by the agent, as a path that `setns` accepts; `None` shares the node's.
    pub netns: Option<PathBuf>,
    /// Contents of /etc/resolv.conf inside the pod; `None` leaves the image's or the node's.
    pub resolv_conf: Option<String>,
    /// Contents of /etc/hosts inside the pod; `None` leaves the image's or the node's.
    pub hosts: Option<String>,
    /// Bounds on the pod as a whole.
    pub limits: ResourceLimits,
    /// Directory for what the runtime itself has to say about this pod; the agent creates and removes it.
    pub log_dir: PathBuf,
}

/// A directory or file of the node shown inside a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path on the node; it exists.
    pub host_path: PathBuf,
    /// Absolute path inside the container; made if absent.
    pub container_path: PathBuf,
    /// Whether writes inside the container are refused.
    pub read_only: bool,
}

/// The user a program runs as: the pod's `securityContext`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAs {
    /// Numeric user.
    pub uid: u32,
    /// Numeric primary group; `None` takes the image's, or 0 for a program of the node.
    pub gid: Option<u32>,
    /// Supplementary groups, which include the pod's `fsGroup`.
    pub groups: Vec<u32>,
}

/// One attempt to run one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The container's name, unique in its pod.
    pub name: String,
    /// Counts starts of this container in this pod, from 0: the pod status' `restartCount`.
    pub attempt: u32,
    /// The image as the pod names it.
    pub image: String,
    /// Replaces the image's entry point when not empty. For `image: host` it is the program.
    pub command: Vec<String>,
    /// Replaces the image's arguments when not empty.
    pub args: Vec<String>,
    /// The whole environment in order; of two entries with one name the later counts.
    pub env: Vec<(String, String)>,
    /// Working directory inside the container; `None` takes the image's, or `/`.
    pub working_dir: Option<PathBuf>,
    /// Volumes; an outer path comes before one inside it.
    pub mounts: Vec<Mount>,
    /// Bounds on this container.
    pub limits: ResourceLimits,
    /// Adjustment of the kernel's choice of victim, -1000 to 1000. What the node forbids is left out with a warning.
    pub oom_score_adj: i32,
    /// Whether the program gets a terminal; its output is then one stream.
    pub tty: bool,
    /// Whether standard input is kept open for attach; otherwise it is empty.
    pub stdin: bool,
    /// File for the output in CRI format (`TIME STREAM TAG TEXT`), in a directory that exists. The runtime rotates it.
    pub log_path: PathBuf,
    /// The user; `None` takes the image's, or the agent's own.
    pub run_as: Option<RunAs>,
}
