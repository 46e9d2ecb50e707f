//! The `pontoon` binary: settings, wiring and dev mode. Everything else is in the crates it joins.
//!
//! Invariants: hidden subcommands (a container's shim, the holder of a rootless node's namespaces) run before anything
//! else and before any thread; services are joined in [`wiring`] and nowhere else.

mod agent;
mod certificates;
mod command;
mod config;
mod dev;
mod joining;
mod limits;
mod lock;
mod node;
mod place;
mod server;
mod shutdown;
mod wiring;

use std::ffi::OsString;
use std::process::ExitCode;

/// A third of a server's time under writes went into the C library's allocator, which many threads share badly
/// (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The hidden subcommand that supervises one container.
const SHIM: &str = "__shim";
/// The hidden subcommand that keeps a rootless node's namespaces.
const HOLD: &str = "__hold";

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|first| first.to_str()) {
        Some(SHIM) => pontoon_process::shim_main(arguments.split_off(1)),
        Some(HOLD) => pontoon_network::rootless::holder_main(),
        _ => command::run(),
    }
}

/// This program with a hidden subcommand.
fn myself(subcommand: &str) -> Vec<OsString> {
    let program = std::env::current_exe().unwrap_or_else(|_| "pontoon".into());
    vec![program.into_os_string(), subcommand.into()]
}
