//! `apply`: every object of the command in one transaction: all or none.

use super::written::{self, DryRun, DryRunArgs};
use crate::{
    console::Console,
    error::CliError,
    exit,
    globals::duration,
    manifests::{FileArgs, Manifest},
    output::OutputArgs,
    session::{Found, Session, found},
};
use bytes::Bytes;
use pontoon_client::ClientError;
use pontoon_client::messages::{Applied, WriteOptions, applied};
use std::time::Duration;

mod readiness;

/// How unknown and duplicate fields are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Validate {
    /// They are refused.
    #[value(alias = "true")]
    Strict,
    /// They are told.
    Warn,
    /// They are dropped.
    #[value(alias = "false")]
    Ignore,
}

impl Validate {
    /// As the API says it.
    pub const fn field_validation(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Warn => "Warn",
            Self::Ignore => "Ignore",
        }
    }
}

/// Arguments of `apply`.
#[derive(Debug, clap::Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub files: FileArgs,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub dry_run: DryRunArgs,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub output: OutputArgs,
    /// What to do about unknown fields.
    #[arg(long, value_enum, default_value = "strict")]
    pub validate: Validate,
    /// Who applies, for metadata.managedFields.
    #[arg(long, default_value = "pontoon", value_name = "NAME")]
    pub field_manager: String,
    /// Wait until what was applied is ready.
    #[arg(long)]
    pub wait: bool,
    /// With --wait: give up after this long.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5m")]
    pub timeout: Duration,
}

impl ApplyArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let manifests = self.files.read(session, console).await?;
        let options = WriteOptions {
            dry_run: self.dry_run.dry_run != DryRun::None,
            field_validation: self.validate.field_validation().to_owned(),
            field_manager: self.field_manager.clone(),
        };
        let applied = if self.dry_run.dry_run == DryRun::Client {
            guess(session, &manifests).await?
        } else {
            send(session, console, &manifests, options).await?
        };
        written::report(
            console,
            self.output.output.as_ref(),
            &applied,
            self.dry_run.dry_run,
        )?;
        if self.wait && self.dry_run.dry_run == DryRun::None {
            return readiness::wait(session, console, &applied, self.timeout).await;
        }
        Ok(exit::OK)
    }
}

/// Sends everything as one transaction.
pub(super) async fn send(
    session: &Session,
    console: &mut Console,
    manifests: &[Manifest],
    options: WriteOptions,
) -> Result<Vec<(Found, &'static str)>, CliError> {
    let response = session
        .client
        .apply(bodies(manifests), &session.namespace, options)
        .await
        .map_err(|error| failed(manifests, error))?;
    results(console, manifests, &response.results)
}

/// The manifests as they are sent.
pub(super) fn bodies(manifests: &[Manifest]) -> Vec<Bytes> {
    manifests
        .iter()
        .map(|manifest| Bytes::from(manifest.value.to_string()))
        .collect()
}

/// A refusal, which names the file when there is only one.
pub(super) fn failed(manifests: &[Manifest], error: ClientError) -> CliError {
    match manifests {
        [only] => CliError::Manifest {
            doing: "applying",
            source_name: only.source.clone(),
            error,
        },
        _ => CliError::Server(error),
    }
}

/// What became of each manifest. Warnings are told at once.
pub(super) fn results(
    console: &mut Console,
    manifests: &[Manifest],
    results: &[Applied],
) -> Result<Vec<(Found, &'static str)>, CliError> {
    let mut written = Vec::with_capacity(results.len());
    // Results come in the order of what was sent.
    for (manifest, result) in manifests.iter().zip(results) {
        written::warn(console, &result.warnings);
        let object = result.object.clone().unwrap_or_default();
        written.push((found(&manifest.resource, &object)?, action(result)));
    }
    Ok(written)
}

fn action(result: &Applied) -> &'static str {
    match result.action() {
        applied::Action::Created => "created",
        applied::Action::Unchanged => "unchanged",
        applied::Action::Configured | applied::Action::Unspecified => "configured",
    }
}

/// What would be made and what changed, judged by what exists alone.
async fn guess(
    session: &Session,
    manifests: &[Manifest],
) -> Result<Vec<(Found, &'static str)>, CliError> {
    let mut guessed = Vec::with_capacity(manifests.len());
    for manifest in manifests {
        let existing = session
            .find_in(&manifest.resource, manifest.namespace(), manifest.name())
            .await?;
        let action = if existing.is_some() {
            "configured"
        } else {
            "created"
        };
        let sent = Found {
            resource: manifest.resource.clone(),
            value: manifest.value.clone(),
            revision: 0,
        };
        guessed.push((sent, action));
    }
    Ok(guessed)
}
