//! What `pontoon agent` is told besides the settings that every command has.

use anyhow::Context as _;
use clap::{Arg, ArgMatches};
use std::fmt;
use std::path::PathBuf;

/// What runs the node's pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuntimeChoice {
    /// Processes of this machine.
    Process,
    /// Nothing: pods are played.
    Hollow,
}

impl fmt::Display for RuntimeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "process",
            Self::Hollow => "hollow",
        })
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Servers to ask, each as `https://HOST:PORT`; none where the node has joined.
    pub(crate) servers: Vec<String>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    /// What runs pods.
    pub(crate) runtime: RuntimeChoice,
    /// How many nodes are played.
    pub(crate) nodes: u32,
}

/// The flags.
pub(crate) fn arguments() -> Vec<Arg> {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    vec![
        flag(
            "server",
            "URL[,URL]",
            "Where servers are, each as https://HOST:PORT; any of them tells where the others are",
        )
        .value_delimiter(',')
        .env("PONTOON_SERVER"),
        flag(
            "token",
            "TOKEN",
            "What `pontoon cluster token create --role agent` printed; for the first start only",
        )
        .env("PONTOON_TOKEN")
        .hide_env_values(true),
        flag(
            "token-file",
            "FILE",
            "A file of tokens, one a line: hides them from the process list, and serves --nodes",
        )
        .env("PONTOON_TOKEN_FILE")
        .conflicts_with("token"),
        flag("runtime", "RUNTIME", "What runs pods; hollow starts nothing and plays them")
            .value_parser(["process", "hollow"])
            .default_value("process")
            .env("PONTOON_RUNTIME"),
        flag(
            "nodes",
            "N",
            "With --runtime hollow: how many nodes to play, NODE-NAME-1 and on; each needs a token of its own",
        )
        .value_parser(clap::value_parser!(u32).range(1..=10_000))
        .default_value("1"),
    ]
}

impl Options {
    /// Reads the flags.
    ///
    /// # Errors
    /// What does not go together.
    pub(crate) fn read(matches: &ArgMatches) -> anyhow::Result<Self> {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let servers = matches.get_many::<String>("server").into_iter().flatten();
        let runtime = match text("runtime").as_deref() {
            Some("hollow") => RuntimeChoice::Hollow,
            _ => RuntimeChoice::Process,
        };
        let nodes = matches.get_one::<u32>("nodes").copied().unwrap_or(1);
        anyhow::ensure!(
            nodes == 1 || runtime == RuntimeChoice::Hollow,
            "--nodes {nodes}: only hollow nodes can be several in one process: add --runtime hollow"
        );
        Ok(Self {
            servers: servers
                .map(|server| server.trim().to_owned())
                .filter(|server| !server.is_empty())
                .collect(),
            token: text("token"),
            token_file: text("token-file").map(PathBuf::from),
            runtime,
            nodes,
        })
    }

    /// Every token that was given, in order.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn tokens(&self) -> anyhow::Result<Vec<String>> {
        let Some(path) = &self.token_file else {
            return Ok(self.token.clone().into_iter().collect());
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("token-file {} cannot be read", path.display()))?;
        let lines = text.lines().map(str::trim);
        Ok(lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(flags: &[&str]) -> anyhow::Result<Options> {
        let command = clap::Command::new("agent").args(arguments());
        let flags = std::iter::once(&"agent").chain(flags);
        Options::read(&command.try_get_matches_from(flags).unwrap())
    }

    #[test]
    fn servers_are_a_list_and_tokens_come_from_a_flag_or_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens");
        std::fs::write(&file, "one\n\n two \n").unwrap();
        let file = file.to_str().unwrap();
        let options = read(&["--server", "https://a:1, https://b:2", "--token", "t"]).unwrap();
        assert_eq!(options.servers, ["https://a:1", "https://b:2"]);
        assert_eq!(options.tokens().unwrap(), ["t"]);
        let options = read(&["--token-file", file, "--runtime", "hollow", "--nodes", "2"]).unwrap();
        assert_eq!(options.tokens().unwrap(), ["one", "two"]);
        assert_eq!((options.runtime, options.nodes), (RuntimeChoice::Hollow, 2));
    }

    #[test]
    fn only_hollow_nodes_can_be_several() {
        let error = read(&["--nodes", "2"]).unwrap_err().to_string();
        assert!(error.contains("--runtime hollow"), "{error}");
    }
}
