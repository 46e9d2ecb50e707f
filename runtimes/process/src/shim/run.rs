//! `run`: from the agent's child to a detached supervisor of a running program.

use jiff::Timestamp;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{ForkResult, Pid, fork, setsid};
use pontoon_runtime::{Exit, ExitReason};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

use super::become_program;
use super::streams::{ProgramEnds, ShimEnds};
use super::supervise::Supervisor;
use crate::layout::{self, ContainerDirectory, Durability};
use crate::plan::{LaunchPlan, ProcessIdentity, Report, StartFailure, StartedRecord};
use crate::{procfs, syscall};

/// Exit code of a container whose program never ran, as containerd gives it.
const NEVER_RAN: i32 = 128;

pub(super) fn run(directory: PathBuf) -> ExitCode {
    let directory = ContainerDirectory::new(directory);
    match detach(&directory) {
        Ok(Some(plan)) => supervise(&directory, plan),
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            report(&Report::Unable(error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// Leaves the agent's session and becomes nobody's child. `None` in the process that stays behind to be reaped.
fn detach(directory: &ContainerDirectory) -> io::Result<Option<LaunchPlan>> {
    let plan: LaunchPlan =
        layout::read_record(&directory.plan())?.ok_or(io::ErrorKind::NotFound)?;
    setsid()?;
    std::env::set_current_dir("/")?;
    if plan.isolation.pid {
        // Takes effect for children: the process forked next is the new namespace's init.
        unshare(CloneFlags::CLONE_NEWPID)?;
    }
    // SAFETY: the process has one thread, so the child may do anything.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => Ok(None),
        ForkResult::Child => {
            if !plan.isolation.pid {
                nix::sys::prctl::set_child_subreaper(true)?;
            }
            nix::sys::prctl::set_name(c"pontoon-shim")?;
            Ok(Some(plan))
        }
    }
}

fn supervise(directory: &ContainerDirectory, plan: LaunchPlan) -> ExitCode {
    let lock = match claim(directory) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            report(&Report::Exists);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            report(&Report::Unable(error.to_string()));
            return ExitCode::FAILURE;
        }
    };
    let exit = match start(directory, &plan) {
        Ok((supervisor, started)) => {
            report(&Report::Started);
            close_report();
            supervisor.run_to_end(started.started_at)
        }
        Err(failure) => {
            let exit = never_ran(&failure);
            record_exit(directory, &exit);
            report(&Report::Failed(failure));
            return ExitCode::SUCCESS;
        }
    };
    record_exit(directory, &exit);
    drop(lock);
    ExitCode::SUCCESS
}

/// Takes the attempt, once and for all; `None` when another has it or had it.
fn claim(directory: &ContainerDirectory) -> io::Result<Option<File>> {
    let lock = layout::open_lock(&directory.lock())?;
    if !syscall::try_lock(&lock)? {
        return Ok(None);
    }
    layout::write_record(
        &directory.shim(),
        &identity_of(procfs::own_pid()?)?,
        Durability::UntilReboot,
    )?;
    match File::create_new(directory.begun()) {
        Ok(_) => Ok(Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error),
    }
}

fn identity_of(pid: i32) -> io::Result<ProcessIdentity> {
    Ok(ProcessIdentity {
        pid,
        start: procfs::stat(pid)?.start,
        boot_id: procfs::boot_id(),
    })
}

/// Forks the program and waits until it has been executed.
fn start(
    directory: &ContainerDirectory,
    plan: &LaunchPlan,
) -> Result<(Supervisor, StartedRecord), StartFailure> {
    let failed =
        |what: &'static str| move |error: io::Error| StartFailure::preparation(what, error);
    let mut ends = ShimEnds::open(&plan.spec).map_err(failed("log"))?;
    let program_ends = ends.program_ends(&plan.spec).map_err(failed("streams"))?;
    let (failures, failure_sink) =
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| failed("pipe")(e.into()))?;
    // Blocked before the fork, so that no death goes unnoticed; the program unblocks them again.
    let mask = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGUSR1]);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)
        .map_err(|e| failed("signals")(e.into()))?;
    let shim = nix::unistd::getpid();
    // SAFETY: the process has one thread, so the child may do anything.
    match unsafe { fork() }.map_err(|e| failed("fork")(e.into()))? {
        ForkResult::Child => {
            drop(failures);
            let failure = program(directory, plan, program_ends, shim, &failure_sink);
            tell(
                &failure_sink,
                &serde_json::to_vec(&failure).unwrap_or_default(),
            );
            std::process::exit(1)
        }
        ForkResult::Parent { child } => {
            drop((program_ends, failure_sink));
            let pid = await_execution(failures, child)?;
            let started_at = Timestamp::now();
            // A program that has ended already has left its record in /proc, because it is not reaped yet.
            let program = identity_of(pid).map_err(failed("program"))?;
            let started = StartedRecord {
                program,
                started_at,
                warnings: unheeded(plan, pid),
            };
            layout::write_record(&directory.started(), &started, Durability::UntilReboot)
                .map_err(failed("started.json"))?;
            let supervisor = Supervisor::new(child, ends, mask, plan).map_err(failed("signals"))?;
            Ok((supervisor, started))
        }
    }
}

/// What the program itself could not take on, in words.
fn unheeded(plan: &LaunchPlan, pid: i32) -> Vec<String> {
    let wanted = plan.spec.oom_score_adj;
    let have = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj"));
    let have: Option<i32> = have.ok().and_then(|text| text.trim().parse().ok());
    match have {
        Some(have) if have != wanted && wanted != 0 => {
            vec![format!(
                "oom_score_adj is {have} instead of {wanted}: lowering it needs CAP_SYS_RESOURCE"
            )]
        }
        _ => Vec::new(),
    }
}

/// Tells the node's number of this process, then becomes the program; returns only when that fails.
fn program(
    directory: &ContainerDirectory,
    plan: &LaunchPlan,
    ends: ProgramEnds,
    shim: Pid,
    sink: &OwnedFd,
) -> StartFailure {
    let Ok(pid) = procfs::own_pid() else {
        return StartFailure::preparation("/proc", "not mounted");
    };
    tell(sink, &pid.to_ne_bytes());
    match become_program::become_program(directory, plan, ends, shim) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn tell(sink: &OwnedFd, bytes: &[u8]) {
    // Far below a pipe's capacity, so one write takes it all; a shim that is gone cannot be told anything.
    let _ = nix::unistd::write(sink, bytes);
}

/// Reads the program's number and, when the pipe did not close by execution, its failure.
fn await_execution(failures: OwnedFd, child: Pid) -> Result<i32, StartFailure> {
    let mut message = Vec::new();
    File::from(failures)
        .read_to_end(&mut message)
        .map_err(|e| StartFailure::preparation("pipe", e))?;
    let failure = match message.split_first_chunk() {
        Some((pid, [])) => return Ok(i32::from_ne_bytes(*pid)),
        Some((_, failure)) => serde_json::from_slice(failure).ok(),
        None => serde_json::from_slice(&message).ok(),
    };
    while nix::sys::wait::waitpid(child, None) == Err(Errno::EINTR) {}
    Err(failure
        .unwrap_or_else(|| StartFailure::preparation("program", "ended before it was executed")))
}

fn never_ran(failure: &StartFailure) -> Exit {
    let (reason, message) = match failure {
        StartFailure::CannotRun { command, message } => (
            ExitReason::ContainerCannotRun,
            format!("command {command:?} cannot run: {message}"),
        ),
        StartFailure::CommandNotFound { command, message } => (
            ExitReason::StartError,
            format!("command {command:?} not found: {message}"),
        ),
        StartFailure::Preparation { message } => (ExitReason::StartError, message.clone()),
    };
    Exit {
        exit_code: NEVER_RAN,
        signal: None,
        reason,
        message,
        started_at: None,
        finished_at: Timestamp::now(),
    }
}

fn record_exit(directory: &ContainerDirectory, exit: &Exit) {
    if let Err(error) = layout::write_record(&directory.exit(), exit, Durability::Synced) {
        // The next agent then reports an unknown end, which is the truth as far as the disk knows it.
        eprintln!("exit record {}: {error}", directory.exit().display());
    }
}

fn report(report: &Report) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        let mut stdout = io::stdout();
        // An agent that died while it waited finds the same in the directory.
        let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
    }
}

/// Lets the agent see the end of the report.
fn close_report() {
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(&null);
    }
}
