//! Waiting for shims to end.

use nix::libc;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::Command;

use super::Inner;
use super::container::{Container, Shim};
use super::recover;
use crate::limits::SETTLE_PAUSE_SECONDS;

/// The shim's command line up to its verb.
pub(super) fn shim(inner: &Inner, verb: &str) -> Command {
    shim_command(&inner.shim_command, verb)
}

/// As [`shim`], before there is a runtime. The configuration is checked by the probe, which is the first use.
pub(super) fn shim_command(command: &[std::ffi::OsString], verb: &str) -> Command {
    let (program, args) = command
        .split_first()
        .map_or((std::ffi::OsStr::new(""), [].as_slice()), |(p, a)| (p, a));
    let mut command = Command::new(program);
    // The agent's environment may hold what a container's supervisor has no business to keep.
    command.args(args).arg(verb).env_clear();
    command
}

/// A borrowed-from-`Arc` descriptor that tokio can wait on.
struct Pidfd(Arc<Shim>);

impl AsRawFd for Pidfd {
    fn as_raw_fd(&self) -> i32 {
        self.0.pidfd.as_raw_fd()
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.pidfd.as_fd()
    }
}

/// Starts the task that records the container's end. It holds the runtime weakly and ends with the container.
pub(super) fn watch(inner: &Arc<Inner>, container: Arc<Container>, shim: Arc<Shim>) {
    let weak: Weak<Inner> = Arc::downgrade(inner);
    tokio::spawn(async move {
        await_end(Pidfd(shim)).await;
        loop {
            let Some(inner) = weak.upgrade() else { return };
            match recover::settle_dead(&inner, &container).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(container = %container.id, %error, "the end of a container is not known");
                }
            }
            drop(inner);
            tokio::time::sleep(Duration::from_secs(SETTLE_PAUSE_SECONDS)).await;
        }
    });
}

async fn await_end(pidfd: Pidfd) {
    // SAFETY: the shim's handle is never replaced, and the `Arc` inside keeps it open as long as it is registered.
    let registered = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
    match registered {
        Ok(registered) => {
            // A pidfd stays readable; an error means that the reactor is gone, and with it this process.
            let _ = registered.readable().await;
        }
        Err(refused) => tracing::warn!(error = %refused, "a shim cannot be waited for"),
    }
}

/// Whether the process behind a pidfd has ended.
pub(super) fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut entry = libc::pollfd {
        fd: pidfd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry, which outlives the call.
    unsafe { libc::poll(&raw mut entry, 1, 0) == 1 }
}
