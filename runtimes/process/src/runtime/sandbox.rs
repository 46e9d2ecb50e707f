//! Sandboxes: a directory, two files of the pod's network, and a control group.

use jiff::Timestamp;
use parking_lot::Mutex;
use pontoon_runtime::{RuntimeError, SandboxId, SandboxSpec, SandboxState, SandboxStatus};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;

use super::{Inner, unavailable};
use crate::layout::{self, Durability, SandboxDirectory};

/// `sandbox.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SandboxRecord {
    pub spec: SandboxSpec,
    pub created_at: Timestamp,
    /// What of the pod's own limits could not be enforced; repeated in each of its containers' warnings.
    pub warnings: Vec<String>,
}

/// One sandbox in memory.
pub(super) struct Sandbox {
    pub id: SandboxId,
    pub directory: SandboxDirectory,
    pub record: SandboxRecord,
    state: Mutex<SandboxState>,
}

impl Sandbox {
    pub(super) fn new(
        directory: SandboxDirectory,
        record: SandboxRecord,
        state: SandboxState,
    ) -> Self {
        let id = layout::sandbox_id(&record.spec.pod.uid, record.spec.attempt);
        Self {
            id,
            directory,
            record,
            state: Mutex::new(state),
        }
    }

    pub(super) fn status(&self) -> SandboxStatus {
        SandboxStatus {
            id: self.id.clone(),
            pod: self.record.spec.pod.clone(),
            attempt: self.record.spec.attempt,
            state: *self.state.lock(),
            created_at: self.record.created_at,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        *self.state.lock() == SandboxState::Ready
    }

    /// Lets no container start in it from now on, whoever asks.
    pub(super) fn close(&self) -> io::Result<()> {
        *self.state.lock() = SandboxState::NotReady;
        layout::write_whole(
            &self.directory.stopped(),
            b"",
            0o600,
            Durability::UntilReboot,
        )
    }
}

/// Makes a sandbox, or finds it.
pub(super) fn create(
    inner: &Inner,
    spec: SandboxSpec,
    now: Timestamp,
) -> Result<SandboxId, RuntimeError> {
    let uid = &spec.pod.uid;
    if !layout::is_file_name(uid) {
        return Err(RuntimeError::NotPermitted {
            message: format!("pod uid {uid:?} cannot be a directory's name"),
        });
    }
    let id = layout::sandbox_id(uid, spec.attempt);
    if inner.sandbox(&id).is_some() {
        return Ok(id);
    }
    judge_network(inner, &spec)?;
    let directory = inner.state.sandbox(&id);
    let warnings = match &inner.cgroups {
        Some(cgroups) => cgroups.create(id.as_str(), None, &spec.limits).1,
        None => Vec::new(),
    };
    let record = SandboxRecord {
        spec,
        created_at: now,
        warnings,
    };
    write(&directory, &record).map_err(|error| unavailable(directory.path().display(), error))?;
    let sandbox = Arc::new(Sandbox::new(directory, record, SandboxState::Ready));
    inner
        .table
        .lock()
        .sandboxes
        .entry(id.clone())
        .or_insert(sandbox);
    Ok(id)
}

fn judge_network(inner: &Inner, spec: &SandboxSpec) -> Result<(), RuntimeError> {
    use pontoon_runtime::Capability;
    let Some(netns) = &spec.netns else {
        return Ok(());
    };
    if !inner.capabilities.has(Capability::NetworkNamespace) {
        let message =
            "a pod with an address of its own needs the right to enter network namespaces"
                .to_owned();
        return Err(RuntimeError::NotPermitted { message });
    }
    match netns.try_exists() {
        Ok(true) => Ok(()),
        _ => Err(RuntimeError::NotFound {
            what: format!("network namespace {}", netns.display()),
        }),
    }
}

/// The record comes last: without it the directory is rubbish to the next agent.
fn write(directory: &SandboxDirectory, record: &SandboxRecord) -> io::Result<()> {
    layout::make_private_directory(&directory.containers())?;
    let files = [
        (directory.resolv_conf(), &record.spec.resolv_conf),
        (directory.hosts(), &record.spec.hosts),
    ];
    for (path, contents) in files {
        if let Some(contents) = contents {
            layout::write_whole(&path, contents.as_bytes(), 0o644, Durability::UntilReboot)?;
        }
    }
    layout::write_record(&directory.record(), record, Durability::UntilReboot)
}
