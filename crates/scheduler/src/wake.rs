//! Which events could make an unschedulable pod schedulable.

/// A set of kinds of event.
///
/// [`crate::Cluster`]'s setters return the events that happened; a [`crate::Decision`] that leaves a pod
/// waiting carries the events worth trying it again for. Try again when the two intersect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wake(u16);

impl Wake {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// A node appeared, or an unknown one was described.
    pub const NODE_ADDED: Self = Self(1);
    /// A node went away. It can help a topology spread constraint.
    pub const NODE_REMOVED: Self = Self(1 << 1);
    /// A node's labels changed.
    pub const NODE_LABELS: Self = Self(1 << 2);
    /// A node's taints changed, or its conditions that stand for taints, or `spec.unschedulable`.
    pub const NODE_TAINTS: Self = Self(1 << 3);
    /// A node's allocatable resources changed.
    pub const NODE_RESOURCES: Self = Self(1 << 4);
    /// The runtime handlers that a node publishes changed.
    pub const NODE_RUNTIMES: Self = Self(1 << 5);
    /// A pod was placed: it can satisfy another's affinity or spread.
    pub const POD_ADDED: Self = Self(1 << 6);
    /// A pod ended, went, was forgotten or shrank: resources and ports came free.
    pub const POD_REMOVED: Self = Self(1 << 7);
    /// A runtime class appeared or changed.
    pub const RUNTIME_CLASS: Self = Self(1 << 8);
    /// Every event.
    pub const ALL: Self = Self((1 << 9) - 1);

    const NAMES: [&'static str; 9] = [
        "NodeAdded",
        "NodeRemoved",
        "NodeLabels",
        "NodeTaints",
        "NodeResources",
        "NodeRuntimes",
        "PodAdded",
        "PodRemoved",
        "RuntimeClass",
    ];

    /// Whether some kind of event is in both sets.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the set holds nothing.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of the kinds in the set, for logs and `pontoon why`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| name)
    }
}

impl std::ops::BitOr for Wake {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Wake {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl std::fmt::Display for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, name) in self.names().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}
