//! One container of the pod: what is known of its attempts, and what holds the next one back.

use crate::input::{Exit, ProbeKind};
use crate::limits::{
    RESTART_BACKOFF_FIRST, RESTART_BACKOFF_MAX, UNAVAILABLE_RETRY_FIRST, UNAVAILABLE_RETRY_MAX,
};
use crate::probe::Prober;
use crate::restart::{Backoff, Doubling, Policy};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;

/// What a container is in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next one begins.
    Init,
    /// A restartable init container.
    Sidecar,
    /// A regular container.
    Main,
}

/// An attempt that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) id: String,
    pub(crate) exit: Exit,
}

/// A stop that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopping {
    /// When its grace ends.
    pub(crate) deadline: Timestamp,
    /// When to ask again, after a stop that failed.
    pub(crate) retry_at: Option<Timestamp>,
}

/// What is under way for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Nothing: it never ran in this sandbox, or it ended.
    Idle,
    /// Its image is being looked for.
    Fetching,
    /// Its image is there; it waits for sandbox and volumes.
    Fetched,
    /// This attempt is being started.
    Starting { attempt: u32 },
    /// This attempt runs.
    Running { attempt: u32, started_at: Timestamp },
}

/// Why a container waits, in the words of its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) reason: String,
    pub(crate) message: Option<String>,
}

/// One container.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) run: Run,
    /// The newest attempt that was used.
    pub(crate) attempt: Option<u32>,
    /// The newest attempt's id.
    pub(crate) id: Option<String>,
    /// The image the newest attempt was started from, as the pod named it.
    pub(crate) image: String,
    pub(crate) image_id: String,
    /// What was found for the attempt to come.
    pub(crate) next_image_id: Option<String>,
    /// How the newest attempt ended, unless it lives.
    pub(crate) ended: Option<Ended>,
    /// How the attempt before it ended.
    pub(crate) previous: Option<Ended>,
    /// Whether `ended` belongs to the present sandbox: init containers run again in another one.
    pub(crate) ended_here: bool,
    pub(crate) waiting: Option<Waiting>,
    /// Nothing is tried before.
    pub(crate) not_before: Option<Timestamp>,
    /// When `ErrImagePull` turns into `ImagePullBackOff`.
    pub(crate) pull_turns_at: Option<Timestamp>,
    pub(crate) stopping: Option<Stopping>,
    /// It was stopped to be run again, whatever the restart policy says.
    pub(crate) must_restart: bool,
    pub(crate) post_start_due: bool,
    pub(crate) probers: Vec<Prober>,
    pub(crate) backoff: Backoff,
    /// The restart after `ended` was counted: trying it again does not lengthen the wait.
    pub(crate) backoff_noted: bool,
    pub(crate) pull_backoff: Doubling,
    pub(crate) retry: Doubling,
}

impl Slot {
    pub(crate) fn new(container: &Container, init: bool) -> Self {
        let role = match (init, container.restart_policy.as_deref()) {
            (true, Some("Always")) => Role::Sidecar,
            (true, _) => Role::Init,
            (false, _) => Role::Main,
        };
        Self {
            name: container.name.clone(),
            role,
            run: Run::Idle,
            attempt: None,
            id: None,
            image: container.image.clone().unwrap_or_default(),
            image_id: String::new(),
            next_image_id: None,
            ended: None,
            previous: None,
            ended_here: false,
            waiting: None,
            not_before: None,
            pull_turns_at: None,
            stopping: None,
            must_restart: false,
            post_start_due: false,
            probers: Vec::new(),
            backoff: Backoff::default(),
            backoff_noted: false,
            pull_backoff: Doubling::new(RESTART_BACKOFF_FIRST, RESTART_BACKOFF_MAX),
            retry: Doubling::new(UNAVAILABLE_RETRY_FIRST, UNAVAILABLE_RETRY_MAX),
        }
    }

    /// The number of the next attempt.
    pub(crate) fn next_attempt(&self) -> u32 {
        self.attempt.map_or(0, |attempt| attempt.saturating_add(1))
    }

    /// Whether something of it may be alive.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.run, Run::Starting { .. } | Run::Running { .. })
    }

    pub(crate) fn running(&self) -> Option<(u32, Timestamp)> {
        match self.run {
            Run::Running {
                attempt,
                started_at,
            } => Some((attempt, started_at)),
            _ => None,
        }
    }

    pub(crate) fn runs_attempt(&self, attempt: u32) -> bool {
        self.running()
            .is_some_and(|(running, _)| running == attempt)
    }

    pub(crate) fn prober(&mut self, kind: ProbeKind) -> Option<&mut Prober> {
        self.probers.iter_mut().find(|probe| probe.kind == kind)
    }

    fn passed(&self, kind: ProbeKind) -> bool {
        self.probers
            .iter()
            .find(|probe| probe.kind == kind)
            .is_none_or(Prober::passed)
    }

    /// `started` of the container status: it runs, its hook is done and its startup probe passed.
    pub(crate) fn is_started(&self) -> bool {
        self.running().is_some() && !self.post_start_due && self.passed(ProbeKind::Startup)
    }

    /// `ready` of the container status. A regular init container is ready when it has succeeded.
    pub(crate) fn is_ready(&self) -> bool {
        match self.role {
            Role::Init => self.succeeded(),
            Role::Sidecar | Role::Main => self.is_started() && self.passed(ProbeKind::Readiness),
        }
    }

    /// Whether it has ended well and nothing of it runs.
    pub(crate) fn succeeded(&self) -> bool {
        !self.is_live()
            && self
                .ended
                .as_ref()
                .is_some_and(|ended| ended.exit.exit_code == 0)
    }

    /// Whether an init container's work is done in the present sandbox.
    pub(crate) fn done(&self) -> bool {
        self.ended_here && self.succeeded()
    }

    /// The exit code of the newest attempt, once it has ended.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        if self.is_live() {
            return None;
        }
        self.ended.as_ref().map(|ended| ended.exit.exit_code)
    }

    /// Whether it runs again after having ended with `exit_code`.
    pub(crate) fn restarts(&self, spec: &Container, pod: Policy, exit_code: i32) -> bool {
        if self.must_restart {
            return true;
        }
        match self.role {
            Role::Sidecar => true,
            Role::Init => exit_code != 0 && crate::restart::restarts(spec, pod, exit_code),
            Role::Main => crate::restart::restarts(spec, pod, exit_code),
        }
    }

    /// Notes that an attempt runs.
    pub(crate) fn started(&mut self, spec: &Container, attempt: u32, id: String, at: Timestamp) {
        self.use_attempt(attempt, id);
        self.run = Run::Running {
            attempt,
            started_at: at,
        };
        self.image = spec.image.clone().unwrap_or_default();
        self.post_start_due = spec
            .lifecycle
            .as_ref()
            .is_some_and(|lifecycle| lifecycle.post_start.is_some());
        self.probers = probers(spec, self.role);
    }

    fn use_attempt(&mut self, attempt: u32, id: String) {
        if let Some(ended) = self.ended.take() {
            self.previous = Some(ended);
        }
        self.attempt = Some(attempt);
        self.id = Some(id);
        if let Some(image_id) = self.next_image_id.take() {
            self.image_id = image_id;
        }
        self.waiting = None;
        self.not_before = None;
        self.stopping = None;
        self.must_restart = false;
        self.retry.succeeded();
    }

    /// Notes that an attempt was used up without running.
    pub(crate) fn ended_unstarted(&mut self, attempt: u32, id: String, exit: Exit) {
        self.use_attempt(attempt, id.clone());
        self.rest(Ended { id, exit });
    }

    /// Notes that the running attempt ended.
    pub(crate) fn exited(&mut self, exit: Exit) {
        let id = self.id.clone().unwrap_or_default();
        self.rest(Ended { id, exit });
    }

    fn rest(&mut self, ended: Ended) {
        self.run = Run::Idle;
        self.ended = Some(ended);
        self.ended_here = true;
        self.backoff_noted = false;
        self.stopping = None;
        self.post_start_due = false;
        self.probers.clear();
    }

    /// Holds it back, with what its status says meanwhile.
    pub(crate) fn wait(&mut self, reason: &str, message: Option<String>, until: Timestamp) {
        self.waiting = Some(Waiting {
            reason: reason.to_owned(),
            message,
        });
        self.not_before = Some(until);
    }

    /// The word under which it waits at present.
    pub(crate) fn waits_for(&self, reason: &str) -> bool {
        self.waiting
            .as_ref()
            .is_some_and(|waiting| waiting.reason == reason)
    }
}

fn probers(spec: &Container, role: Role) -> Vec<Prober> {
    if role == Role::Init {
        return Vec::new();
    }
    let of = |kind| match kind {
        ProbeKind::Startup => spec.startup_probe.as_ref(),
        ProbeKind::Liveness => spec.liveness_probe.as_ref(),
        ProbeKind::Readiness => spec.readiness_probe.as_ref(),
    };
    ProbeKind::ALL
        .into_iter()
        .filter_map(|kind| Some(Prober::new(kind, of(kind)?)))
        .collect()
}
