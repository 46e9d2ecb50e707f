//! Carries out what a pod's machine asks for, and answers it. Each action is its own future: those that do not depend on
//! each other run side by side.

use crate::container::{self, Places};
use crate::context::Context;
use crate::environment::{ConfigError, Facts};
use crate::hooks;
use crate::limits::GRACE_AFTER_HOOK;
use crate::probes;
use crate::references::References;
use crate::termination;
use crate::view::{Attempt, Place, PodView};
use crate::volumes;
use k8s_openapi::api::core::v1::{Container, Pod, Service};
use parking_lot::{Mutex, RwLock};
use pontoon_lifecycle::{Action, Exit, Input, StartFailure};
use pontoon_network::dataplane::{HostPort, PodAttachment, Protocol};
use pontoon_runtime::{
    Capability, ContainerId, ContainerState, ContainerStatus, PullPolicy, RuntimeError, SandboxId,
};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

mod sandbox;

/// The pod as it is at present.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) pod: Arc<Pod>,
    pub(crate) references: Arc<References>,
}

/// Carries out one pod's actions.
pub(crate) struct Driver {
    pub(crate) context: Arc<Context>,
    pub(crate) view: Arc<PodView>,
    pub(crate) current: RwLock<Current>,
    pub(crate) sandbox: Mutex<Option<SandboxId>>,
    volumes_turn: tokio::sync::Mutex<()>,
    /// Attempts whose `preStop` hook has begun: it runs once, however often a stop is asked for.
    hooked: Mutex<BTreeSet<(String, u32)>>,
}

/// What a runtime's exit is to a machine.
pub(crate) fn exit_of(exit: pontoon_runtime::Exit) -> Exit {
    Exit {
        exit_code: exit.exit_code,
        signal: exit.signal,
        reason: exit.reason.as_str().to_owned(),
        message: exit.message,
        started_at: exit.started_at,
        finished_at: exit.finished_at,
    }
}

impl Driver {
    pub(crate) fn new(context: Arc<Context>, view: Arc<PodView>, current: Current) -> Self {
        Self {
            context,
            view,
            current: RwLock::new(current),
            sandbox: Mutex::new(None),
            volumes_turn: tokio::sync::Mutex::new(()),
            hooked: Mutex::default(),
        }
    }

    /// Does it, and says what came of it. Reports, events and the end are not for here.
    pub(crate) async fn carry_out(&self, action: Action) -> Vec<Input> {
        match action {
            Action::CreateSandbox { attempt } => vec![self.create_sandbox(attempt).await],
            Action::PrepareVolumes => vec![self.prepare_volumes().await],
            Action::EnsureImage { container } => vec![self.ensure_image(container).await],
            Action::StartContainer { container, attempt } => self.start(container, attempt).await,
            Action::PostStart { container, attempt } => {
                let failure = self.post_start(&container).await.err();
                vec![Input::PostStartDone {
                    container,
                    attempt,
                    failure,
                }]
            }
            Action::StopContainer {
                container,
                attempt,
                grace,
            } => vec![self.stop(container, attempt, grace).await],
            Action::Probe {
                container,
                attempt,
                kind,
                timeout,
            } => {
                let outcome = self.probe(&container, kind, timeout).await;
                vec![Input::Probed {
                    container,
                    attempt,
                    kind,
                    outcome,
                }]
            }
            Action::StopSandbox => vec![self.stop_sandbox().await],
            Action::RemoveSandbox => vec![self.remove_sandbox().await],
            Action::Report(_) | Action::Event(_) | Action::Removed => Vec::new(),
        }
    }

    pub(crate) fn snapshot(&self) -> Current {
        self.current.read().clone()
    }

    pub(crate) fn container_spec<'p>(pod: &'p Pod, name: &str) -> Option<&'p Container> {
        let spec = pod.spec.as_ref()?;
        let init = spec.init_containers.iter().flatten();
        init.chain(&spec.containers).find(|c| c.name == name)
    }

    /// Tells the pod's author of something that works otherwise than asked for.
    fn warn(&self, reason: &'static str, message: String, container: Option<&str>) {
        tracing::warn!(pod = %self.view.pod.name, container, reason, message);
        let event = pontoon_lifecycle::Event {
            kind: pontoon_lifecycle::EventType::Warning,
            reason,
            message,
            field_path: container.map(|name| format!("spec.containers{{{name}}}")),
        };
        self.context.reporter.event(&self.view.pod, &event);
    }

    async fn prepare_volumes(&self) -> Input {
        let _turn = self.volumes_turn.lock().await;
        let current = self.snapshot();
        let none = current
            .pod
            .spec
            .as_ref()
            .is_none_or(|s| s.volumes.iter().flatten().count() == 0);
        if none || !self.view.runtime.uses_files() {
            return Input::VolumesReady;
        }
        let directory = self.volumes_directory();
        let capacity = self.context.capacity;
        let host_ips = self.context.host_ips();
        let pod_ips = self.view.place.read().ips.clone();
        let prepared = tokio::task::spawn_blocking(move || {
            let facts = Facts {
                pod: &current.pod,
                references: &current.references,
                pod_ips: &pod_ips,
                host_ips: &host_ips,
                node_cpu_millis: capacity.allocatable_cpu_millis(),
                node_memory_bytes: capacity.allocatable_memory_bytes(),
                services: &[],
            };
            volumes::prepare(&directory, &facts)
        })
        .await;
        match prepared {
            Ok(Ok(notes)) => {
                for note in notes {
                    self.warn("VolumeOnDisk", note, None);
                }
                Input::VolumesReady
            }
            Ok(Err(error)) => Input::VolumesFailed {
                volume: error.volume,
                message: error.message,
            },
            Err(panicked) => Input::VolumesFailed {
                volume: String::new(),
                message: panicked.to_string(),
            },
        }
    }

    fn volumes_directory(&self) -> std::path::PathBuf {
        let uid = &self.view.pod.uid;
        self.context.pod_directory(uid).join("volumes")
    }

    async fn ensure_image(&self, container: String) -> Input {
        let pod = self.snapshot().pod;
        let Some(spec) = Self::container_spec(&pod, &container) else {
            return Input::Tick;
        };
        let image = spec.image.clone().unwrap_or_default();
        let policy = container::pull_policy(spec);
        match self.view.runtime.ensure_image(&image, policy).await {
            Ok(image_id) => Input::ImageReady {
                container,
                image_id,
            },
            Err(error) => {
                let absent = matches!(error, RuntimeError::ImageNotFound { .. });
                let reason = match error {
                    _ if absent && policy == PullPolicy::Never => "ErrImageNeverPull",
                    RuntimeError::InvalidImageName { .. } => "InvalidImageName",
                    _ => "ErrImagePull",
                };
                Input::ImageFailed {
                    container,
                    reason: reason.to_owned(),
                    message: error.to_string(),
                }
            }
        }
    }

    async fn start(&self, container: String, attempt: u32) -> Vec<Input> {
        match self.try_start(&container, attempt).await {
            Ok(status) => self.started(container, attempt, status).await,
            Err(failure) => vec![Input::ContainerStartFailed {
                container,
                attempt,
                failure,
            }],
        }
    }

    async fn try_start(
        &self,
        container: &str,
        attempt: u32,
    ) -> Result<ContainerStatus, StartFailure> {
        let refused = |message: String| StartFailure::Refused {
            reason: "CreateContainerError".to_owned(),
            message,
        };
        let current = self.snapshot();
        let spec = Self::container_spec(&current.pod, container)
            .ok_or_else(|| refused(format!("the pod has no container {container}")))?;
        let sandbox = self.sandbox.lock().clone();
        let sandbox = sandbox.ok_or_else(|| refused("the sandbox is gone".to_owned()))?;
        let services = self.context.services.all();
        let pod_ips = self.view.place.read().ips.clone();
        let wanted = spec;
        let spec = self.runtime_spec(&current, wanted, attempt, &pod_ips, &services);
        let mut spec = spec.map_err(|error| StartFailure::Config {
            message: error.message,
        })?;
        let shown = self.show_termination_file(wanted, &mut spec);
        shown.map_err(|error| refused(format!("termination message file: {error}")))?;
        if let Some(folder) = spec.log_path.parent()
            && self.view.runtime.uses_files()
        {
            let made = tokio::fs::create_dir_all(folder).await;
            made.map_err(|error| refused(format!("log directory: {error}")))?;
        }
        match self.view.runtime.start_container(&sandbox, &spec).await {
            Ok(status) => Ok(status),
            Err(error) => Err(self.start_failure(container, attempt, &error).await),
        }
    }

    /// Shows the container the file for its last words, where the runtime can show a file at all and no volume is there.
    fn show_termination_file(
        &self,
        wanted: &Container,
        spec: &mut pontoon_runtime::ContainerSpec,
    ) -> std::io::Result<()> {
        let runtime = &self.view.runtime;
        let can_show = runtime.capabilities().has(Capability::MountNamespace);
        if !can_show || !runtime.uses_files() {
            return Ok(());
        }
        let file = self.termination_file(&wanted.name, spec.attempt);
        let mount = termination::prepare(&file, wanted)?;
        let taken = spec
            .mounts
            .iter()
            .any(|other| other.container_path == mount.container_path);
        if !taken {
            spec.mounts.push(mount);
            spec.mounts
                .sort_by(|a, b| a.container_path.cmp(&b.container_path));
        }
        Ok(())
    }

    fn termination_file(&self, container: &str, attempt: u32) -> std::path::PathBuf {
        let directory = self.context.pod_directory(&self.view.pod.uid);
        termination::file(&directory, container, attempt)
    }

    /// An exit with what the container said of it.
    pub(crate) fn explained(&self, container: &str, attempt: u32, exit: Exit) -> Exit {
        let pod = self.snapshot().pod;
        explained(&self.context, &self.view, &pod, (container, attempt), exit)
    }

    fn runtime_spec(
        &self,
        current: &Current,
        container: &Container,
        attempt: u32,
        pod_ips: &[IpAddr],
        services: &[Service],
    ) -> Result<pontoon_runtime::ContainerSpec, ConfigError> {
        let host_ips = self.context.host_ips();
        let capacity = self.context.capacity;
        let facts = Facts {
            pod: &current.pod,
            references: &current.references,
            pod_ips,
            host_ips: &host_ips,
            node_cpu_millis: capacity.allocatable_cpu_millis(),
            node_memory_bytes: capacity.allocatable_memory_bytes(),
            services,
        };
        let volumes = self.volumes_directory();
        let places = Places {
            volumes: self.view.runtime.uses_files().then_some(&*volumes),
            logs: &self.view.logs,
        };
        container::spec(&facts, container, attempt, capacity.memory_bytes, places)
    }

    async fn start_failure(
        &self,
        container: &str,
        attempt: u32,
        error: &RuntimeError,
    ) -> StartFailure {
        let used = matches!(
            error,
            RuntimeError::CommandNotFound { .. }
                | RuntimeError::CannotRun { .. }
                | RuntimeError::StartError { .. }
        );
        if !used {
            return StartFailure::Refused {
                reason: error.reason().to_owned(),
                message: error.to_string(),
            };
        }
        let id = self.found_id(container, attempt).await;
        StartFailure::Ended {
            id: id.map(|id| self.full_id(&id)).unwrap_or_default(),
            exit: Exit {
                exit_code: 128,
                signal: None,
                reason: error.reason().to_owned(),
                message: error.to_string(),
                started_at: None,
                finished_at: self.context.world.now(),
            },
        }
    }

    async fn found_id(&self, container: &str, attempt: u32) -> Option<ContainerId> {
        let inventory = self.view.runtime.list().await.ok()?;
        let uid = &self.view.pod.uid;
        inventory
            .containers
            .into_iter()
            .find(|c| c.pod_uid == *uid && c.name == container && c.attempt == attempt)
            .map(|c| c.id)
    }

    fn full_id(&self, id: &ContainerId) -> String {
        format!("{}://{id}", self.view.runtime.handler())
    }

    async fn started(
        &self,
        container: String,
        attempt: u32,
        status: ContainerStatus,
    ) -> Vec<Input> {
        let id = self.full_id(&status.id);
        for warning in &status.warnings {
            self.warn("RuntimeWarning", warning.clone(), Some(&container));
        }
        let running = !matches!(status.state, ContainerState::Exited(_));
        let seen = Attempt {
            number: attempt,
            id: status.id.clone(),
            running,
        };
        self.view.set(&container, seen);
        if attempt > 0 {
            self.forget_older(&container, attempt).await;
        }
        let start = |started_at| Input::ContainerStarted {
            container: container.clone(),
            attempt,
            id: id.clone(),
            started_at,
        };
        match status.state {
            ContainerState::Running { started_at, .. } => vec![start(started_at)],
            ContainerState::Created => vec![start(self.context.world.now())],
            ContainerState::Exited(exit) => {
                let exit = exit_of(exit);
                match exit.started_at {
                    Some(at) => {
                        let started = start(at);
                        let exited = Input::ContainerExited {
                            container,
                            attempt,
                            exit,
                        };
                        vec![started, exited]
                    }
                    None => vec![Input::ContainerStartFailed {
                        container,
                        attempt,
                        failure: StartFailure::Ended { id, exit },
                    }],
                }
            }
        }
    }

    /// Keeps the logs and the record of one attempt before this one, as kubelet does.
    async fn forget_older(&self, container: &str, attempt: u32) {
        let Some(oldest) = attempt.checked_sub(1).filter(|oldest| *oldest > 0) else {
            return;
        };
        let Ok(inventory) = self.view.runtime.list().await else {
            return;
        };
        let uid = &self.view.pod.uid;
        let old = inventory
            .containers
            .into_iter()
            .filter(|c| c.pod_uid == *uid && c.name == container && c.attempt < oldest);
        for old in old {
            // What cannot be removed at this time goes with the sandbox.
            let _ = self.view.runtime.remove_container(&old.id).await;
            let words = self.termination_file(container, old.attempt);
            let _ = tokio::fs::remove_file(words).await;
            let log = container::log_path(&self.view.logs, container, old.attempt);
            let files = pontoon_runtime::log::files_of(&log);
            for file in files {
                let _ = tokio::fs::remove_file(file).await;
            }
        }
    }

    async fn post_start(&self, container: &str) -> Result<(), String> {
        let pod = self.snapshot().pod;
        let hook = Self::container_spec(&pod, container)
            .and_then(|spec| spec.lifecycle.as_ref()?.post_start.as_ref());
        match (hook, self.view.attempt(container)) {
            (Some(hook), Some(attempt)) => {
                let ip = self.pod_ip();
                let spec = Self::container_spec(&pod, container);
                hooks::run(hook, &self.view.runtime, &attempt.id, ip, spec).await
            }
            _ => Ok(()),
        }
    }

    fn pod_ip(&self) -> Option<IpAddr> {
        self.view.place.read().ips.first().copied()
    }

    /// Runs the `preStop` hook once within the grace; what is left is the program's.
    async fn pre_stop(&self, container: &str, attempt: &Attempt, grace: Duration) -> Duration {
        let pod = self.snapshot().pod;
        let spec = Self::container_spec(&pod, container);
        let Some(hook) = spec.and_then(|spec| spec.lifecycle.as_ref()?.pre_stop.as_ref()) else {
            return grace;
        };
        let key = (container.to_owned(), attempt.number);
        if !self.hooked.lock().insert(key) {
            return grace;
        }
        let began = self.context.world.clock().monotonic();
        let run = hooks::run(hook, &self.view.runtime, &attempt.id, self.pod_ip(), spec);
        let failure = match tokio::time::timeout(grace, run).await {
            Ok(Ok(())) => None,
            Ok(Err(message)) => Some(message),
            Err(_) => Some("the grace period ended first".to_owned()),
        };
        if let Some(message) = failure {
            let message = format!("PreStopHook failed: {message}");
            self.warn("FailedPreStopHook", message, Some(container));
        }
        let took = self.context.world.clock().monotonic().saturating_sub(began);
        grace.saturating_sub(took).max(GRACE_AFTER_HOOK)
    }

    async fn stop(&self, container: String, attempt: u32, grace: Duration) -> Input {
        let known = self
            .view
            .attempt(&container)
            .filter(|a| a.number == attempt);
        let Some(known) = known else {
            return self.unwitnessed(container, attempt);
        };
        let grace = self.pre_stop(&container, &known, grace).await;
        match self.view.runtime.stop_container(&known.id, grace).await {
            Ok(status) => match status.state {
                ContainerState::Exited(exit) => Input::ContainerExited {
                    container,
                    attempt,
                    exit: exit_of(exit),
                },
                ContainerState::Created | ContainerState::Running { .. } => Input::StopFailed {
                    container,
                    attempt,
                    message: "it still runs".to_owned(),
                },
            },
            Err(RuntimeError::NotFound { .. }) => self.unwitnessed(container, attempt),
            Err(error) => Input::StopFailed {
                container,
                attempt,
                message: error.to_string(),
            },
        }
    }

    pub(crate) fn unwitnessed(&self, container: String, attempt: u32) -> Input {
        let now = self.context.world.now();
        Input::ContainerExited {
            container,
            attempt,
            exit: Exit {
                exit_code: 137,
                signal: None,
                reason: "ContainerStatusUnknown".to_owned(),
                message: "The container could not be located when the pod was terminated"
                    .to_owned(),
                started_at: None,
                finished_at: now,
            },
        }
    }

    async fn probe(
        &self,
        container: &str,
        kind: pontoon_lifecycle::ProbeKind,
        timeout: Duration,
    ) -> pontoon_lifecycle::ProbeOutcome {
        let pod = self.snapshot().pod;
        let known = self.view.attempt(container);
        let (Some(spec), Some(attempt)) = (Self::container_spec(&pod, container), known) else {
            return pontoon_lifecycle::ProbeOutcome::Unknown("no container".to_owned());
        };
        let target = probes::Target {
            runtime: &self.view.runtime,
            id: &attempt.id,
            container: spec,
            ip: self.pod_ip(),
        };
        probes::probe(&target, kind, timeout).await
    }
}

/// An exit with what the container said of it, unless the runtime knows better.
pub(crate) fn explained(
    context: &Context,
    view: &PodView,
    pod: &Pod,
    (container, attempt): (&str, u32),
    mut exit: Exit,
) -> Exit {
    let spec = Driver::container_spec(pod, container);
    if let Some(spec) = spec.filter(|_| exit.message.is_empty()) {
        let directory = context.pod_directory(&view.pod.uid);
        let file = termination::file(&directory, container, attempt);
        let log = container::log_path(&view.logs, container, attempt);
        exit.message = termination::message(&file, &log, spec, exit.exit_code);
    }
    exit
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|c| c.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let protocol = match port.protocol.as_deref() {
                None | Some("TCP") => Protocol::Tcp,
                Some("UDP") => Protocol::Udp,
                Some(_) => return None,
            };
            Some(HostPort {
                protocol,
                host_port: u16::try_from(port.host_port?).ok().filter(|p| *p > 0)?,
                container_port: u16::try_from(port.container_port).ok()?,
            })
        })
        .collect()
}

fn is_host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|s| s.host_network) == Some(true)
}

async fn remove_tree(path: &Path) -> Result<(), String> {
    let path = path.to_owned();
    let shown = path.display().to_string();
    match tokio::task::spawn_blocking(move || volumes::remove(&path)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{shown}: {error}")),
        Err(panicked) => Err(panicked.to_string()),
    }
}

impl Driver {
    fn attachment(&self, pod: &Pod) -> PodAttachment {
        PodAttachment {
            uid: pontoon_api::name::PodUid::new(&self.view.pod.uid),
            namespace: self.view.pod.namespace.clone(),
            name: self.view.pod.name.clone(),
            hostname: container::hostname(pod),
            host_ports: host_ports(pod),
        }
    }

    /// The pod's place in the network: its own, or the node's.
    async fn attach(&self, pod: &Pod) -> Result<Place, String> {
        if is_host_network(pod) {
            return Ok(Place {
                ips: self.context.host_ips(),
                netns: None,
            });
        }
        let attached = self.context.dataplane.attach(&self.attachment(pod)).await;
        let attached = attached.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|s| format!(": {s}"));
            format!("network: {error}{}", cause.unwrap_or_default())
        })?;
        Ok(Place {
            ips: vec![attached.ip],
            netns: attached.netns_path,
        })
    }
}
