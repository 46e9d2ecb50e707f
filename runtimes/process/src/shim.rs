//! The supervisor of one container, in a process of its own.
//!
//! It is single-threaded and does little, so that it stays small and outlives upgrades of the agent: it forks the
//! program into its namespaces, copies its output to the log, forwards TERM, kills on demand, and records the end.
//! It is controlled by signals alone: TERM is passed on to the program, USR1 kills everything in the container.
//!
//! Three verbs share its command line: `run DIRECTORY`, `exec DIRECTORY REQUEST` and `probe`.

use nix::sys::signal::{SigHandler, Signal, signal};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

mod become_program;
mod exec;
mod mounts;
mod probe;
mod run;
mod streams;
mod supervise;

/// Exit code of a helper whose command line or files make no sense.
const USAGE: u8 = 64;

/// The hidden subcommand's entry point; `args` is what follows it on the command line. Must be called before the
/// process has a second thread, because it forks and changes namespaces.
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    // An agent that has gone must not take its shims along when they write to it. Rust's own start does the same, but
    // a caller may come here before it.
    // SAFETY: ignoring a signal runs no code of ours.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
    match args
        .iter()
        .map(|arg| arg.to_str().unwrap_or_default())
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["run", directory] => run::run(PathBuf::from(directory)),
        ["exec", directory, request] => {
            exec::exec(PathBuf::from(directory), PathBuf::from(request))
        }
        ["probe"] => probe::probe(),
        _ => {
            eprintln!("this subcommand is started by the agent's process runtime only");
            ExitCode::from(USAGE)
        }
    }
}
