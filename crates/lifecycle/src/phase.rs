//! The pod's phase, computed from its containers as kubelet's `getPhase` does.

use crate::slot::{Role, Run, Slot};

/// `status.phase`. The order is that of a life: it only moves forward, and the last two are ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Something has to happen before its containers run.
    Pending,
    /// Its containers run, or run again.
    Running,
    /// All ended well.
    Succeeded,
    /// All ended, and one did not end well.
    Failed,
}

impl Phase {
    /// Kubernetes' word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    /// Reads Kubernetes' word; what is not known is `Pending`.
    #[must_use]
    pub fn parse(word: Option<&str>) -> Self {
        match word {
            Some("Running") => Self::Running,
            Some("Succeeded") => Self::Succeeded,
            Some("Failed") => Self::Failed,
            _ => Self::Pending,
        }
    }

    /// Whether the pod has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        self >= Self::Succeeded
    }
}

/// How a container counts for the phase.
enum Stand {
    Waiting,
    Running,
    Stopped(i32),
}

fn stand(slot: &Slot) -> Stand {
    match (&slot.run, &slot.ended) {
        (Run::Running { .. }, _) => Stand::Running,
        (_, Some(ended)) => Stand::Stopped(ended.exit.exit_code),
        (_, None) => Stand::Waiting,
    }
}

#[derive(Default)]
struct Counts {
    init_pending: usize,
    init_failed: usize,
    sidecars_pending: usize,
    waiting: usize,
    stopped: usize,
    succeeded: usize,
}

fn count(slots: &[Slot]) -> Counts {
    let mut counts = Counts::default();
    for slot in slots {
        match (slot.role, stand(slot)) {
            (Role::Init, Stand::Stopped(0)) => {}
            (Role::Init, Stand::Stopped(_)) => counts.init_failed += 1,
            (Role::Init, _) => counts.init_pending += 1,
            (Role::Sidecar, Stand::Running) => {
                counts.sidecars_pending += usize::from(!slot.is_started());
            }
            (Role::Sidecar, Stand::Stopped(_)) => {}
            (Role::Sidecar, Stand::Waiting) => {
                counts.sidecars_pending += 1;
                counts.waiting += 1;
            }
            (Role::Main, Stand::Running) => {}
            (Role::Main, Stand::Waiting) => counts.waiting += 1,
            (Role::Main, Stand::Stopped(code)) => {
                counts.stopped += 1;
                counts.succeeded += usize::from(code == 0);
            }
        }
    }
    counts
}

/// The phase that the containers speak for. `ended` says that nothing of the pod runs or will run again: only then is it
/// one of the two ends, as kubelet's status manager holds an end back until every container has stopped.
pub(crate) fn of(slots: &[Slot], initialized: bool, ended: bool) -> Phase {
    let counts = count(slots);
    if ended {
        let well = counts.init_failed == 0
            && counts.waiting == 0
            && counts.stopped > 0
            && counts.succeeded == counts.stopped;
        return if well {
            Phase::Succeeded
        } else {
            Phase::Failed
        };
    }
    let initializing =
        counts.init_pending + counts.init_failed + counts.sidecars_pending > 0 && !initialized;
    if initializing || counts.waiting > 0 {
        Phase::Pending
    } else {
        Phase::Running
    }
}
