//! Starting a container: its directory, its control group, its shim.

use pontoon_runtime::{
    ContainerSpec, ContainerState, ContainerStatus, ResourceLimits, RuntimeError, SandboxId,
    SandboxSpec,
};
use std::fs::{self, File};
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

use super::container::{self, Container};
use super::sandbox::Sandbox;
use super::{Inner, blocking, image, recover, unavailable, watch};
use crate::layout::{self, Durability};
use crate::limits::{SHIM_REPORT_BYTES, SHIM_START_SECONDS};
use crate::plan::{CgroupPlan, LaunchPlan, Report};

/// Starts an attempt, or tells what became of it.
pub(super) async fn start(
    inner: &Arc<Inner>,
    sandbox: &SandboxId,
    spec: ContainerSpec,
) -> Result<ContainerStatus, RuntimeError> {
    image::judge(&spec.image)?;
    let container = admit(inner, sandbox, &spec)?;
    let _gate = container.gate.lock().await;
    if !matches!(container.status().state, ContainerState::Created) {
        return Ok(container.status());
    }
    if !inner
        .container(&container.id)
        .is_ok_and(|current| Arc::ptr_eq(&current, &container))
    {
        // It was removed while this call waited at the gate.
        return Err(RuntimeError::Busy {
            what: format!("container {}", container.id),
        });
    }
    let Some(sandbox) = inner.sandbox(sandbox).filter(|sandbox| sandbox.is_ready()) else {
        return Err(RuntimeError::NotFound {
            what: format!("ready sandbox {sandbox}"),
        });
    };
    let report = launch(inner, &sandbox, &container, spec).await?;
    match report {
        Report::Started | Report::Exists => {
            recover::settle(inner, &container)
                .await
                .map_err(|error| unavailable(&container.id, error))?;
            Ok(container.status())
        }
        Report::Failed(failure) => {
            recover::settle(inner, &container)
                .await
                .map_err(|error| unavailable(&container.id, error))?;
            Err(failure.into())
        }
        Report::Unable(message) => Err(unavailable("shim", message)),
    }
}

/// Finds the attempt in the table, or enters it.
fn admit(
    inner: &Inner,
    sandbox: &SandboxId,
    spec: &ContainerSpec,
) -> Result<Arc<Container>, RuntimeError> {
    if !layout::is_file_name(&spec.name) {
        return Err(RuntimeError::NotPermitted {
            message: format!("{:?} cannot be a container's name", spec.name),
        });
    }
    let id = container::id_of(sandbox, &spec.name, spec.attempt);
    let mut table = inner.table.lock();
    if let Some(existing) = table.containers.get(&id) {
        return Ok(existing.clone());
    }
    let owner = table
        .sandboxes
        .get(sandbox)
        .filter(|sandbox| sandbox.is_ready());
    let owner = owner.ok_or_else(|| RuntimeError::NotFound {
        what: format!("ready sandbox {sandbox}"),
    })?;
    let status = ContainerStatus {
        id: id.clone(),
        sandbox: sandbox.clone(),
        pod_uid: owner.record.spec.pod.uid.clone(),
        name: spec.name.clone(),
        attempt: spec.attempt,
        image: spec.image.clone(),
        state: ContainerState::Created,
        warnings: Vec::new(),
    };
    let container = Arc::new(Container::new(
        status,
        owner.directory.container(&spec.name, spec.attempt),
    ));
    table.containers.insert(id, container.clone());
    Ok(container)
}

async fn launch(
    inner: &Arc<Inner>,
    sandbox: &Arc<Sandbox>,
    container: &Arc<Container>,
    spec: ContainerSpec,
) -> Result<Report, RuntimeError> {
    let log = {
        let (inner, sandbox, container) = (inner.clone(), sandbox.clone(), container.clone());
        blocking(move || prepare(&inner, &sandbox, &container, spec)).await?
    };
    let log = log.map_err(|error| unavailable(container.directory.path().display(), error))?;
    let mut command = watch::shim(inner, "run");
    command
        .arg(container.directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = command
        .spawn()
        .map_err(|error| unavailable("shim", error))?;
    let stdout = child.stdout.take();
    let read = async {
        let mut line = Vec::new();
        if let Some(stdout) = stdout {
            stdout
                .take(SHIM_REPORT_BYTES)
                .read_to_end(&mut line)
                .await?;
        }
        // The child leaves the shim behind and ends at once.
        child.wait().await?;
        io::Result::Ok(line)
    };
    let line = tokio::time::timeout(Duration::from_secs(SHIM_START_SECONDS), read).await;
    let line = line
        .map_err(|error| unavailable("shim", error))?
        .map_err(|error| unavailable("shim", error))?;
    serde_json::from_slice(&line).map_err(|error| {
        let complaint = fs::read_to_string(container.directory.shim_log()).unwrap_or_default();
        unavailable(
            "shim ended without a report",
            format!("{error} {complaint}"),
        )
    })
}

/// Writes the plan and makes the group; returns the file for the shim's complaints.
fn prepare(
    inner: &Inner,
    sandbox: &Sandbox,
    container: &Container,
    spec: ContainerSpec,
) -> io::Result<File> {
    let directory = &container.directory;
    layout::make_private_directory(directory.path())?;
    let (cgroups, mut warnings) = match &inner.cgroups {
        Some(cgroups) => {
            let (group, warnings) =
                cgroups.create(sandbox.id.as_str(), Some(&container.group), &spec.limits);
            (group.plan(), warnings)
        }
        None => (
            CgroupPlan {
                procs: Vec::new(),
                oom: None,
            },
            unenforced(&spec.limits),
        ),
    };
    warnings.extend(sandbox.record.warnings.iter().cloned());
    let pod = &sandbox.record.spec;
    let isolation = inner.isolation;
    if !isolation.mount {
        warnings.extend(unshown(&spec, pod));
    }
    let given = |contents: &Option<String>, path| contents.is_some().then_some(path);
    let plan = LaunchPlan {
        hostname: pod.hostname.clone(),
        netns: pod.netns.clone(),
        resolv_conf: given(&pod.resolv_conf, sandbox.directory.resolv_conf()),
        hosts: given(&pod.hosts, sandbox.directory.hosts()),
        cgroups,
        isolation,
        warnings,
        spec,
    };
    layout::write_record(&directory.plan(), &plan, Durability::UntilReboot)?;
    File::options()
        .create(true)
        .append(true)
        .open(directory.shim_log())
}

/// The words for volumes and files that need a mount namespace.
fn unshown(spec: &ContainerSpec, pod: &SandboxSpec) -> Vec<String> {
    let why = "the agent may not make mount namespaces";
    let elsewhere = spec
        .mounts
        .iter()
        .filter(|mount| mount.host_path != mount.container_path);
    let mut words: Vec<String> = elsewhere
        .map(|mount| {
            let (path, at) = (mount.container_path.display(), mount.host_path.display());
            format!("volume at {path} is not shown there: {why}; it lies at {at}")
        })
        .collect();
    if spec.mounts.iter().any(|mount| mount.read_only) {
        words.push(format!("read-only volumes can be written: {why}"));
    }
    if pod.resolv_conf.is_some() || pod.hosts.is_some() {
        words.push(format!(
            "the node's own /etc/resolv.conf and /etc/hosts are used: {why}"
        ));
    }
    words
}

/// The words for limits where there are no control groups at all.
fn unenforced(limits: &ResourceLimits) -> Vec<String> {
    let asked = [
        (limits.memory_limit_bytes, "memory limit"),
        (limits.cpu_limit_millis, "cpu limit"),
        (limits.cpu_request_millis, "cpu request"),
        (limits.pids_limit, "limit of processes"),
    ];
    let asked = asked.into_iter().filter(|(limit, _)| limit.is_some());
    asked
        .map(|(_, what)| format!("{what} is not enforced: the agent may not make control groups"))
        .collect()
}
