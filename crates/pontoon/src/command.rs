//! The command line.

use crate::config::{self, Config};
use crate::server;
use clap::{ArgMatches, Command};
use std::path::PathBuf;
use std::process::ExitCode;

/// Everything that can be typed.
pub(crate) fn command() -> Command {
    let settings = |command: Command| command.args(config::arguments());
    let show = settings(Command::new("show").about("Print every setting, its value and where that came from"));
    Command::new("pontoon")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A cluster in one binary: Kubernetes' API, Raft, a scheduler, DNS and service networking")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(settings(Command::new("server").about("Run a server: the replicated store, the API, controllers and the scheduler")))
        .subcommand(Command::new("config").about("Look at settings").subcommand_required(true).subcommand(show))
}

/// Parses the command line and does what it says.
pub(crate) fn run() -> ExitCode {
    let matches = command().get_matches();
    match matches.subcommand() {
        Some(("server", given)) => with_config(given, server::run),
        Some(("config", given)) => {
            let given = given.subcommand_matches("show").unwrap_or(given);
            with_config(given, |config| {
                print!("{}", config.show());
                Ok(())
            })
        }
        _ => ExitCode::from(2),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where dev keeps everything unless told otherwise: the XDG base directory specification's data home.
fn default_data_dir() -> PathBuf {
    let home = variable("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = home.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    home.unwrap_or_else(|| "/var/lib".into()).join("pontoon").join("dev")
}

fn with_config(matches: &ArgMatches, run: impl FnOnce(Config) -> anyhow::Result<()>) -> ExitCode {
    let config = match Config::read(matches, variable, &default_data_dir()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes on one line, each once.
fn chain(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !parts.iter().any(|part| part.contains(&cause)) {
            parts.push(cause);
        }
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_command_line_makes_sense_to_clap() {
        command().debug_assert();
    }
}
