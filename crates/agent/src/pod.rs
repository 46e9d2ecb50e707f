//! One task per pod: it feeds the pod's machine and has its actions carried out.

use crate::context::Context;
use crate::driver::{Current, Driver, exit_of};
use crate::ledger::PodEntry;
use crate::limits::POD_INPUTS_COUNT;
use crate::metrics;
use crate::references::References;
use crate::view::PodView;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use pontoon_lifecycle::{Action, Exit, Input, Machine, Phase};
use pontoon_runtime::{ContainerState, ContainerStatus, SandboxId};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::Instrument as _;

/// What a pod's task is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// The pod or what it refers to changed.
    Assign(Box<Assignment>),
    /// The pod object is gone: end it within its own grace.
    Unassign,
    /// A container ended.
    Exited(Box<ContainerStatus>),
    /// A container that ran is not there any more.
    Vanished {
        /// Its name.
        container: String,
        /// Which attempt.
        attempt: u32,
    },
    /// The sandbox died.
    SandboxLost(SandboxId),
    /// Stop and remove everything at once, and report nothing: the node itself is going.
    Discard {
        /// How long containers have.
        grace: Duration,
        /// Told when it is done.
        done: oneshot::Sender<()>,
    },
}

/// A pod with what it refers to.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) pod: Pod,
    pub(crate) references: Arc<References>,
    /// The references as they came, for the ledger.
    pub(crate) raw: Vec<Box<RawValue>>,
    /// W3C `traceparent` of the write that brought it; may be empty.
    pub(crate) trace: String,
}

/// The task's end of its queue and everything it owns.
pub(crate) struct PodTask {
    context: Arc<Context>,
    driver: Arc<Driver>,
    machine: Machine,
    raw: Vec<Box<RawValue>>,
    /// The trace of the write that last assigned the pod: what is done for it goes on with it.
    trace: String,
    messages: mpsc::Receiver<Message>,
    inputs: mpsc::Receiver<Input>,
    answers: mpsc::Sender<Input>,
    actions: JoinSet<()>,
    /// Ends that were seen before the start they belong to was answered.
    early: BTreeMap<(String, u32), Exit>,
    assigned_at: Duration,
    was_ready: bool,
    phase: Phase,
    over: bool,
}

impl PodTask {
    pub(crate) fn new(
        context: Arc<Context>,
        view: Arc<PodView>,
        machine: Machine,
        assignment: &Assignment,
        sandbox: Option<SandboxId>,
        messages: mpsc::Receiver<Message>,
    ) -> Self {
        let current = Current {
            pod: Arc::new(assignment.pod.clone()),
            references: Arc::clone(&assignment.references),
        };
        let driver = Driver::new(Arc::clone(&context), view, current);
        *driver.sandbox.lock() = sandbox;
        let (answers, inputs) = mpsc::channel(POD_INPUTS_COUNT);
        Self {
            driver: Arc::new(driver),
            raw: assignment.raw.clone(),
            trace: assignment.trace.clone(),
            messages,
            inputs,
            answers,
            actions: JoinSet::new(),
            early: BTreeMap::new(),
            assigned_at: context.world.clock().monotonic(),
            was_ready: false,
            phase: machine.phase(),
            over: false,
            machine,
            context,
        }
    }

    /// Runs until the pod is removed, or the agent lets go of it.
    pub(crate) async fn run(mut self) {
        self.feed(Input::Tick);
        while !self.over {
            let timer = self.machine.poll_timeout().map(|(at, _)| at);
            tokio::select! {
                message = self.messages.recv() => match message {
                    Some(Message::Discard { grace, done }) => {
                        self.discard(grace).await;
                        // Whoever asked may have stopped waiting.
                        let _ = done.send(());
                        return;
                    }
                    Some(message) => self.take(message),
                    None => return,
                },
                Some(input) = self.inputs.recv() => self.answer(input),
                () = self.context.sleep_until(timer) => self.feed(Input::Tick),
                Some(joined) = self.actions.join_next() => {
                    if let Err(error) = joined
                        && error.is_panic()
                    {
                        tracing::error!(pod = %self.driver.view.pod.name, "an action of the pod panicked");
                    }
                }
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Assign(assignment) => self.assign(*assignment),
            Message::Unassign => {
                let grace = self.own_grace();
                self.feed(Input::Delete { grace });
            }
            Message::Exited(status) => self.exited(*status),
            Message::Vanished { container, attempt } => {
                let input = self.driver.unwitnessed(container, attempt);
                self.feed(input);
            }
            Message::SandboxLost(id) => self.sandbox_lost(id),
            Message::Discard { .. } => {}
        }
    }

    fn own_grace(&self) -> Duration {
        let spec = self.machine.pod().spec.as_ref();
        let seconds = spec.and_then(|s| s.termination_grace_period_seconds);
        Duration::from_secs(seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(30))
    }

    fn assign(&mut self, assignment: Assignment) {
        let changed = {
            let mut current = self.driver.current.write();
            let changed = *current.references != *assignment.references;
            *current = Current {
                pod: Arc::new(assignment.pod.clone()),
                references: assignment.references,
            };
            changed
        };
        let metadata = |pod: &Pod| {
            (
                pod.metadata.labels.clone(),
                pod.metadata.annotations.clone(),
            )
        };
        let shown = metadata(self.machine.pod()) != metadata(&assignment.pod);
        let before = self.machine.pod();
        let durable = changed
            || before.spec != assignment.pod.spec
            || before.metadata.deletion_timestamp != assignment.pod.metadata.deletion_timestamp;
        self.raw = assignment.raw;
        self.trace = assignment.trace;
        self.save(&assignment.pod, None, durable);
        self.feed(Input::Updated(Box::new(assignment.pod)));
        if changed || shown {
            self.feed(Input::ReferencesChanged);
        }
    }

    /// Writes the pod to the ledger, with its own last status in place of the assigned one.
    fn save(&self, pod: &Pod, status: Option<&PodStatus>, durable: bool) {
        let mut pod = pod.clone();
        if let Some(status) = status.or(self.machine.reported()) {
            pod.status = Some(status.clone());
        }
        let entry = PodEntry::new(pod, self.raw.clone());
        let uid = &self.driver.view.pod.uid;
        self.context.ledger.put_pod(uid, &entry, durable);
    }

    fn exited(&mut self, status: ContainerStatus) {
        let ContainerState::Exited(exit) = status.state else {
            return;
        };
        let exit = exit_of(exit);
        self.driver.view.exited(&status.name, status.attempt);
        let used = self.machine.attempt(&status.name);
        if used.is_none_or(|(used, _)| status.attempt > used) {
            self.early.insert((status.name, status.attempt), exit);
            return;
        }
        self.feed(Input::ContainerExited {
            container: status.name,
            attempt: status.attempt,
            exit,
        });
    }

    fn sandbox_lost(&mut self, id: SandboxId) {
        if self.driver.sandbox.lock().as_ref() != Some(&id) || self.machine.is_ending() {
            return;
        }
        let (driver, answers) = (Arc::clone(&self.driver), self.answers.clone());
        self.actions.spawn(async move {
            // Nothing of the dead sandbox may run beside the next one.
            while let Err(error) = driver.view.runtime.stop_sandbox(&id).await {
                tracing::warn!(sandbox = %id, %error, "a dead sandbox could not be stopped");
                tokio::time::sleep(pontoon_lifecycle::limits::STOP_RETRY).await;
            }
            // The task may be over: then nobody needs to know.
            let _ = answers.send(Input::SandboxLost).await;
        });
    }

    /// An answer of an action; the end of a container whose start it answers may have been seen before.
    fn answer(&mut self, input: Input) {
        let started = match &input {
            Input::ContainerStarted {
                container, attempt, ..
            }
            | Input::ContainerStartFailed {
                container, attempt, ..
            } => Some((container.clone(), *attempt)),
            Input::ContainerExited {
                container, attempt, ..
            } => {
                self.driver.view.exited(container, *attempt);
                None
            }
            _ => None,
        };
        self.feed(input);
        if let Some((container, attempt)) = started {
            let early = self.early.remove(&(container.clone(), attempt));
            self.early
                .retain(|(name, number), _| *name != container || *number > attempt);
            if let Some(exit) = early {
                self.driver.view.exited(&container, attempt);
                self.feed(Input::ContainerExited {
                    container,
                    attempt,
                    exit,
                });
            }
        }
    }

    fn feed(&mut self, input: Input) {
        let input = match input {
            Input::ContainerExited {
                container,
                attempt,
                exit,
            } => Input::ContainerExited {
                exit: self.driver.explained(&container, attempt, exit),
                container,
                attempt,
            },
            other => other,
        };
        let now: Timestamp = self.context.world.now();
        for action in self.machine.handle(now, input) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Report(status) => self.report(&status),
            Action::Event(event) => {
                self.context.reporter.event(&self.driver.view.pod, &event);
            }
            Action::Removed => self.removed(),
            other => {
                if let Action::StartContainer { attempt, .. } = &other
                    && *attempt > 0
                {
                    metrics::container_restarted();
                }
                let (driver, answers) = (Arc::clone(&self.driver), self.answers.clone());
                let pod = &self.driver.view.pod;
                let span = tracing::info_span!(
                    "pod step",
                    namespace = pod.namespace,
                    pod = pod.name,
                    uid = pod.uid,
                    step = other.name()
                );
                // Probes go on for as long as the pod lives, and belong to no write.
                if !matches!(other, Action::Probe { .. }) {
                    pontoon_telemetry::trace::adopt(&span, &self.trace);
                }
                let steps = async move {
                    for input in driver.carry_out(other).await {
                        // The task may be over: then nobody needs to know.
                        let _ = answers.send(input).await;
                    }
                };
                self.actions.spawn(steps.instrument(span));
            }
        }
    }

    fn report(&mut self, status: &PodStatus) {
        let pod = &self.driver.view.pod;
        let ready = self.machine.is_ready();
        let phase = self.machine.phase();
        let urgent = ready != self.was_ready || phase != self.phase;
        if ready && !self.was_ready {
            let now = self.context.world.clock().monotonic();
            metrics::pod_started(now.saturating_sub(self.assigned_at));
        }
        self.was_ready = ready;
        self.phase = phase;
        let serves = ready && !self.machine.is_ending();
        self.context.services.set_ready(&pod.uid, serves);
        self.context
            .reporter
            .report(pod.clone(), status, false, urgent);
        self.save(self.machine.pod(), Some(status), false);
    }

    fn removed(&mut self) {
        let pod = self.driver.view.pod.clone();
        let status = self.machine.reported().cloned().unwrap_or_default();
        self.context.services.pod_removed(&pod.uid);
        self.context.ledger.remove_pod(&pod.uid);
        self.context.reporter.report(pod, &status, true, true);
        self.over = true;
    }

    async fn discard(&mut self, grace: Duration) {
        self.actions.shutdown().await;
        let driver = &self.driver;
        self.context.services.pod_removed(&driver.view.pod.uid);
        let running = driver.view.attempts().into_values().filter(|a| a.running);
        let mut stops: JoinSet<()> = JoinSet::new();
        for attempt in running {
            let runtime = Arc::clone(&driver.view.runtime);
            stops.spawn(async move {
                if let Err(error) = runtime.stop_container(&attempt.id, grace).await {
                    tracing::warn!(container = %attempt.id, %error, "a container could not be stopped");
                }
            });
        }
        while stops.join_next().await.is_some() {}
        if let Err(message) = driver.remove_everything().await {
            tracing::warn!(pod = %driver.view.pod.name, message, "a pod could not be removed");
        }
        self.context.ledger.remove_pod(&driver.view.pod.uid);
    }
}
