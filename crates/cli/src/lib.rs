//! The verbs a person types, and how answers look: kubectl's verbs, flags and shapes wherever kubectl has them, and
//! `why` and `plan`, which it has not.
//!
//! [`Verb`] is what clap parses, for the binary to flatten beside its own commands; [`run`] does it.
//!
//! Not here: anything of servers or nodes. What is asked goes through `pontoon.v1`, and what is
//! printed goes through a [`Console`], so that a test sees every byte.
//!
//! Invariants:
//! - answers go to standard output and everything else to standard error;
//! - colour, progress and questions appear on a terminal only;
//! - the exit code says what happened (see [`exit`]);
//! - nothing is asked again and again: what waits, watches.

pub mod console;
pub mod exit;
pub mod globals;
pub mod output;
pub mod verbs;

mod error;
mod fields;
mod kubeconfig;
mod limits;
mod manifests;
mod pods;
mod progress;
mod resources;
mod session;
mod subjects;
mod watching;
mod why;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod tests;

pub use console::Console;
pub use globals::{Globals, Surroundings};
pub use verbs::Verb;

use error::CliError;
use std::process::ExitCode;

/// Does what was typed. The answer is on the console; the code is for scripts.
pub async fn run(
    verb: Verb,
    globals: Globals,
    surroundings: &Surroundings,
    console: &mut Console,
) -> ExitCode {
    let done = Box::pin(verbs::dispatch(verb, globals, surroundings, console)).await;
    ExitCode::from(finish(done, console))
}

/// Tells what went wrong, and gives the code to exit with.
fn finish(done: Result<u8, CliError>, console: &mut Console) -> u8 {
    match done {
        Ok(code) => code,
        Err(error) => {
            if let Some(report) = error.report() {
                console.note(&report);
            }
            error.code()
        }
    }
}
