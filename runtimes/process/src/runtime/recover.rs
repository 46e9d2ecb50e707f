//! From an attempt's directory to its state: after a restart of the agent, after a start, after a shim's end.
//!
//! A shim that was killed leaves a mark and no end. Whoever finds that takes the attempt's lock, kills what is left,
//! and writes the end it did not see.

use jiff::Timestamp;
use nix::sys::signal::Signal;
use pontoon_runtime::{ContainerState, ContainerStatus, Exit, ExitReason, SandboxState};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::container::{self, Container, Shim};
use super::sandbox::{Sandbox, SandboxRecord};
use super::{Inner, watch};
use crate::layout::{self, ContainerDirectory, Durability, SandboxDirectory};
use crate::limits::SHIM_START_SECONDS;
use crate::plan::{LaunchPlan, ShimRecord, StartedRecord};
use crate::{procfs, syscall};

/// Exit code of a container whose end nobody saw: that of a killed one.
const UNKNOWN_EXIT: i32 = 137;

/// Pause between two looks at a shim that is starting its program, in milliseconds. Only an agent that restarted in
/// that very moment looks.
const STARTING_PAUSE_MILLIS: u64 = 5;

/// What a directory says.
enum Found {
    /// No shim has begun.
    Nothing,
    /// A shim has begun and has the lock; the program does not run yet.
    Starting,
    /// The program runs.
    Running(StartedRecord, Shim),
    /// It has ended.
    Ended(Exit),
    /// A shim had begun and is gone.
    Lost,
}

/// Reads the whole state directory.
pub(super) async fn recover(inner: &Arc<Inner>) -> io::Result<()> {
    for entry in fs::read_dir(inner.state.sandboxes())? {
        let directory = SandboxDirectory::new(entry?.path());
        let record: Option<SandboxRecord> = layout::read_record(&directory.record()).unwrap_or_else(|error| {
            tracing::warn!(path = %directory.path().display(), %error, "unreadable sandbox is removed");
            None
        });
        let Some(record) = record else {
            fs::remove_dir_all(directory.path())?;
            continue;
        };
        let stopped = directory.stopped().exists();
        let state = if stopped {
            SandboxState::NotReady
        } else {
            SandboxState::Ready
        };
        let sandbox = Arc::new(Sandbox::new(directory, record, state));
        inner
            .table
            .lock()
            .sandboxes
            .insert(sandbox.id.clone(), sandbox.clone());
        for entry in fs::read_dir(sandbox.directory.containers())? {
            recover_container(inner, &sandbox, ContainerDirectory::new(entry?.path())).await?;
        }
    }
    Ok(())
}

async fn recover_container(
    inner: &Arc<Inner>,
    sandbox: &Sandbox,
    directory: ContainerDirectory,
) -> io::Result<()> {
    let Some(plan) = layout::read_record::<LaunchPlan>(&directory.plan())? else {
        return fs::remove_dir_all(directory.path());
    };
    let status = ContainerStatus {
        id: container::id_of(&sandbox.id, &plan.spec.name, plan.spec.attempt),
        sandbox: sandbox.id.clone(),
        pod_uid: sandbox.record.spec.pod.uid.clone(),
        name: plan.spec.name,
        attempt: plan.spec.attempt,
        image: plan.spec.image,
        state: ContainerState::Created,
        warnings: plan.warnings,
    };
    let container = Arc::new(Container::new(status, directory));
    inner
        .table
        .lock()
        .containers
        .insert(container.id.clone(), container.clone());
    settle(inner, &container).await
}

/// Brings a container in memory to what its directory says, and watches it if it runs.
pub(super) async fn settle(inner: &Arc<Inner>, container: &Arc<Container>) -> io::Result<()> {
    let looks = SHIM_START_SECONDS * 1000 / STARTING_PAUSE_MILLIS;
    for _ in 0..looks {
        match look(&container.directory)? {
            Found::Nothing => return Ok(()),
            Found::Starting => {
                tokio::time::sleep(Duration::from_millis(STARTING_PAUSE_MILLIS)).await
            }
            Found::Running(started, shim) => {
                let shim = Arc::new(shim);
                let plan: Option<LaunchPlan> = layout::read_record(&container.directory.plan())?;
                let mut warnings = plan.map(|plan| plan.warnings).unwrap_or_default();
                warnings.extend(started.warnings);
                let state = ContainerState::Running {
                    pid: Some(started.program.pid),
                    started_at: started.started_at,
                };
                container.set_running(state, warnings, shim.clone());
                watch::watch(inner, container.clone(), shim);
                return Ok(());
            }
            Found::Ended(exit) => {
                conclude(inner, container, exit);
                return Ok(());
            }
            Found::Lost => return settle_dead(inner, container).await,
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "its shim does not get on with starting it",
    ))
}

fn look(directory: &ContainerDirectory) -> io::Result<Found> {
    if let Some(exit) = layout::read_record(&directory.exit())? {
        return Ok(Found::Ended(exit));
    }
    if !directory.begun().exists() {
        return Ok(Found::Nothing);
    }
    let shim = layout::read_record::<ShimRecord>(&directory.shim())?.and_then(adopt);
    let locked = syscall::is_locked(&layout::open_lock(&directory.lock())?)?;
    match (layout::read_record(&directory.started())?, shim) {
        (Some(started), Some(shim)) if locked => Ok(Found::Running(started, shim)),
        (None, Some(_)) if locked => Ok(Found::Starting),
        // It may have ended properly since the first look.
        _ => Ok(layout::read_record(&directory.exit())?.map_or(Found::Lost, Found::Ended)),
    }
}

/// A handle of this very process, unless it has ended.
fn adopt(record: ShimRecord) -> Option<Shim> {
    if record.boot_id != procfs::boot_id() {
        return None;
    }
    let pidfd = syscall::pidfd_open(record.pid).ok()?;
    // Asked after opening: if it lives now, the handle is its own.
    procfs::is_alive(record.pid, record.start).then_some(Shim { pidfd })
}

/// Records the end of a container whose shim has ended, properly or not.
pub(super) async fn settle_dead(inner: &Arc<Inner>, container: &Arc<Container>) -> io::Result<()> {
    if let Some(exit) = layout::read_record(&container.directory.exit())? {
        conclude(inner, container, exit);
        return Ok(());
    }
    let (theirs, group) = (container.clone(), inner.group_of(container));
    let exit =
        tokio::task::spawn_blocking(move || bury(&theirs.directory, group.as_ref())).await??;
    conclude(inner, container, exit);
    Ok(())
}

fn conclude(inner: &Inner, container: &Container, exit: Exit) {
    if container.set_exited(exit) {
        inner.announce(container.status());
    }
}

/// Kills what a dead shim has left, and writes the end.
fn bury(directory: &ContainerDirectory, group: Option<&crate::cgroup::Group>) -> io::Result<Exit> {
    let lock = layout::open_lock(&directory.lock())?;
    // Without a pid namespace the program holds a copy of the lock until it is executed.
    let deadline = Instant::now() + Duration::from_secs(SHIM_START_SECONDS);
    while !syscall::try_lock(&lock)? {
        if Instant::now() > deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "something of it holds its lock",
            ));
        }
        std::thread::sleep(Duration::from_millis(STARTING_PAUSE_MILLIS));
    }
    if let Some(exit) = layout::read_record(&directory.exit())? {
        return Ok(exit);
    }
    let started: Option<StartedRecord> = layout::read_record(&directory.started())?;
    let same_boot = started
        .as_ref()
        .is_none_or(|started| started.program.boot_id == procfs::boot_id());
    if same_boot {
        if let Some(group) = group {
            group.kill();
        }
        if let Some(started) = &started {
            kill_session(started)?;
        }
    }
    let cause = if same_boot {
        "its supervisor was killed"
    } else {
        "the node was restarted"
    };
    let exit = Exit {
        exit_code: UNKNOWN_EXIT,
        signal: None,
        reason: ExitReason::Unknown,
        message: format!("how it ended is not known: {cause}"),
        started_at: started.map(|started| started.started_at),
        finished_at: Timestamp::now(),
    };
    if let Err(error) = layout::write_record(&directory.exit(), &exit, Durability::Synced) {
        // A full disk must not keep a dead container running in the list; the next agent comes to the same end.
        tracing::warn!(path = %directory.path().display(), %error, "the end of a container is not recorded");
    }
    Ok(exit)
}

/// Kills the program and the rest of its session, and waits until the program is gone. A number is not given to a new
/// process while a session of that number has members, so members of the session are ours unless its leader is another.
fn kill_session(started: &StartedRecord) -> io::Result<()> {
    let (pid, start) = (started.program.pid, started.program.start);
    if procfs::stat(pid).is_ok_and(|stat| stat.start != start) {
        return Ok(());
    }
    for member in procfs::all().filter(|process| process.session == pid) {
        let Ok(pidfd) = syscall::pidfd_open(member.pid) else {
            continue;
        };
        if procfs::is_alive(member.pid, member.start) {
            // It may end by itself before the signal arrives.
            let _ = syscall::pidfd_send_signal(pidfd.as_fd(), Signal::SIGKILL);
            while !watch::has_ended(&pidfd) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    Ok(())
}
