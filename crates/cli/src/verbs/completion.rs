//! `completion`: a script that completes the command line.

use crate::{console::Console, error::CliError, exit, globals::Surroundings};
use clap_complete::Shell;

/// Arguments of `completion`.
#[derive(Debug, clap::Args)]
pub struct CompletionArgs {
    /// Which shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

impl CompletionArgs {
    pub(crate) fn run(
        self,
        surroundings: &Surroundings,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let mut command = (surroundings.command)();
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        console.bytes(&script)?;
        Ok(exit::OK)
    }
}
