//! `exec`: a command beside a container's program, in the same namespaces, groups and identity.
//!
//! Standard streams are those the agent gave; with a terminal, its slave end is all three. The exit code is the
//! command's, or 128 plus its signal. A command that cannot be executed is told through `REQUEST.failed`.

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, setsid};
use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::become_program;
use crate::layout::{self, ContainerDirectory};
use crate::plan::{ExecRequest, Identity, LaunchPlan, StartFailure, StartedRecord};
use crate::{procfs, syscall};

/// Exit code when the command could not be executed; the file says why.
const NOT_EXECUTED: u8 = 255;

pub(super) fn exec(directory: PathBuf, request: PathBuf) -> ExitCode {
    let mut failed = request.clone().into_os_string();
    failed.push(".failed");
    // Opened first: once inside the container's mounts the path may mean something else.
    let Ok(sink) = File::create(&failed) else {
        return ExitCode::from(NOT_EXECUTED);
    };
    match run(&ContainerDirectory::new(directory), request, &sink) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            become_program::leave_failure(&sink, &failure);
            ExitCode::from(NOT_EXECUTED)
        }
    }
}

fn run(directory: &ContainerDirectory, request: PathBuf, sink: &File) -> Result<u8, StartFailure> {
    let unreadable = |e: io::Error| StartFailure::preparation("exec", e);
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let plan: LaunchPlan = layout::read_record(&directory.plan())
        .map_err(unreadable)?
        .ok_or_else(missing)
        .map_err(unreadable)?;
    let started: StartedRecord = layout::read_record(&directory.started())
        .map_err(unreadable)?
        .ok_or_else(missing)
        .map_err(unreadable)?;
    let wanted: ExecRequest = layout::read_record(&request)
        .map_err(unreadable)?
        .ok_or_else(missing)
        .map_err(unreadable)?;
    fs::remove_file(&request).map_err(unreadable)?;
    let namespaces = Namespaces::open(&plan, &started).map_err(unreadable)?;
    if let Some(pid) = &namespaces.pid {
        setns(pid, CloneFlags::CLONE_NEWPID)
            .map_err(|e| StartFailure::preparation("pid namespace", e.desc()))?;
    }
    let parent = nix::unistd::getpid();
    // SAFETY: the process has one thread, so the child may do anything.
    match unsafe { fork() }.map_err(|e| StartFailure::preparation("fork", e.desc()))? {
        ForkResult::Child => {
            let failure = match become_command(&plan, wanted, &namespaces, parent) {
                Ok(never) => match never {},
                Err(failure) => failure,
            };
            become_program::leave_failure(sink, &failure);
            std::process::exit(i32::from(NOT_EXECUTED))
        }
        ForkResult::Parent { child } => Ok(await_end(child)),
    }
}

/// The program's namespaces, for those it does not share with the node.
struct Namespaces {
    pid: Option<File>,
    mount: Option<File>,
    uts: Option<File>,
    net: Option<File>,
}

impl Namespaces {
    fn open(plan: &LaunchPlan, started: &StartedRecord) -> io::Result<Self> {
        let program = &started.program;
        let open = |wanted: bool, name: &str| {
            wanted
                .then(|| File::open(format!("/proc/{}/ns/{name}", program.pid)))
                .transpose()
        };
        let namespaces = Self {
            pid: open(plan.isolation.pid, "pid")?,
            mount: open(plan.isolation.mount, "mnt")?,
            uts: open(plan.isolation.uts, "uts")?,
            net: open(plan.netns.is_some(), "net")?,
        };
        // Asked after opening: if it lives now, what was opened was its own.
        if procfs::is_alive(program.pid, program.start) {
            Ok(namespaces)
        } else {
            Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the program has ended",
            ))
        }
    }
}

fn become_command(
    plan: &LaunchPlan,
    wanted: ExecRequest,
    namespaces: &Namespaces,
    parent: Pid,
) -> Result<Infallible, StartFailure> {
    let failed = |what: &'static str| move |e: Errno| StartFailure::preparation(what, e.desc());
    setsid().map_err(failed("session"))?;
    if wanted.terminal {
        syscall::take_terminal().map_err(failed("terminal"))?;
    }
    become_program::join_cgroups(&plan.cgroups)?;
    let enter = |namespace: &Option<File>, kind, what| match namespace {
        Some(file) => setns(file, kind).map_err(failed(what)),
        None => Ok(()),
    };
    enter(
        &namespaces.net,
        CloneFlags::CLONE_NEWNET,
        "network namespace",
    )?;
    enter(&namespaces.uts, CloneFlags::CLONE_NEWUTS, "uts namespace")?;
    enter(
        &namespaces.mount,
        CloneFlags::CLONE_NEWNS,
        "mount namespace",
    )?;
    let mut env = plan.spec.env.clone();
    env.extend(wanted.env);
    let identity = Identity {
        run_as: plan.spec.run_as.clone(),
        working_dir: plan.spec.working_dir.clone(),
        env: become_program::environment(&env, &plan.hostname, wanted.terminal),
    };
    become_program::execute(&wanted.command, &identity, parent)
}

fn await_end(child: Pid) -> u8 {
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => return code as u8,
            Ok(WaitStatus::Signaled(_, signal, _)) => return 128 + signal as i32 as u8,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return NOT_EXECUTED,
        }
    }
}
