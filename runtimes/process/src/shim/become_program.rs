//! From a fork of the shim to the program: groups, namespaces, mounts, user, directory, execution.

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask,
};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, Gid, Pid, Uid, access};
use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::mounts;
use super::streams::ProgramEnds;
use crate::layout::ContainerDirectory;
use crate::plan::{CgroupPlan, Identity, LaunchPlan, StartFailure};
use crate::syscall;

/// Where programs are looked for when the environment does not say: Debian's default for root.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes the container's program.
pub(super) fn become_program(
    directory: &ContainerDirectory,
    plan: &LaunchPlan,
    ends: ProgramEnds,
    shim: Pid,
) -> Result<Infallible, StartFailure> {
    nix::unistd::setsid().map_err(|e| StartFailure::preparation("session", e))?;
    join_cgroups(&plan.cgroups)?;
    if plan.spec.oom_score_adj != 0 {
        // Lowering it needs a capability that not every root has; the program runs as well without.
        let _ = fs::write(
            "/proc/self/oom_score_adj",
            plan.spec.oom_score_adj.to_string(),
        );
    }
    enter_netns(plan.netns.as_deref())?;
    if plan.isolation.uts {
        unshare(CloneFlags::CLONE_NEWUTS)
            .map_err(|e| StartFailure::preparation("uts namespace", e))?;
        nix::unistd::sethostname(&plan.hostname)
            .map_err(|e| StartFailure::preparation("host name", e))?;
    }
    if plan.isolation.mount {
        mounts::prepare(directory, plan)?;
    }
    connect(&ends)?;
    let mut command = plan.spec.command.clone();
    command.extend(plan.spec.args.iter().cloned());
    let identity = Identity {
        run_as: plan.spec.run_as.clone(),
        working_dir: plan.spec.working_dir.clone(),
        env: environment(&plan.spec.env, &plan.hostname, plan.spec.tty),
    };
    execute(&command, &identity, shim)
}

/// The program's environment: what the spec says, and the few variables every container has.
pub(super) fn environment(
    env: &[(String, String)],
    hostname: &str,
    terminal: bool,
) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::with_capacity(env.len() + 3);
    for (name, value) in env {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some(entry) => entry.1.clone_from(value),
            None => all.push((name.clone(), value.clone())),
        }
    }
    let mut default = |name: &str, value: &str| {
        if !all.iter().any(|(known, _)| known == name) {
            all.push((name.to_owned(), value.to_owned()));
        }
    };
    default("PATH", DEFAULT_PATH);
    default("HOSTNAME", hostname);
    if terminal {
        default("TERM", "xterm");
    }
    all
}

/// Joins the container's control groups.
pub(super) fn join_cgroups(cgroups: &CgroupPlan) -> Result<(), StartFailure> {
    for procs in &cgroups.procs {
        fs::write(procs, "0").map_err(|e| StartFailure::preparation(procs.display(), e))?;
    }
    Ok(())
}

fn enter_netns(path: Option<&Path>) -> Result<(), StartFailure> {
    let Some(path) = path else { return Ok(()) };
    let what = || format!("network namespace {}", path.display());
    let file = File::open(path).map_err(|e| StartFailure::preparation(what(), e))?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|e| StartFailure::preparation(what(), e))
}

fn connect(ends: &ProgramEnds) -> Result<(), StartFailure> {
    let failed = |e: Errno| StartFailure::preparation("streams", e);
    nix::unistd::dup2_stdin(&ends.stdin).map_err(failed)?;
    nix::unistd::dup2_stdout(&ends.stdout).map_err(failed)?;
    nix::unistd::dup2_stderr(&ends.stderr).map_err(failed)?;
    if ends.terminal {
        syscall::take_terminal().map_err(failed)?;
    }
    Ok(())
}

/// Takes on the user, the directory and the environment, and executes the command. `parent` is the process whose
/// death kills this one.
pub(super) fn execute(
    command: &[String],
    identity: &Identity,
    parent: Pid,
) -> Result<Infallible, StartFailure> {
    become_user(identity)?;
    // After the change of user, which would clear it. A parent that died in between has sent nothing, hence the check;
    // across pid namespaces the parent's number reads 0.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|e| StartFailure::preparation("parent", e))?;
    let now = nix::unistd::getppid();
    if now != parent && now.as_raw() != 0 {
        return Err(StartFailure::preparation("parent", "died"));
    }
    // What containers get everywhere; the agent's own may be tighter.
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    // Whatever the agent's own parent left open is no business of the program's.
    syscall::close_on_exec_from(3)
        .map_err(|e| StartFailure::preparation("descriptors", e.desc()))?;
    let directory = identity.working_dir.as_deref().unwrap_or(Path::new("/"));
    std::env::set_current_dir(directory).map_err(|e| {
        StartFailure::preparation(format!("working directory {}", directory.display()), e)
    })?;
    let (name, env) = (
        command.first().map(String::as_str).unwrap_or_default(),
        &identity.env,
    );
    let path = find(name, env)?;
    let argv = c_strings(command.iter().map(String::clone))?;
    let envp = c_strings(env.iter().map(|(name, value)| format!("{name}={value}")))?;
    reset_signals().map_err(|e| StartFailure::preparation("signals", e))?;
    let c_path = CString::new(path.as_os_str().as_bytes())
        .map_err(|e| StartFailure::preparation(name, e))?;
    let Err(errno) = nix::unistd::execve(&c_path, &argv, &envp);
    let message = match errno {
        Errno::ENOENT => format!("{}: its interpreter does not exist", path.display()),
        Errno::ENOEXEC => format!(
            "{}: neither a program for this machine nor a script with #!",
            path.display()
        ),
        errno => format!("{}: {}", path.display(), errno.desc()),
    };
    Err(StartFailure::CannotRun {
        command: name.to_owned(),
        message,
    })
}

fn become_user(identity: &Identity) -> Result<(), StartFailure> {
    let Some(run_as) = &identity.run_as else {
        return Ok(());
    };
    let (uid, gid) = (
        Uid::from_raw(run_as.uid),
        Gid::from_raw(run_as.gid.unwrap_or(0)),
    );
    let failed = |e: Errno| {
        StartFailure::preparation(
            format!("user {uid}, group {gid}"),
            format!("{}; run the agent as root", e.desc()),
        )
    };
    let already =
        nix::unistd::getuid() == uid && nix::unistd::getgid() == gid && run_as.groups.is_empty();
    if already {
        return Ok(());
    }
    let groups: Vec<Gid> = run_as.groups.iter().copied().map(Gid::from_raw).collect();
    nix::unistd::setgroups(&groups).map_err(failed)?;
    nix::unistd::setresgid(gid, gid, gid).map_err(failed)?;
    nix::unistd::setresuid(uid, uid, uid).map_err(failed)
}

/// Rust ignores SIGPIPE and the shim blocks signals; both would be inherited by the program.
fn reset_signals() -> Result<(), Errno> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default disposition runs no code of ours.
    unsafe { sigaction(Signal::SIGPIPE, &default) }?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// Finds a program as a shell does: by its path, or in each directory of PATH.
fn find(name: &str, env: &[(String, String)]) -> Result<PathBuf, StartFailure> {
    let not_found = |message: String| StartFailure::CommandNotFound {
        command: name.to_owned(),
        message,
    };
    if name.is_empty() {
        return Err(not_found(
            "the container names no command, and image host has none of its own".to_owned(),
        ));
    }
    if name.contains('/') {
        return judge(Path::new(name)).unwrap_or_else(|| Err(not_found("no such file".to_owned())));
    }
    let path = env
        .iter()
        .find(|(name, _)| name == "PATH")
        .map_or(DEFAULT_PATH, |(_, value)| value);
    let candidates = path
        .split(':')
        .map(|directory| Path::new(OsStr::new(directory)).join(name));
    let mut refused = None;
    for verdict in candidates.filter_map(|candidate| judge(&candidate)) {
        match verdict {
            Ok(found) => return Ok(found),
            Err(failure) => refused = Some(failure),
        }
    }
    Err(refused.unwrap_or_else(|| not_found(format!("not in any directory of PATH ({path})"))))
}

/// `None` when there is no such file.
fn judge(path: &Path) -> Option<Result<PathBuf, StartFailure>> {
    let cannot = |message: &str| {
        let command = path.display().to_string();
        Some(Err(StartFailure::CannotRun {
            command,
            message: message.to_owned(),
        }))
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => cannot("is a directory"),
        Ok(_) if access(path, AccessFlags::X_OK).is_ok() => Some(Ok(path.to_owned())),
        Ok(_) => cannot("permission denied"),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            cannot("permission denied")
        }
        Err(_) => None,
    }
}

fn c_strings(texts: impl Iterator<Item = String>) -> Result<Vec<CString>, StartFailure> {
    let convert = |text: String| {
        CString::new(text)
            .map_err(|e| StartFailure::preparation("a NUL byte in the command or environment", e))
    };
    texts.map(convert).collect()
}

/// Writes a failure where the agent looks for it.
pub(super) fn leave_failure(mut sink: &File, failure: &StartFailure) {
    // A reader that has gone has no use for it.
    let _ = sink.write_all(&serde_json::to_vec(failure).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_later_of_two_variables_counts_and_defaults_fill_in() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let env = environment(
            &[pair("A", "1"), pair("PATH", "/x"), pair("A", "2")],
            "web-0",
            false,
        );
        assert_eq!(
            env,
            [
                pair("A", "2"),
                pair("PATH", "/x"),
                pair("HOSTNAME", "web-0")
            ]
        );
    }

    #[test]
    fn a_program_is_found_in_path_and_what_is_wrong_is_said() {
        let env = [("PATH".to_owned(), "/nowhere:/bin".to_owned())];
        assert_eq!(find("sh", &env).unwrap(), PathBuf::from("/bin/sh"));
        assert!(matches!(
            find("no-such-program", &env),
            Err(StartFailure::CommandNotFound { .. })
        ));
        assert!(matches!(
            find("/bin/no-such-program", &env),
            Err(StartFailure::CommandNotFound { .. })
        ));
        assert!(matches!(
            find("/etc/passwd", &env),
            Err(StartFailure::CannotRun { .. })
        ));
        assert!(matches!(
            find("/etc", &env),
            Err(StartFailure::CannotRun { .. })
        ));
        assert!(matches!(
            find("", &env),
            Err(StartFailure::CommandNotFound { .. })
        ));
    }
}
