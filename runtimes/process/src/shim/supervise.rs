//! The shim's loop: output, signals, and the end.

use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use pontoon_runtime::{Exit, ExitReason};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use super::streams::ShimEnds;
use crate::cgroup;
use crate::limits::KILL_ROUNDS;
use crate::plan::LaunchPlan;
use crate::procfs;

/// How the program itself ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Code(i32),
    Signal(i32),
}

pub(super) struct Supervisor {
    program: Pid,
    ends: ShimEnds,
    signals: SignalFd,
    is_init: bool,
    oom: Option<PathBuf>,
}

impl Supervisor {
    pub(super) fn new(
        program: Pid,
        ends: ShimEnds,
        mask: SigSet,
        plan: &LaunchPlan,
    ) -> io::Result<Self> {
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self {
            program,
            ends,
            signals,
            is_init: plan.isolation.pid,
            oom: plan.cgroups.oom.clone(),
        })
    }

    /// Supervises until the program has ended, then ends the rest of the container.
    pub(super) fn run_to_end(mut self, started_at: Timestamp) -> Exit {
        let end = self.await_program();
        let finished_at = Timestamp::now();
        self.kill_all();
        self.ends.drain();
        let oom_killed = self
            .oom
            .as_deref()
            .is_some_and(|path| cgroup::oom_kills(path) > 0);
        let (exit_code, signal) = match end {
            End::Code(code) => (code, None),
            End::Signal(signal) => (128 + signal, Some(signal)),
        };
        let reason = match exit_code {
            0 => ExitReason::Completed,
            _ if oom_killed => ExitReason::OomKilled,
            _ => ExitReason::Error,
        };
        Exit {
            exit_code,
            signal,
            reason,
            message: String::new(),
            started_at: Some(started_at),
            finished_at,
        }
    }

    fn await_program(&mut self) -> End {
        loop {
            if let Some(end) = self.reap() {
                return end;
            }
            let (signalled, readable) = self.wait();
            for index in readable {
                if !self.ends.copy_once(index) {
                    // The rest of a last line is written by `drain`, so the stream stays and is only not asked again.
                    self.ends.outputs[index].ended = true;
                }
            }
            if signalled {
                self.obey();
            }
        }
    }

    /// Sleeps until something happens: whether a signal waits, and which streams can be read.
    fn wait(&self) -> (bool, Vec<usize>) {
        let open: Vec<usize> = (0..self.ends.outputs.len())
            .filter(|i| !self.ends.outputs[*i].ended)
            .collect();
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(
            open.iter()
                .map(|i| PollFd::new(self.ends.outputs[*i].source.as_fd(), PollFlags::POLLIN)),
        );
        if poll(&mut fds, PollTimeout::NONE).is_err() {
            return (true, Vec::new()); // EINTR: look at everything.
        }
        let happened = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        let readable = fds[1..]
            .iter()
            .zip(open)
            .filter(|(fd, _)| happened(fd))
            .map(|(_, i)| i)
            .collect();
        (happened(&fds[0]), readable)
    }

    fn obey(&self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match Signal::try_from(info.ssi_signo as i32) {
                // The program may have ended in between; it is not reaped yet, so its number is still its own.
                Ok(Signal::SIGTERM) => drop(kill(self.program, Signal::SIGTERM)),
                Ok(Signal::SIGUSR1) => drop(kill(self.program, Signal::SIGKILL)),
                _ => {}
            }
        }
    }

    /// Reaps every child that has ended; the program's end if it is among them.
    fn reap(&self) -> Option<End> {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.program => {
                    return Some(End::Code(code));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.program => {
                    return Some(End::Signal(signal as i32));
                }
                Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => return None,
                Ok(_) => {}
                Err(_) => return Some(End::Signal(Signal::SIGKILL as i32)), // No child at all: the end was missed.
            }
        }
    }

    /// Kills whatever the program has left. As init one call reaches every process of the namespace; as a subreaper the
    /// children are killed generation by generation, each generation's orphans becoming children in turn.
    fn kill_all(&self) {
        for _ in 0..KILL_ROUNDS {
            if self.is_init {
                // ESRCH means that nothing is left, which `waitpid` says as well.
                let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
            } else {
                let own = nix::unistd::getpid().as_raw();
                for child in procfs::all().filter(|process| process.parent == own) {
                    let _ = kill(Pid::from_raw(child.pid), Signal::SIGKILL);
                }
            }
            match waitpid(None, None) {
                Err(Errno::ECHILD) => return,
                _ => continue,
            }
        }
        eprintln!("the container forks faster than it dies; some of it may be left");
    }
}
