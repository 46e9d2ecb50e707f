//! A node without root: user, mount and network namespaces of our own, kept by a small holder process.
//!
//! [`enter`] is called at the very start of `main`, before any thread exists (the kernel lets only a single-threaded process change its
//! user namespace). It finds the holder of the state directory or starts one, and moves the process into the holder's
//! namespaces, where it is root and may do to the network what root may. When the process is killed, the holder keeps
//! the namespaces, and with them every pod; the next [`enter`] finds them. [`dissolve`] ends the holder: the kernel then takes
//! the namespaces apart with everything in them once the last process inside is gone.
//!
//! **One user.** Only the caller's own uid and gid are mapped (as 0): that needs no help from `newuidmap`. Files made inside belong
//! to the caller outside; other users' files show as `nobody`'s.
//!
//! **Ports outside.** A socket stays in the network namespace it was made in. So a program that is to be reached from
//! outside (an API server) binds its `std::net::TcpListener` *before* [`enter`] and serves it afterwards: no forwarder is
//! needed. What runs inside (the agent, pods) reaches the same server through a second listener, bound *after* [`enter`] to the
//! node's address; 127.0.0.1 inside is not the machine's.
//!
//! **The way out.** Where slirp4netns is installed, it carries connections from inside to the machine's networks; without it, pods reach
//! each other and the node only, and [`Entered::outbound`] says so.
//!
//! Invariants: the holder never runs another program and never opens a socket; it ends only by [`dissolve`] or a signal.

mod holder;
mod outbound;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

pub use self::holder::holder_main;
pub use self::outbound::Outbound;

/// What [`enter`] needs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the holder is remembered. Made if it is not there.
    pub state_dir: PathBuf,
    /// The command whose `main` calls [`holder_main`] first: the program itself with a hidden subcommand.
    pub holder_command: Vec<OsString>,
}

/// Where the process is after [`enter`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// The holder's process id.
    pub holder: i32,
    /// Whether the namespaces were there already: pods of an earlier run may be in them.
    pub found: bool,
    /// The caller's user id on the machine; inside it is 0.
    pub outside_uid: u32,
    /// The caller's group id on the machine.
    pub outside_gid: u32,
    /// Whether and how there is a way out.
    pub outbound: Outbound,
}

impl Entered {
    /// What pods lack in namespaces of our own, a sentence each: for [`crate::linux::Config::lacks`].
    #[must_use]
    pub fn lacks(&self) -> Vec<String> {
        let ports = "Node ports and host ports are reached from pods and the node only, not from this machine.";
        self.outbound
            .lacks()
            .into_iter()
            .chain([ports.to_owned()])
            .collect()
    }
}

/// Why namespaces of our own could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The machine does not let this user make namespaces. Pods can then only share the machine's own network.
    #[error("this machine forbids user namespaces ({step}): {hint}")]
    Forbidden {
        /// What was refused.
        step: String,
        /// What an administrator could change.
        hint: String,
    },
    /// Threads exist already: a defect of the caller.
    #[error("namespaces can be entered only before any thread is started; there are {threads}")]
    Threads {
        /// How many threads there are.
        threads: usize,
    },
    /// The holder did not come up for another reason.
    #[error("the process that keeps the namespaces did not start: {detail}")]
    Holder {
        /// The holder's own words.
        detail: String,
    },
    /// A file or a system call failed.
    #[error("could not {operation}")]
    Io {
        /// What was tried.
        operation: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// How the holder is remembered. A process id alone may be another process's by now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    pid: i32,
    /// When it started, in clock ticks after boot (`/proc/PID/stat`, field 22).
    started: u64,
    uid: u32,
    gid: u32,
}

/// The record's file in the state directory.
const RECORD: &str = "holder.json";

/// How long the holder may take to come up: it makes three namespaces, which takes milliseconds.
const HOLDER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a killed holder may take to vanish.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Moves the process into the namespaces of the state directory's holder, which is started if there is none.
///
/// # Errors
/// [`EnterError::Forbidden`] where user namespaces are not allowed; the process is then where it was, and may go on without.
pub fn enter(options: &Options) -> Result<Entered, EnterError> {
    let threads = fs::read_dir("/proc/self/task")
        .map_err(failed("count threads"))?
        .count();
    if threads != 1 {
        return Err(EnterError::Threads { threads });
    }
    fs::create_dir_all(&options.state_dir).map_err(failed("make the state directory"))?;
    let (record, found) = match alive(&options.state_dir) {
        Some(record) => (record, true),
        None => (start_holder(options)?, false),
    };
    let outbound = outbound::provide(record.pid, &options.state_dir);
    join(record.pid)?;
    Ok(Entered {
        holder: record.pid,
        found,
        outside_uid: record.uid,
        outside_gid: record.gid,
        outbound,
    })
}

/// Ends the holder of the state directory, if there is one. Processes that are still inside keep the namespaces until they end.
///
/// # Errors
/// [`EnterError::Io`] when it cannot be killed or does not vanish.
pub fn dissolve(state_dir: &Path) -> Result<(), EnterError> {
    if let Some(record) = alive(state_dir) {
        kill(Pid::from_raw(record.pid), Signal::SIGKILL)
            .map_err(|errno| failed("end the holder")(errno.into()))?;
        let started = Instant::now();
        while alive(state_dir).is_some() {
            if started.elapsed() > END_TIMEOUT {
                return Err(failed("see the holder end")(io::ErrorKind::TimedOut.into()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    match fs::remove_file(state_dir.join(RECORD)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("forget the holder")(error))
        }
        _ => Ok(()),
    }
}

/// The holder of the state directory, if it lives.
fn alive(state_dir: &Path) -> Option<Record> {
    let bytes = fs::read(state_dir.join(RECORD)).ok()?;
    let record: Record = serde_json::from_slice(&bytes).ok()?;
    (started(record.pid)? == record.started).then_some(record)
}

/// When a process started; `None` when there is none, or only what is left of it until its parent asks.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, a program's name in brackets, may hold anything; what follows is plain.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    // The start is field 22; the state was field 3.
    (state != "Z").then(|| fields.nth(18)?.parse().ok())?
}

fn start_holder(options: &Options) -> Result<Record, EnterError> {
    let (program, words) =
        options
            .holder_command
            .split_first()
            .ok_or_else(|| EnterError::Holder {
                detail: "no command".to_owned(),
            })?;
    let (uid, gid) = (
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    );
    // The holder's standard input is the writing end of a pipe: whoever waits at the reading end learns of its death.
    let (_, life): (OwnedFd, OwnedFd) =
        nix::unistd::pipe().map_err(|errno| failed("make a pipe")(errno.into()))?;
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::from(life))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .map_err(failed("start the holder"))?;
    let pid = i32::try_from(child.id()).expect("process ids are below 2^22");
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let word = first_line(stdout, HOLDER_TIMEOUT).map_err(failed("hear from the holder"))?;
    if word != holder::READY {
        // It ends by itself after its last word.
        let _ = child.wait();
        return Err(why(&word));
    }
    let started = started(pid).ok_or_else(|| EnterError::Holder {
        detail: "it ended at once".to_owned(),
    })?;
    let record = Record {
        pid,
        started,
        uid,
        gid,
    };
    let save = || {
        let draft = options.state_dir.join("holder.draft");
        fs::write(
            &draft,
            serde_json::to_vec(&record).map_err(io::Error::other)?,
        )?;
        fs::rename(draft, options.state_dir.join(RECORD))
    };
    save().map_err(failed("remember the holder"))?;
    Ok(record)
}

/// What a holder's last words mean.
fn why(word: &str) -> EnterError {
    let Some((errno, step)) = word
        .strip_prefix(holder::FORBIDDEN)
        .and_then(|rest| rest.trim().split_once(' '))
    else {
        return EnterError::Holder {
            detail: if word.is_empty() {
                "no word".to_owned()
            } else {
                word.to_owned()
            },
        };
    };
    EnterError::Forbidden {
        step: format!("{step}: error {errno}"),
        hint: hint(),
    }
}

/// What an administrator could change, by what the kernel's settings say.
fn hint() -> String {
    let setting = |path: &str| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let off = |path: &str, name: &str, value: &str| {
        (setting(path) == value)
            .then(|| format!("the setting {name} is {value}; run as root, or change it"))
    };
    off(
        "/proc/sys/kernel/unprivileged_userns_clone",
        "kernel.unprivileged_userns_clone",
        "0",
    )
    .or_else(|| {
        off(
            "/proc/sys/user/max_user_namespaces",
            "user.max_user_namespaces",
            "0",
        )
    })
    .or_else(|| {
        let name = "kernel.apparmor_restrict_unprivileged_userns";
        off(
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            name,
            "1",
        )
    })
    .unwrap_or_else(|| {
        "a container or a security policy withholds them; run as root, or outside of it".to_owned()
    })
}

/// The first line that comes, without its end; empty when the other side ends first.
fn first_line(stdout: std::process::ChildStdout, patience: Duration) -> io::Result<String> {
    use std::os::fd::AsFd;
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = nix::poll::PollTimeout::try_from(left).unwrap_or(nix::poll::PollTimeout::MAX);
        let mut fds = [nix::poll::PollFd::new(
            stdout.as_fd(),
            nix::poll::PollFlags::POLLIN,
        )];
        match nix::poll::poll(&mut fds, timeout) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => break,
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Moves the process into the holder's namespaces: the user namespace first, since it gives the right to the others.
fn join(pid: i32) -> Result<(), EnterError> {
    let open = |name: &str| {
        File::open(format!("/proc/{pid}/ns/{name}")).map_err(failed("open a namespace"))
    };
    let spaces = [
        (open("user")?, CloneFlags::CLONE_NEWUSER),
        (open("mnt")?, CloneFlags::CLONE_NEWNS),
        (open("net")?, CloneFlags::CLONE_NEWNET),
    ];
    let here = std::env::current_dir();
    for (space, kind) in spaces {
        setns(space, kind).map_err(|errno| failed("enter a namespace")(errno.into()))?;
    }
    // A change of mount namespace moves the process to the root directory.
    if let Ok(here) = here {
        std::env::set_current_dir(here).map_err(failed("return to the working directory"))?;
    }
    Ok(())
}

fn failed(operation: &'static str) -> impl Fn(io::Error) -> EnterError {
    move |source| EnterError::Io {
        operation: operation.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_process_with_threads_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        // The test runner has threads of its own.
        let options = Options {
            state_dir: dir.path().to_owned(),
            holder_command: vec!["true".into()],
        };
        assert!(matches!(enter(&options), Err(EnterError::Threads { .. })));
    }

    #[test]
    fn a_record_of_another_process_with_the_same_id_is_not_taken_for_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let mut record = Record {
            pid,
            started: started(pid).unwrap(),
            uid: 0,
            gid: 0,
        };
        fs::write(
            dir.path().join(RECORD),
            serde_json::to_vec(&record).unwrap(),
        )
        .unwrap();
        assert_eq!(alive(dir.path()), Some(record.clone()));
        record.started -= 1;
        fs::write(
            dir.path().join(RECORD),
            serde_json::to_vec(&record).unwrap(),
        )
        .unwrap();
        assert_eq!(alive(dir.path()), None);
    }

    #[test]
    fn a_refusal_names_the_step_and_gives_a_hint() {
        let error = why("forbidden 1 make namespaces");
        assert!(
            matches!(&error, EnterError::Forbidden { step, hint } if step.contains("make") && !hint.is_empty())
        );
        assert!(matches!(why(""), EnterError::Holder { .. }));
    }

    #[test]
    fn a_holder_that_says_nothing_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            state_dir: dir.path().to_owned(),
            holder_command: vec!["true".into()],
        };
        assert!(matches!(
            start_holder(&options),
            Err(EnterError::Holder { .. })
        ));
    }
}
