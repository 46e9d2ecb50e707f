//! The holder: a process that makes the namespaces and then does nothing.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::linux::netlink::{Netlink, set_up};
use crate::linux::plumbing::LOOPBACK;

/// The word that everything is there.
pub(super) const READY: &str = "ready";
/// The word that the machine does not allow it, followed by the error's number and the step.
pub(super) const FORBIDDEN: &str = "forbidden";

/// Makes the namespaces, says so on standard output, and waits to be killed. To be called first in `main`, by a process
/// without other threads, with the command that [`super::Options::holder_command`] names.
#[must_use]
pub fn holder_main() -> ExitCode {
    let word = match make() {
        Ok(()) => READY.to_owned(),
        Err((step, error)) => format!(
            "{FORBIDDEN} {} {step}",
            error.raw_os_error().unwrap_or_default()
        ),
    };
    let said = writeln!(io::stdout(), "{word}").and_then(|()| io::stdout().flush());
    if word != READY || said.is_err() {
        return ExitCode::FAILURE;
    }
    // The one who started us may end; a closed pipe must not end us with the next word, and there is none.
    if let Ok(null) = fs::File::options().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(null);
    }
    loop {
        nix::unistd::pause();
    }
}

type Step = (&'static str, io::Error);

fn make() -> Result<(), Step> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    // A session of its own: the terminal's signals are not for the holder.
    let _ = nix::unistd::setsid();
    for name in [Signal::SIGINT, Signal::SIGHUP] {
        ignore(name);
    }
    let kinds = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    unshare(kinds).map_err(|errno| ("make namespaces", errno.into()))?;
    // Without this the kernel refuses the group's map (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny").map_err(|error| ("give up extra groups", error))?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))
        .map_err(|error| ("map the user", error))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
        .map_err(|error| ("map the group", error))?;
    // What the machine mounts later is seen inside; what is mounted inside is not seen by the machine.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_SLAVE,
        None::<&str>,
    )
    .map_err(|errno| ("keep mounts apart", errno.into()))?;
    let mut netlink = Netlink::open().map_err(|error| ("open the routing socket", error))?;
    netlink
        .change(vec![set_up(LOOPBACK)])
        .map_err(|refused| (refused.what, refused.source))
}

#[allow(unsafe_code)]
fn ignore(name: Signal) {
    // SAFETY: SIG_IGN installs no code that could run at a bad moment.
    let _ = unsafe { signal(name, SigHandler::SigIgn) };
}
