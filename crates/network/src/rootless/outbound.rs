//! The way out of a network namespace of our own: slirp4netns, where it is installed.
//!
//! It runs on the machine's side, as the caller, and makes a tap interface inside. It ends when the holder does: its
//! `--exit-fd` is the reading end of the pipe whose writing end is the holder's standard input.

use std::fs::File;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::linux::find_program;

/// The resolver that slirp4netns answers as: it asks the machine's own (slirp4netns(1)).
const SLIRP_RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// The interface's name inside.
const TAP: &str = "tap0";

/// slirp4netns' advice for throughput (its README); the tap carries no real frames.
const TAP_MTU: &str = "--mtu=65520";

/// The way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outbound {
    /// slirp4netns carries connections; `resolver` answers for names of the outside world.
    Slirp {
        /// A DNS server that is reached from inside, whatever /etc/resolv.conf says of loopback addresses.
        resolver: Ipv4Addr,
    },
    /// There is none, for the reason given.
    None {
        /// A sentence.
        why: String,
    },
}

impl Outbound {
    /// What pods lack for it, as a sentence for [`crate::dataplane::Description::lacks`].
    #[must_use]
    pub fn lacks(&self) -> Option<String> {
        match self {
            Self::Slirp { .. } => None,
            Self::None { why } => Some(format!(
                "Pods cannot reach anything outside of the cluster: {why}"
            )),
        }
    }
}

/// Finds the way out that is there already, or makes one. Called on the machine's side.
pub(super) fn provide(holder: i32, state_dir: &Path) -> Outbound {
    let slirp = Outbound::Slirp {
        resolver: SLIRP_RESOLVER,
    };
    if has_tap(holder) {
        return slirp;
    }
    let Some(program) = find_program("slirp4netns") else {
        return Outbound::None {
            why: "slirp4netns is not installed.".to_owned(),
        };
    };
    match start(&program, holder, state_dir) {
        Ok(()) => slirp,
        Err(error) => Outbound::None {
            why: format!("slirp4netns did not start: {error}."),
        },
    }
}

/// Whether the holder's namespace has the interface. `/proc/PID/net` shows the namespace of that process.
fn has_tap(holder: i32) -> bool {
    let interfaces = std::fs::read_to_string(format!("/proc/{holder}/net/dev")).unwrap_or_default();
    interfaces
        .lines()
        .any(|line| line.trim_start().starts_with(&format!("{TAP}:")))
}

fn start(program: &Path, holder: i32, state_dir: &Path) -> io::Result<()> {
    let life: OwnedFd = File::open(format!("/proc/{holder}/fd/0"))?.into();
    let (ready, say_ready) = nix::unistd::pipe()?;
    inheritable(&life)?;
    inheritable(&say_ready)?;
    let log = File::create(state_dir.join("slirp4netns.log"))?;
    let mut child = Command::new(program)
        .args(["--configure", TAP_MTU, "--disable-host-loopback"])
        .arg(format!("--exit-fd={}", life.as_raw_fd()))
        .arg(format!("--ready-fd={}", say_ready.as_raw_fd()))
        .args([&holder.to_string(), TAP])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .current_dir("/")
        .process_group(0)
        .spawn()?;
    drop(say_ready);
    let mut word = [0];
    // One byte when the interface is configured; the end of the pipe when the program has given up.
    if File::from(ready).read(&mut word)? == 1 {
        return Ok(());
    }
    let status = child.wait()?;
    let words = std::fs::read_to_string(state_dir.join("slirp4netns.log")).unwrap_or_default();
    // The first complaint names the cause; the rest are its echoes.
    let cause = words
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    Err(io::Error::other(format!("{status}; {cause}")))
}

fn inheritable(fd: &OwnedFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}
