//! What verbs that change something say of it.

use crate::{
    console::Console,
    error::CliError,
    output::{self, Format},
    session::Found,
};

/// Whether to do it, or only to say what would be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum DryRun {
    /// Do it.
    #[default]
    None,
    /// Print what would be sent, and send nothing.
    Client,
    /// Let the server check everything and change nothing.
    Server,
}

/// `--dry-run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct DryRunArgs {
    /// Change nothing: say only what would be (client asks no server for it).
    #[arg(
        long,
        value_enum,
        default_value = "none",
        default_missing_value = "client",
        num_args = 0..=1,
        require_equals = true
    )]
    pub dry_run: DryRun,
}

impl DryRun {
    /// What messages say behind the action.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}

/// Prints objects that were written: as `-o` says, or else `deployment.apps/web configured` each.
pub fn report(
    console: &mut Console,
    format: Option<&Format>,
    written: &[(Found, &str)],
    dry_run: DryRun,
) -> Result<(), CliError> {
    match format {
        None => {
            for (found, action) in written {
                let name = output::name::line(&found.resource, &found.value);
                console.line(&format!("{} {action}{}", name.trim_end(), dry_run.suffix()))?;
            }
        }
        Some(format) => {
            let objects: Vec<Found> = written.iter().map(|(found, _)| found.clone()).collect();
            let text = match objects.as_slice() {
                [only] => output::document(format, only)?,
                many => output::documents(format, many)?,
            };
            console.print(&text)?;
        }
    }
    Ok(())
}

/// Warnings that the server gave.
pub fn warn(console: &mut Console, warnings: &[String]) {
    let yellow = console.terminal().errors && console.terminal().colour;
    for warning in warnings {
        if yellow {
            console.note(&format!("\u{1b}[33mWarning:\u{1b}[0m {warning}"));
        } else {
            console.note(&format!("Warning: {warning}"));
        }
    }
}
