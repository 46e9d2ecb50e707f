//! All pods of the node: who drives which, what runtimes have that nobody claimed, and what is to go.

use crate::container;
use crate::context::Context;
use crate::driver;
use crate::ledger::PodEntry;
use crate::limits::{
    POD_INPUTS_COUNT, RELIST_PERIOD, RUNTIME_RETRY_FIRST, RUNTIME_RETRY_MAX, TOMBSTONES_COUNT,
};
use crate::metrics;
use crate::pod::{Assignment, Message, PodTask};
use crate::references::References;
use crate::report::PodRef;
use crate::view::{Attempt, Place, PodView};
use bytes::Bytes;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use pontoon_api::name::PodUid;
use pontoon_lifecycle::{Machine, NodeFacts, Recovered, RecoveredContainer, RecoveredState};
use pontoon_runtime::{
    ContainerState, ContainerStatus, Inventory, Runtime, RuntimeEvent, SandboxState, SandboxStatus,
};
use pontoon_wire::node::v1::Assign;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

/// What one runtime has of one pod.
#[derive(Debug, Default)]
struct Found {
    handler: String,
    sandboxes: Vec<SandboxStatus>,
    containers: Vec<ContainerStatus>,
}

struct Driven {
    messages: mpsc::Sender<Message>,
    view: Arc<PodView>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    driven: BTreeMap<String, Driven>,
    /// What runtimes had when the agent started, until somebody is told to drive it or the session says that nobody is.
    unclaimed: BTreeMap<String, Found>,
    /// Pods that were removed; what the server still sends of them is an echo.
    tombstones: BTreeSet<String>,
    tombstone_order: VecDeque<String>,
    /// Pods the session has named since it began.
    named: BTreeSet<String>,
}

/// The node's pods.
pub(crate) struct Pods {
    context: Arc<Context>,
    state: Mutex<State>,
}

impl Pods {
    /// Asks every runtime what it has, and waits until each has answered: without that a container could be started twice.
    pub(crate) async fn begin(context: Arc<Context>) -> Arc<Self> {
        let mut unclaimed: BTreeMap<String, Found> = BTreeMap::new();
        for (handler, runtime) in &context.runtimes {
            let inventory = list(&**runtime).await;
            for sandbox in inventory.sandboxes {
                let found = unclaimed.entry(sandbox.pod.uid.clone()).or_default();
                found.handler.clone_from(handler);
                found.sandboxes.push(sandbox);
            }
            for container in inventory.containers {
                let found = unclaimed.entry(container.pod_uid.clone()).or_default();
                found.handler.clone_from(handler);
                found.containers.push(container);
            }
        }
        let state = State {
            unclaimed,
            ..State::default()
        };
        Arc::new(Self {
            context,
            state: Mutex::new(state),
        })
    }

    /// Drives the pods of the ledger, as they were when the agent went.
    pub(crate) fn restore(self: &Arc<Self>, entries: Vec<PodEntry>) {
        for entry in entries {
            let objects: Vec<Bytes> = entry
                .references
                .iter()
                .map(|raw| Bytes::copy_from_slice(raw.get().as_bytes()))
                .collect();
            match References::parse(&objects) {
                Ok(references) => self.drive(Assignment {
                    pod: entry.pod,
                    references: Arc::new(references),
                    raw: entry.references,
                    trace: String::new(),
                }),
                Err(error) => tracing::error!(%error, "a pod of the ledger cannot be restored"),
            }
        }
    }

    /// A session began; it will name every pod of this node.
    pub(crate) fn begin_session(&self) {
        self.state.lock().named.clear();
    }

    /// A pod is this node's, or changed.
    pub(crate) async fn assign(self: &Arc<Self>, assign: Assign) {
        let assignment = match assignment(assign) {
            Ok(assignment) => assignment,
            Err(error) => {
                tracing::error!(%error, "an assignment cannot be read and is passed over");
                return;
            }
        };
        let uid = assignment.pod.metadata.uid.clone().unwrap_or_default();
        let sender = {
            let mut state = self.state.lock();
            state.named.insert(uid.clone());
            if state.tombstones.contains(&uid) {
                self.repeat_removal(&assignment.pod);
                return;
            }
            state.driven.get(&uid).map(|driven| driven.messages.clone())
        };
        match sender {
            // A task that has just ended leaves the message unread: the pod is removed, and its last report says so.
            Some(sender) => drop(sender.send(Message::Assign(Box::new(assignment))).await),
            None => self.drive(assignment),
        }
    }

    /// The server still has a pod that this node removed: its last report may have been lost.
    fn repeat_removal(&self, pod: &Pod) {
        let pod_ref = pod_ref(pod);
        if !self.context.reporter.waits(&pod_ref.uid) {
            let status = pod.status.clone().unwrap_or_default();
            self.context.reporter.report(pod_ref, &status, true, true);
        }
    }

    /// A pod's object is gone.
    pub(crate) async fn unassign(&self, uid: &str) {
        let sender = {
            let mut state = self.state.lock();
            state.named.remove(uid);
            if state.tombstones.remove(uid) {
                self.context.reporter.forget(uid);
            }
            state.driven.get(uid).map(|driven| driven.messages.clone())
        };
        if let Some(sender) = sender {
            // See `assign` for a task that has just ended.
            let _ = sender.send(Message::Unassign).await;
        }
    }

    /// The session named every pod: what else is here has to go.
    pub(crate) async fn synced(self: &Arc<Self>) {
        let (senders, leftovers, known) = {
            let mut state = self.state.lock();
            let unnamed = state
                .driven
                .iter()
                .filter(|(uid, _)| !state.named.contains(*uid));
            let senders: Vec<_> = unnamed.map(|(_, driven)| driven.messages.clone()).collect();
            let leftovers = std::mem::take(&mut state.unclaimed);
            let known: BTreeSet<String> = state.driven.keys().cloned().collect();
            (senders, leftovers, known)
        };
        for sender in senders {
            let _ = sender.send(Message::Unassign).await;
        }
        let pods = Arc::clone(self);
        tokio::spawn(async move { pods.sweep(leftovers, &known).await });
    }

    /// Removes what belongs to no pod: sandboxes, addresses, directories.
    async fn sweep(&self, leftovers: BTreeMap<String, Found>, known: &BTreeSet<String>) {
        for (uid, found) in leftovers {
            let Some(runtime) = self.context.runtimes.get(&found.handler) else {
                continue;
            };
            for sandbox in found.sandboxes {
                tracing::info!(uid, sandbox = %sandbox.id, "removing what no pod claims");
                if let Err(error) = runtime.remove_sandbox(&sandbox.id).await {
                    tracing::warn!(uid, %error, "a sandbox that no pod claims could not be removed");
                }
            }
        }
        for attached in self.context.dataplane.attached() {
            let uid = attached.uid.as_str();
            if !known.contains(uid) && !self.state.lock().driven.contains_key(uid) {
                self.detach(&attached.uid).await;
            }
        }
        self.sweep_directories(known).await;
    }

    async fn detach(&self, uid: &PodUid) {
        if let Err(error) = self.context.dataplane.detach(uid).await {
            tracing::warn!(%uid, %error, "an address that no pod claims could not be freed");
        }
    }

    async fn sweep_directories(&self, known: &BTreeSet<String>) {
        for (folder, uid_of) in [("pods", 0), ("logs", 1)] {
            let Ok(mut entries) = tokio::fs::read_dir(self.context.directory.join(folder)).await
            else {
                continue;
            };
            while let Ok(Some(entry)) = entries.next_entry().await {
                let name = entry.file_name().to_string_lossy().into_owned();
                let uid = if uid_of == 0 {
                    name.as_str()
                } else {
                    name.rsplit('_').next().unwrap_or_default()
                };
                if !known.contains(uid) && !self.state.lock().driven.contains_key(uid) {
                    // What stays is tried again at the next sync.
                    let _ = tokio::fs::remove_dir_all(entry.path()).await;
                }
            }
        }
    }

    /// Begins to drive a pod: with what its runtime has of it, or from nothing.
    fn drive(self: &Arc<Self>, assignment: Assignment) {
        let pod_ref = pod_ref(&assignment.pod);
        let uid = pod_ref.uid.clone();
        let mut state = self.state.lock();
        let found = state.unclaimed.remove(&uid);
        let runtime = self.runtime_for(&assignment, found.as_ref());
        let logs = self
            .context
            .log_directory(&pod_ref.namespace, &pod_ref.name, &uid);
        let view = Arc::new(PodView::new(pod_ref, Arc::clone(&runtime), logs));
        let (recovered, sandbox) = self.recovered(found, &view, &assignment.pod);
        let node = NodeFacts {
            ips: self.context.host_ips(),
        };
        let now = self.context.world.now();
        let machine = Machine::new(assignment.pod.clone(), node, recovered, now);
        let (sender, messages) = mpsc::channel(POD_INPUTS_COUNT);
        let entry = PodEntry::new(assignment.pod.clone(), assignment.raw.clone());
        self.context.ledger.put_pod(&uid, &entry, true);
        let task = PodTask::new(
            Arc::clone(&self.context),
            Arc::clone(&view),
            machine,
            &assignment,
            sandbox,
            messages,
        );
        let pods = Arc::clone(self);
        let handle = tokio::spawn({
            let uid = uid.clone();
            async move {
                task.run().await;
                pods.ended(&uid);
            }
        });
        let driven = Driven {
            messages: sender,
            view,
            task: handle,
        };
        state.driven.insert(uid, driven);
        metrics::pods(state.driven.len());
    }

    fn ended(&self, uid: &str) {
        let mut state = self.state.lock();
        state.driven.remove(uid);
        metrics::pods(state.driven.len());
        if state.tombstones.insert(uid.to_owned()) {
            state.tombstone_order.push_back(uid.to_owned());
        }
        if state.tombstone_order.len() > TOMBSTONES_COUNT
            && let Some(oldest) = state.tombstone_order.pop_front()
        {
            state.tombstones.remove(&oldest);
        }
    }

    /// The runtime that has begun the pod, or the one its RuntimeClass names, or the node's default.
    fn runtime_for(&self, assignment: &Assignment, found: Option<&Found>) -> Arc<dyn Runtime> {
        let begun = found.map(|found| found.handler.clone());
        let spec = assignment.pod.spec.as_ref();
        let class = spec.and_then(|s| s.runtime_class_name.as_ref());
        let named = class.and_then(|class| assignment.references.handlers.get(class).cloned());
        begun
            .or(named)
            .and_then(|handler| self.context.runtimes.get(&handler).cloned())
            .unwrap_or_else(|| self.context.default_runtime())
    }

    fn recovered(
        &self,
        found: Option<Found>,
        view: &PodView,
        pod: &Pod,
    ) -> (Recovered, Option<pontoon_runtime::SandboxId>) {
        let Some(found) = found else {
            return (Recovered::default(), None);
        };
        let place = self.place(view, pod);
        let newest = found.sandboxes.into_iter().max_by_key(|s| s.attempt);
        let ips = place.ips.clone();
        // A sandbox without its address is of no use: another one is made.
        let usable = !ips.is_empty();
        *view.place.write() = place;
        let containers = found
            .containers
            .into_iter()
            .map(|status| self.recovered_container(status, view, pod))
            .collect();
        let recovered = Recovered {
            sandbox: newest
                .as_ref()
                .map(|s| (s.attempt, usable && s.state == SandboxState::Ready, ips)),
            containers,
        };
        (recovered, newest.map(|s| s.id))
    }

    fn place(&self, view: &PodView, pod: &Pod) -> Place {
        let host_network = pod.spec.as_ref().and_then(|s| s.host_network) == Some(true);
        if host_network {
            return Place {
                ips: self.context.host_ips(),
                netns: None,
            };
        }
        let attached = self.context.dataplane.attached().into_iter();
        let own = attached
            .into_iter()
            .find(|a| a.uid.as_str() == view.pod.uid);
        own.map_or_else(Place::default, |attached| Place {
            ips: vec![attached.ip],
            netns: attached.netns_path,
        })
    }

    /// A pod by uid, for logs, exec and port-forward.
    pub(crate) fn view(&self, uid: &str) -> Option<Arc<PodView>> {
        let state = self.state.lock();
        state.driven.get(uid).map(|driven| Arc::clone(&driven.view))
    }

    fn sender(&self, uid: &str) -> Option<mpsc::Sender<Message>> {
        let state = self.state.lock();
        state.driven.get(uid).map(|driven| driven.messages.clone())
    }

    /// Follows one runtime's events, and lists it now and then for what they missed.
    pub(crate) async fn follow(self: Arc<Self>, runtime: Arc<dyn Runtime>) {
        loop {
            let mut events = runtime.events();
            self.relist(&*runtime).await;
            loop {
                let event = tokio::time::timeout(RELIST_PERIOD, events.next()).await;
                match event {
                    Ok(Some(event)) => self.pass_on(&*runtime, event).await,
                    Ok(None) => break,
                    Err(_) => self.relist(&*runtime).await,
                }
            }
            tokio::time::sleep(RUNTIME_RETRY_FIRST).await;
        }
    }

    async fn pass_on(&self, runtime: &dyn Runtime, event: RuntimeEvent) {
        match event {
            RuntimeEvent::ContainerExited(status) => {
                if let Some(sender) = self.sender(&status.pod_uid) {
                    let _ = sender.send(Message::Exited(status)).await;
                }
            }
            RuntimeEvent::SandboxNotReady(id) => {
                let senders: Vec<_> = {
                    let state = self.state.lock();
                    state.driven.values().map(|d| d.messages.clone()).collect()
                };
                for sender in senders {
                    let _ = sender.send(Message::SandboxLost(id.clone())).await;
                }
            }
            RuntimeEvent::Lost => self.relist(runtime).await,
        }
    }

    /// Compares what the pods believe with what the runtime says, and tells them of the difference.
    async fn relist(&self, runtime: &dyn Runtime) {
        let views: Vec<Arc<PodView>> = {
            let state = self.state.lock();
            let driven = state.driven.values();
            driven
                .filter(|d| d.view.runtime.handler() == runtime.handler())
                .map(|d| Arc::clone(&d.view))
                .collect()
        };
        let believed: Vec<_> = views.iter().map(|view| (view, view.attempts())).collect();
        let Ok(inventory) = runtime.list().await else {
            return;
        };
        let by_id: BTreeMap<_, _> = inventory
            .containers
            .into_iter()
            .map(|c| (c.id.clone(), c))
            .collect();
        for (view, attempts) in believed {
            for (name, attempt) in attempts.into_iter().filter(|(_, a)| a.running) {
                let message = match by_id.get(&attempt.id) {
                    None => Message::Vanished {
                        container: name,
                        attempt: attempt.number,
                    },
                    Some(status) if matches!(status.state, ContainerState::Exited(_)) => {
                        Message::Exited(Box::new(status.clone()))
                    }
                    Some(_) => continue,
                };
                if view.attempt_runs(&message) {
                    metrics::signal_lost();
                    if let Some(sender) = self.sender(&view.pod.uid) {
                        let _ = sender.send(message).await;
                    }
                }
            }
        }
    }

    /// Lets go of every pod without touching it.
    pub(crate) async fn let_go(&self) {
        let driven = std::mem::take(&mut self.state.lock().driven);
        for driven in driven.into_values() {
            driven.task.abort();
            // Either it was aborted or it ended by itself just before.
            let _ = driven.task.await;
        }
    }

    /// Stops and removes every pod.
    pub(crate) async fn discard(&self, grace: Duration) {
        let senders: Vec<_> = {
            let state = self.state.lock();
            state.driven.values().map(|d| d.messages.clone()).collect()
        };
        let mut waits: JoinSet<()> = JoinSet::new();
        for sender in senders {
            waits.spawn(async move {
                let (done, wait) = oneshot::channel();
                if sender.send(Message::Discard { grace, done }).await.is_ok() {
                    // An error means that the task ended by itself: the pod is removed.
                    let _ = wait.await;
                }
            });
        }
        while waits.join_next().await.is_some() {}
    }
}

async fn list(runtime: &dyn Runtime) -> Inventory {
    let mut wait = RUNTIME_RETRY_FIRST;
    loop {
        match runtime.list().await {
            Ok(inventory) => return inventory,
            Err(error) => {
                let handler = runtime.handler();
                tracing::warn!(handler, %error, "the runtime does not answer; nothing starts before it does");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RUNTIME_RETRY_MAX);
            }
        }
    }
}

impl Pods {
    fn recovered_container(
        &self,
        status: ContainerStatus,
        view: &PodView,
        pod: &Pod,
    ) -> RecoveredContainer {
        let id = format!("{}://{}", view.runtime.handler(), status.id);
        let running = matches!(status.state, ContainerState::Running { .. });
        let attempt = Attempt {
            number: status.attempt,
            id: status.id,
            running,
        };
        view.set(&status.name, attempt);
        let exited = |exit| {
            let which = (status.name.as_str(), status.attempt);
            driver::explained(&self.context, view, pod, which, driver::exit_of(exit))
        };
        let state = match status.state {
            ContainerState::Created => RecoveredState::Starting,
            ContainerState::Running { started_at, .. } => RecoveredState::Running { started_at },
            ContainerState::Exited(exit) => RecoveredState::Exited(exited(exit)),
        };
        RecoveredContainer {
            name: status.name,
            attempt: status.attempt,
            id,
            state,
        }
    }
}

fn pod_ref(pod: &Pod) -> PodRef {
    let meta = &pod.metadata;
    PodRef {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
    }
}

/// Why an assignment cannot be used.
#[derive(Debug, thiserror::Error)]
enum BadAssignment {
    #[error("not a pod")]
    Pod(#[source] serde_json::Error),
    #[error("the pod has no uid")]
    Uid,
    #[error(transparent)]
    Reference(#[from] crate::references::BadReference),
}

fn assignment(assign: Assign) -> Result<Assignment, BadAssignment> {
    let references = &assign.references;
    let pod: Pod = serde_json::from_slice(&assign.pod).map_err(BadAssignment::Pod)?;
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    // The uid names files: it must be one.
    if uid.is_empty() || !uid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(BadAssignment::Uid);
    }
    let parsed = References::parse(references)?;
    let raw = references
        .iter()
        .filter_map(|bytes| serde_json::from_slice::<Box<RawValue>>(bytes).ok())
        .collect();
    Ok(Assignment {
        pod,
        references: Arc::new(parsed),
        raw,
        trace: assign.trace,
    })
}

/// The log file of an attempt.
pub(crate) fn log_of(view: &PodView, name: &str, attempt: u32) -> std::path::PathBuf {
    container::log_path(&view.logs, name, attempt)
}
