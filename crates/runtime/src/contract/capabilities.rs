//! What a runtime can do on this node, in words a person can act on.

use serde::{Deserialize, Serialize};

/// One property of a container that differs between runtimes and nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Capability {
    /// Pods have network namespaces of their own.
    NetworkNamespace,
    /// Containers have mount namespaces: volumes at any path, own /etc/resolv.conf and /etc/hosts.
    MountNamespace,
    /// Containers have a root file system of their own.
    RootFilesystem,
    /// Containers cannot see other processes.
    PidNamespace,
    /// Containers have a host name of their own.
    UtsNamespace,
    /// Memory limits are enforced.
    MemoryLimit,
    /// Cpu limits are enforced.
    CpuLimit,
    /// Limits on the number of processes are enforced.
    PidsLimit,
    /// All descendants of a container die with it, whatever they do.
    KillDescendants,
    /// Containers can run as another user.
    RunAsUser,
    /// Usage of cpu and memory is measured per container.
    Stats,
}

/// Whether a node provides a capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Support {
    /// It does; by what means.
    Yes(String),
    /// It does not; why, and what would change that.
    No(String),
}

/// All capabilities of one runtime on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    entries: Vec<(Capability, Support)>,
}

impl Capabilities {
    /// Collects what was probed. What is not mentioned counts as absent.
    pub fn new(entries: Vec<(Capability, Support)>) -> Self {
        Self { entries }
    }

    /// Whether the capability is there.
    pub fn has(&self, capability: Capability) -> bool {
        self.entries
            .iter()
            .any(|(name, support)| *name == capability && matches!(support, Support::Yes(_)))
    }

    /// Every entry, for a node's description.
    pub fn iter(&self) -> impl Iterator<Item = (Capability, &Support)> {
        self.entries
            .iter()
            .map(|(capability, support)| (*capability, support))
    }

    /// One sentence per missing capability, for a node event and `pontoon why`.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.entries
            .iter()
            .filter_map(|(_, support)| match support {
                Support::Yes(_) => None,
                Support::No(why) => Some(why.as_str()),
            })
    }
}
