//! `probe`: what the node permits, by trying it in processes that end at once. Prints one [`ProbeReport`].

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Uid, fork};
use std::path::Path;
use std::process::ExitCode;

use crate::plan::ProbeReport;
use crate::syscall;

pub(super) fn probe() -> ExitCode {
    let report = ProbeReport {
        pid_namespace: attempt(pid_namespace),
        mount_namespace: attempt(mount_namespace),
        uts_namespace: attempt(|| unshare(CloneFlags::CLONE_NEWUTS)),
        network_namespace: attempt(|| unshare(CloneFlags::CLONE_NEWNET)),
        set_user: attempt(set_user),
    };
    match serde_json::to_string(&report) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// The error of a trial in a child, in words; `None` when it works.
fn attempt(trial: impl FnOnce() -> Result<(), Errno>) -> Option<String> {
    // SAFETY: the process has one thread, so the child may do anything.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            let code = trial().err().map_or(0, |errno| errno as i32);
            std::process::exit(code)
        }
        Ok(ForkResult::Parent { child }) => match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, 0)) => None,
            Ok(WaitStatus::Exited(_, code)) => Some(Errno::from_raw(code).desc().to_owned()),
            other => Some(format!("{other:?}")),
        },
        Err(errno) => Some(errno.desc().to_owned()),
    }
}

/// A pid namespace is of use only together with a /proc of its own.
fn pid_namespace() -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)?;
    detach_mounts()?;
    // SAFETY: as above.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let mounted = mount(
                Some("proc"),
                "/proc",
                Some("proc"),
                MsFlags::empty(),
                None::<&str>,
            );
            std::process::exit(mounted.err().map_or(0, |errno| errno as i32))
        }
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, 0) => Ok(()),
            WaitStatus::Exited(_, code) => Err(Errno::from_raw(code)),
            _ => Err(Errno::EIO),
        },
    }
}

/// Every step that volumes take.
fn mount_namespace() -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    detach_mounts()?;
    let tree = syscall::clone_tree(Path::new("/etc"))?;
    use std::os::fd::AsFd;
    syscall::make_read_only(tree.as_fd())?;
    syscall::attach_tree(tree.as_fd(), Path::new("/etc"))?;
    mount(
        Some("tmpfs"),
        "/etc",
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
}

fn detach_mounts() -> Result<(), Errno> {
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_SLAVE,
        None::<&str>,
    )
}

/// Any user but the present one; nobody's number is as good as another.
fn set_user() -> Result<(), Errno> {
    let other = Uid::from_raw(65534);
    nix::unistd::setgroups(&[])?;
    nix::unistd::setresuid(other, other, other)
}
