//! Ending containers and removing what is left of them.

use nix::sys::signal::Signal;
use pontoon_runtime::{ContainerState, RuntimeError, SandboxId};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::container::{Container, Shim};
use super::{Inner, blocking, unavailable};
use crate::cgroup::Group;
use crate::limits::{CGROUP_REMOVE_ATTEMPTS, CGROUP_REMOVE_PAUSE_MILLIS, SHIM_KILL_SECONDS};
use crate::syscall;

/// Ends a container: TERM to the program, and after the grace KILL to everything in it.
pub(super) async fn stop(
    inner: &Arc<Inner>,
    container: &Arc<Container>,
    grace: Duration,
) -> Result<(), RuntimeError> {
    // A start that is under way is let finish; it takes milliseconds.
    drop(container.gate.lock().await);
    let Some(shim) = container.shim() else {
        return match container.status().state {
            ContainerState::Created => never_started(inner, container),
            _ => Ok(()),
        };
    };
    if !grace.is_zero() {
        signal(&shim, Signal::SIGTERM)?;
        if tokio::time::timeout(grace, container.ended()).await.is_ok() {
            return Ok(());
        }
    }
    signal(&shim, Signal::SIGUSR1)?;
    let patience = Duration::from_secs(SHIM_KILL_SECONDS);
    if tokio::time::timeout(patience, container.ended())
        .await
        .is_ok()
    {
        return Ok(());
    }
    // A shim that does not obey is killed itself, which the watching task then sees and cleans up after.
    tracing::warn!(container = %container.id, "a shim does not obey and is killed");
    signal(&shim, Signal::SIGKILL)?;
    if let Some(group) = inner.group_of(container) {
        blocking(move || group.kill()).await?;
    }
    let ended = tokio::time::timeout(patience, container.ended()).await;
    ended.map_err(|_| {
        unavailable(
            &container.id,
            "does not die; a process of it is stuck in the kernel",
        )
    })
}

fn signal(shim: &Shim, signal: Signal) -> Result<(), RuntimeError> {
    match syscall::pidfd_send_signal(shim.pidfd.as_fd(), signal) {
        Ok(()) | Err(nix::Error::ESRCH) => Ok(()),
        Err(errno) => Err(RuntimeError::NotPermitted {
            message: format!("signal to the shim: {}", errno.desc()),
        }),
    }
}

/// An attempt whose start failed for a passing reason and was not repeated: it is forgotten.
fn never_started(inner: &Inner, container: &Container) -> Result<(), RuntimeError> {
    inner.table.lock().containers.remove(&container.id);
    Err(RuntimeError::NotFound {
        what: format!("container {}", container.id),
    })
}

/// Forgets an ended container.
pub(super) async fn remove_container(
    inner: &Arc<Inner>,
    container: &Arc<Container>,
) -> Result<(), RuntimeError> {
    let _gate = container.gate.lock().await;
    if matches!(container.status().state, ContainerState::Running { .. }) {
        return Err(RuntimeError::Busy {
            what: format!("container {}", container.id),
        });
    }
    if let Some(group) = inner.group_of(container) {
        remove_group(group).await;
    }
    let directory = container.directory.path().to_owned();
    remove_directory(directory).await?;
    inner.table.lock().containers.remove(&container.id);
    Ok(())
}

/// Ends every container of a sandbox at once and lets none start.
pub(super) async fn stop_sandbox(inner: &Arc<Inner>, id: &SandboxId) -> Result<(), RuntimeError> {
    let Some(sandbox) = inner.sandbox(id) else {
        return Ok(());
    };
    let closing = sandbox.clone();
    blocking(move || closing.close())
        .await?
        .map_err(|error| unavailable(id, error))?;
    let containers = inner.containers_of(id);
    let stops = containers
        .iter()
        .map(|container| stop(inner, container, Duration::ZERO));
    for outcome in futures::future::join_all(stops).await {
        match outcome {
            Ok(()) | Err(RuntimeError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Ends and forgets a sandbox and everything in it.
pub(super) async fn remove_sandbox(inner: &Arc<Inner>, id: &SandboxId) -> Result<(), RuntimeError> {
    let Some(sandbox) = inner.sandbox(id) else {
        return Ok(());
    };
    stop_sandbox(inner, id).await?;
    for container in inner.containers_of(id) {
        remove_container(inner, &container).await?;
    }
    if let Some(cgroups) = &inner.cgroups {
        remove_group(cgroups.group(id.as_str(), None)).await;
        cgroups.remove_empty_parents();
    }
    remove_directory(sandbox.directory.path().to_owned()).await?;
    inner.table.lock().sandboxes.remove(id);
    Ok(())
}

/// Removes a group whose processes are dead; the kernel may count them for some milliseconds yet.
async fn remove_group(group: Group) {
    for _ in 0..CGROUP_REMOVE_ATTEMPTS {
        if group.remove() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(CGROUP_REMOVE_PAUSE_MILLIS)).await;
    }
    tracing::warn!(?group, "a control group is left behind");
}

async fn remove_directory(path: std::path::PathBuf) -> Result<(), RuntimeError> {
    let shown = path.display().to_string();
    let removed = blocking(move || match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    });
    removed.await?.map_err(|error| unavailable(shown, error))
}
