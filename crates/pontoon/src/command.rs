//! The command line.

use crate::config::{self, Config};
use crate::{agent, dev, server};
use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _, Subcommand as _};
use pontoon_cli::{Console, Globals, Surroundings, Verb};
use std::path::PathBuf;
use std::process::ExitCode;

/// Everything that can be typed.
pub(crate) fn command() -> Command {
    let settings = |command: Command| command.args(config::arguments());
    let keep_pods = Arg::new("keep-pods")
        .long("keep-pods")
        .action(ArgAction::SetTrue)
        .help("Leave pods running at the end; the next start finds them");
    let show = settings(
        Command::new("show").about("Print every setting, its value and where that came from"),
    );
    let command = Command::new("pontoon")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A cluster in one binary: Kubernetes' API, Raft, a scheduler, DNS and service networking")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("dev")
                .about("Run a whole cluster in this process: no root, no Docker")
                .arg(keep_pods)
                .args(config::dev_arguments()),
        )
        .subcommand(settings(Command::new("server").about("Run a server: the replicated store, the API, controllers and the scheduler")))
        .subcommand(
            Command::new("agent")
                .about("Run a node of a cluster whose servers are elsewhere")
                .args(config::agent_arguments())
                .args(agent::arguments()),
        )
        .subcommand(Command::new("config").about("Look at settings").subcommand_required(true).subcommand(show));
    Globals::augment_args(Verb::augment_subcommands(command))
}

/// Parses the command line and does what it says.
pub(crate) fn run() -> ExitCode {
    let matches = command().get_matches();
    match matches.subcommand() {
        Some(("dev", given)) => with_config(given, "dev", |config| {
            dev::run(config, given.get_flag("keep-pods"))
        }),
        Some(("server", given)) => with_config(given, "dev", server::run),
        Some(("agent", given)) => with_config(given, "agent", |config| {
            agent::run(&config, &agent::Options::read(given)?)
        }),
        Some(("config", given)) => {
            let given = given.subcommand_matches("show").unwrap_or(given);
            with_config(given, "dev", |config| {
                print!("{}", config.show());
                Ok(())
            })
        }
        _ => verb(&matches),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where a command keeps everything unless told otherwise: the XDG base directory specification's data home.
fn default_data_dir(command: &str) -> PathBuf {
    let home = variable("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home =
        home.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    home.unwrap_or_else(|| "/var/lib".into())
        .join("pontoon")
        .join(command)
}

/// Runs a command with its settings. `place` is where it keeps things by default: dev's, or the agent's.
fn with_config(
    matches: &ArgMatches,
    place: &str,
    run: impl FnOnce(Config) -> anyhow::Result<()>,
) -> ExitCode {
    let config = match Config::read(matches, variable, &default_data_dir(place)) {
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

fn verb(matches: &ArgMatches) -> ExitCode {
    let parsed = Verb::from_arg_matches(matches)
        .and_then(|verb| Ok((verb, Globals::from_arg_matches(matches)?)));
    let (verb, globals) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => error.exit(),
    };
    let surroundings = Surroundings {
        now: jiff::Timestamp::now,
        command,
        version: env!("CARGO_PKG_VERSION"),
        variable,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(pontoon_cli::run(
        verb,
        globals,
        &surroundings,
        &mut Console::standard(),
    ));
    // Reading standard input blocks a thread that cannot be stopped: the answer is out, do not wait for it.
    runtime.shutdown_background();
    code
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_command_line_makes_sense_to_clap() {
        command().debug_assert();
    }
}
